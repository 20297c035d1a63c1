"""The sites and projects as the server sees them: logins and their state, and whose a container is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from chi_edge_lab import errors, sites
from chi_edge_lab.sites import Site
from chi_edge_lab.sites.catalogue import check_name
from chi_edge_lab.zun import Client, Container, client_for

DEFAULT = "default"  # in a route: the site in use (chosen, or found as DESIGN says)
_KNOWN_CONTAINERS = 20_000  # uuids whose project is remembered; it never changes
_KNOWN_LOGINS = 200  # sites and projects whose last login is remembered


@dataclass(frozen=True)
class LoginState:
    """How the last login to a site went. `error` is None where it works."""

    site: str
    user: str | None = None
    project: str | None = None
    error: errors.EdgeLabError | None = None


class SiteClients:
    """Clients by site and project name. Blocking and thread-safe: call it from a worker.

    `allowed` are the names of the sites that may be used; none means every one that is known.
    """

    def __init__(self, allowed: Collection[str] | None = None) -> None:
        self._allowed = frozenset(name.lower() for name in allowed or ())
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Client, OrderedDict[str, str]] = weakref.WeakKeyDictionary()
        self._states: OrderedDict[tuple[str, str], LoginState] = OrderedDict()
        self.chosen: tuple[str, str | None] | None = None  # site and project of `choose`

    # -- which sites there are, and which is in use -----------------------------------------------

    def sites(self) -> list[Site]:
        """The sites that may be used, by name. Sends nothing.

        Raises:
            errors.LoginError: clouds.yaml cannot be read.
        """
        return [site for site in sites.list_sites() if self._is_allowed(site.name)]

    def in_use(self) -> tuple[Site, str | None]:
        """The site and project that "default" means. Sends nothing.

        Raises:
            errors.NoSite, errors.BadCredentials: nothing usable is chosen or found, or it may not be used.
        """
        site, project = sites.in_use()
        self._check(site.name)
        return site, project

    def choose(self, site: str | None, project: str | None) -> None:
        """Make a site and project those that `default` means, for all who use this server (None: those that are found).

        Raises:
            errors.NoSite: no such site, or not one that this server may use.
        """
        if site is not None:
            self._check(site)
        sites.use_site(site)
        sites.use_project(project)
        with self._lock:
            self.chosen = (site, project) if site else None
            for key in [key for key in self._states if key[0] == DEFAULT]:
                del self._states[key]

    def check(self, site: str) -> None:
        """Pass if the site of a route is known and may be used. Sends nothing.

        Raises:
            errors.NoSite, errors.BadCredentials: it is not.
        """
        if site == DEFAULT:
            self.in_use()
        else:
            self._check(site)
            check_name(site)

    def _is_allowed(self, site: str) -> bool:
        return not self._allowed or site.lower() in self._allowed

    def _check(self, site: str) -> None:
        if not self._is_allowed(site):
            raise errors.NoSite(
                f"This server does not use the site {site!r}.",
                hint="c.EdgeLabLimits.allowed_sites names those that it uses.",
            )

    # -- logins -------------------------------------------------------------------------------------

    def client(self, site: str, project: str | None, *, again: bool = False) -> Client:
        """The client for a site ("default": the one in use) and project (None: the credentials' own).

        `again` logs in anew, also where the last login still looks good.

        Raises:
            errors.NoSite: no such site, or not one that this server may use.
            errors.LoginError, errors.SiteError: as `sites.login` and `zun.client_for`.
        """
        try:
            if self._allowed:
                self.check(site)
            login = sites.login(None if site == DEFAULT else site, project or None)
            if again:
                login.relogin()
            client = client_for(login)
        except errors.NoSite:
            raise
        except errors.EdgeLabError as error:
            self._remember_state(site, project, LoginState(site, error=error))
            raise
        known = self.state(site, project)
        if again or known is None or known.error is not None:
            self._remember_state(site, project, LoginState(login.site, login.user_name, login.project_name))
        return client

    def state(self, site: str, project: str | None = None) -> LoginState | None:
        """How the last login to the site went; None where none was tried. Sends nothing."""
        with self._lock:
            return self._states.get((site.lower(), project or ""))

    def _remember_state(self, site: str, project: str | None, state: LoginState) -> None:
        with self._lock:
            self._states[site.lower(), project or ""] = state
            while len(self._states) > _KNOWN_LOGINS:
                self._states.popitem(last=False)

    # -- whose a container is -------------------------------------------------------------------------

    def owning(self, client: Client, uuid: str) -> None:
        """Pass if the container is in the client's project; asked of the site once for each container.

        Raises:
            errors.NotFound: it is not, or there is none. A site's administrator may see more; this server shows one
            project at a time.
        """
        with self._lock:
            known = self._known.setdefault(client, OrderedDict())
            if uuid in known:
                known.move_to_end(uuid)
                return
        container = client.get_container(uuid)
        if container.uuid != uuid or container.project_id not in {None, client.login.project_id}:
            raise errors.NotFound(f"There is no container {uuid} in this project.", http_status=404)
        self.remember(client, container)

    def remember(self, client: Client, *containers: Container) -> None:
        """Containers that are known to be in the client's project."""
        self.remember_names(client, {one.uuid: one.name or "" for one in containers})

    def remember_names(self, client: Client, names: Mapping[str, str]) -> None:
        """The same by uuid, with the name of each."""
        with self._lock:
            known = self._known.setdefault(client, OrderedDict())
            for uuid, name in names.items():
                known[uuid] = name
                known.move_to_end(uuid)
            while len(known) > _KNOWN_CONTAINERS:
                known.popitem(last=False)

    def name_of(self, uuid: str) -> str:
        """The name that a container had when it was last seen; "" where it was not."""
        with self._lock:
            return next((known[uuid] for known in self._known.values() if uuid in known), "")
