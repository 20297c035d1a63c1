"""A login: one keystoneauth session on one site, for one project."""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any
from urllib.parse import urljoin, urlsplit

from keystoneauth1 import exceptions as ksa
from keystoneauth1 import loading
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session, TCPKeepAliveAdapter

from chi_edge_lab import __version__, errors
from chi_edge_lab.sites.hub import hub_plugin, hub_token
from chi_edge_lab.sites.refusals import brief, explain
from chi_edge_lab.sites.settings import Settings

log = logging.getLogger(__name__)

TIMEOUT = 60.0  # seconds without a byte from the site, where a request says nothing else
_REDIRECTS = 5
_CONNECTIONS = 32  # kept open at a time; the server extension's thread pool is smaller
CONTAINER = "container"


class EdgeSession(Session):
    """A keystoneauth session whose threads log in again together, not each for itself.

    keystoneauth drops its token at every 401. When many requests meet one expired token at once, some would
    throw away the new token just fetched, and those that find it dropped already would not try again at all.
    """

    def __init__(self, **options: Any) -> None:
        import requests

        plain = requests.Session()
        for scheme in list(plain.adapters):
            plain.mount(scheme, TCPKeepAliveAdapter(pool_maxsize=_CONNECTIONS))
        super().__init__(session=plain, **options)
        self._handed_out = threading.local()
        self._renewal = threading.Lock()

    def request(  # type: ignore[override]  # keystoneauth itself names all others
        self, url: str, method: str, redirect: Any = None, **options: Any
    ) -> Any:
        """As keystoneauth's, but a redirect is followed only on the same host, and no body is logged.

        keystoneauth sends everything anew wherever it is sent: the token, and at a login the password. At debug level
        it logs whole answers, and in them stand people's environment variables and what a site echoes.
        """
        options["log"] = False
        response = self._once(url, method, options)
        if redirect is False:
            return response
        options.pop("params", None)  # they are in the address that was given
        for _ in range(_REDIRECTS):
            location = response.headers.get("location")
            if response.status_code not in self._REDIRECT_STATUSES or not location:
                break
            target = urljoin(response.url, location)
            if not _same_host(response.url, target):
                raise errors.ServerError(
                    f"{_origin(response.url)} sends us to another address ({_origin(target)}); "
                    "nothing was sent there.",
                    hint="The address of the site may be out of date: tell its operators.",
                )
            response = self._once(target, method, options)
        return response

    def _once(self, url: str, method: str, options: dict[str, Any]) -> Any:
        response = super().request(url, method, redirect=False, **options)
        log.debug(
            "%s %s%s: %d in %.0f ms", method, _origin(response.url), urlsplit(response.url).path,
            response.status_code, response.elapsed.total_seconds() * 1000,
        )  # fmt: skip
        return response

    def get_auth_headers(self, auth: Any = None, **options: Any) -> Any:
        try:
            headers = super().get_auth_headers(auth, **options)
        except ksa.EmptyCatalog:
            raise
        except (
            ksa.EndpointNotFound
        ) as problem:  # no catalogue is read to log in: it is Keystone that is not there
            raise _no_keystone(auth or self.auth, problem) from None
        except (ksa.ClientException, OSError, errors.EdgeLabError):
            raise
        except Exception as problem:  # noqa: BLE001 - keystoneauth trips over an answer that is not Keystone's
            raise _no_keystone(auth or self.auth, problem) from None
        self._handed_out.token = (headers or {}).get("X-Auth-Token")
        return headers

    def invalidate(self, auth: Any = None) -> Any:
        with self._renewal:
            used = getattr(self._handed_out, "token", None)
            reference = getattr(auth or self.auth, "auth_ref", used)
            if used is None or reference is used:  # not a plugin of Keystone's kind
                return super().invalidate(auth)
            if reference is None or reference.auth_token != used:
                return True  # another thread has dropped it or renewed it already
            return super().invalidate(auth)


class Login:
    """Where requests go and as whom. Made by `login()`; thread-safe; never shows a credential.

    `source` says where the credentials were found, `notes` what was left out of them and why.
    `reservation_id` is the standing reservation that the local site lends.
    """

    def __init__(
        self,
        *,
        site: str,
        kind: str,
        source: str,
        session: Any,
        region_name: str | None,
        interface: str = "public",
        auth_url: str = "",
        reservation_id: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.site = site
        self.kind = kind
        self.source = source
        self.session = session
        self.region_name = region_name
        self.interface = interface
        self.auth_url = auth_url
        self.reservation_id = reservation_id
        self.notes = notes

    def __repr__(self) -> str:
        return f"<Login to {self.site} ({self.source})>"

    @property
    def project_id(self) -> str | None:
        """The project's id. Logs in if that has not happened.

        Raises:
            errors.LoginError, errors.Unreachable: the login does not work.
        """
        with self._explained():
            value = self.session.get_project_id()
        return None if value is None else str(value)

    @property
    def project_name(self) -> str | None:
        """The project's name. Logs in if that has not happened; raises as `project_id` does."""
        return self._fact("project_name")

    @property
    def user_name(self) -> str | None:
        """The user's name. Logs in if that has not happened; raises as `project_id` does."""
        return self._fact("username")

    def adapter(self, service_type: str, **options: Any) -> Any:
        """A keystoneauth adapter for a service of this site, in its region and interface."""
        options.setdefault("interface", self.interface)
        options.setdefault("region_name", self.region_name)
        return Adapter(self.session, service_type=service_type, **options)

    def endpoint(self, service_type: str = CONTAINER) -> str:
        """The address of a service, without a slash at its end.

        Raises:
            errors.NoContainerService: the catalogue has none; the message says what there is.
            errors.LoginError, errors.Unreachable: the login does not work.
        """
        with self._explained():
            try:
                found = self.session.get_endpoint(
                    service_type=service_type, interface=self.interface, region_name=self.region_name
                )
            except ksa.EmptyCatalog:
                raise
            except ksa.EndpointNotFound:
                found = None
        if not found:
            raise self._no_service(service_type)
        return str(found).rstrip("/")

    def has_service(self, service_type: str) -> bool:
        """True if the catalogue has such a service in this region."""
        try:
            self.endpoint(service_type)
        except errors.NoContainerService:
            return False
        return True

    def check(self) -> None:
        """Log in and find the container service.

        Raises:
            errors.BadCredentials, errors.NoContainerService, errors.Unreachable: what is wrong.
        """
        with self._explained():
            self.session.get_token()
        self.endpoint()

    def relogin(self) -> None:
        """Forget the token and log in again.

        Raises:
            errors.BadCredentials, errors.Unreachable: it does not work any more.
        """
        with self._explained():
            self.session.auth.invalidate()
            self.session.get_token()

    def projects(self) -> list[str]:
        """Names of the projects that the user may log in to, as Keystone tells them; raises as `check` does.

        Raises:
            errors.Forbidden: Keystone does not tell them.
        """
        keystone = self.auth_url.rstrip("/").removesuffix("/v3") + "/v3"
        with self._explained():
            try:
                reply = self.session.get(f"{keystone}/auth/projects", authenticated=True).json()
            except (ksa.Forbidden, ksa.NotFound) as problem:
                raise errors.Forbidden(
                    f"{self.site} does not tell this user's projects.", hint="Name the project.",
                    request_id=getattr(problem, "request_id", None), http_status=problem.http_status,
                ) from None  # fmt: skip
        found = reply.get("projects") if isinstance(reply, dict) else None
        return sorted(
            {str(one.get("name")) for one in found or [] if isinstance(one, dict) and one.get("name")}
        )

    def regions(self) -> dict[str, list[str]]:
        """Service types of each region of the catalogue."""
        with self._explained():
            catalogue = self.session.auth.get_access(self.session).service_catalog.catalog
        found: dict[str, set[str]] = {}
        for service in catalogue or []:
            for endpoint in service.get("endpoints") or []:
                region = endpoint.get("region_id") or endpoint.get("region") or ""
                found.setdefault(str(region), set()).add(str(service.get("type") or ""))
        return {region: sorted(types) for region, types in sorted(found.items())}

    def _fact(self, name: str) -> str | None:
        with self._explained():
            value = getattr(self.session.auth.get_access(self.session), name, None)
        return None if value is None else str(value)

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except (ksa.ClientException, OSError) as problem:
            raise explain(problem, f"log in to {self.site}") from None
        except errors.EdgeLabError:
            raise
        except Exception as problem:  # noqa: BLE001 - keystoneauth trips over an answer that is not Keystone's
            raise explain(_no_keystone(self.session.auth, problem), f"log in to {self.site}") from None

    def _no_service(self, service_type: str) -> errors.NoContainerService:
        regions = self.regions()
        # Zun's official type is application-container, `container` an alias that catalogues use too
        wanted = {service_type, "application-container"} if service_type == CONTAINER else {service_type}
        having = [region for region, types in regions.items() if wanted & set(types)]
        if self.region_name and self.region_name not in regions:
            return errors.NoContainerService(
                f"The site at {self.auth_url} has no region {self.region_name!r}; "
                f"it has {', '.join(regions) or 'none'}.",
                hint=f"Set OS_REGION_NAME (region_name in clouds.yaml) to {_any_of(having)}."
                if having
                else "None of them has a container service; choose another site.",
            )
        if having and (self.region_name is None or self.region_name in having):
            return errors.NoContainerService(
                f"The {service_type} service of {self.site} has no {self.interface!r} interface.",
                hint="Set OS_INTERFACE (interface in clouds.yaml) to public.",
            )
        if having:
            return errors.NoContainerService(
                f"The {service_type} service of {self.site} is not in region {self.region_name} "
                f"but in {', '.join(having)}.",
                hint=f"Set OS_REGION_NAME (region_name in clouds.yaml) to {_any_of(having)}.",
            )
        services = sorted({kind for types in regions.values() for kind in types if kind})
        return errors.NoContainerService(
            f"{self.site} has no {service_type} service; it offers {', '.join(services) or 'nothing'}.",
            hint='Choose a site with containers: use_site("CHI@Edge"), or use_site("local").',
        )


def open_login(settings: Settings) -> Login:
    """A Login for settings; nothing is sent yet.

    Raises:
        errors.BadCredentials: keystoneauth does not know the authentication type or lacks an option.
    """
    session = EdgeSession(
        auth=_plugin(settings),
        verify=settings.verify,
        cert=settings.cert,
        timeout=TIMEOUT,
        app_name="chi-edge-lab",
        app_version=__version__,
    )
    if settings.kind == "local":
        # no proxy of the environment and no netrc on the way to our own machine
        session.session.trust_env = False
    return Login(
        site=settings.site,
        kind=settings.kind,
        source=settings.source,
        session=session,
        region_name=settings.region_name,
        interface=settings.interface,
        auth_url=settings.auth_url,
        reservation_id=settings.reservation_id,
        notes=settings.notes,
    )


def _same_host(here: str, there: str) -> bool:
    """Whether a redirect stays on its host; from http to https it may."""
    old, new = urlsplit(here), urlsplit(there)
    if (old.scheme, old.netloc) == (new.scheme, new.netloc):
        return True
    return (old.scheme, new.scheme) == ("http", "https") and old.hostname == new.hostname


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _plugin(settings: Settings) -> Any:
    try:
        loader: Any = loading.get_plugin_loader(settings.auth_type)
        known = {option.dest for option in loader.get_options()}
        options = {key: value for key, value in settings.auth.items() if key in known}
        if settings.auth_type == "v3oidcaccesstoken" and settings.kind == "hub":
            hub = hub_token()
            if hub is not None:
                options.pop("access_token", None)
                return hub_plugin(hub, options)
        return loader.load_from_options(**options)
    except ksa.ClientException as problem:
        raise errors.BadCredentials(
            f"The credentials in {settings.source} cannot be used ({settings.auth_type}): {brief(problem)}",
            hint="Source a fresh openrc file, or make an application credential.",
        ) from None


def _no_keystone(auth: Any, problem: Exception) -> ksa.DiscoveryFailure:
    log.debug("what answers is not a Keystone", exc_info=problem)
    return ksa.DiscoveryFailure(str(getattr(auth, "auth_url", "") or ""))


def _any_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else " or ".join(names)
