"""Keystone v3 over HTTP: what clients use of it. Bodies and statuses were compared with Keystone 30."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from http.client import responses
from typing import TYPE_CHECKING, Any

from chi_edge_lab.local.config import DOMAIN_ID, DOMAIN_NAME, REGION, SiteConfig
from chi_edge_lab.local.identity import Credential, IdentityError, Token, forbidden, malformed, unauthorized
from chi_edge_lab.local.web import Refusal, Route, ServiceHandler
from chi_edge_lab.local.web import routes as make_routes

if TYPE_CHECKING:
    from chi_edge_lab.local.app import Site

_DOMAIN = {"id": DOMAIN_ID, "name": DOMAIN_NAME}


def routes(site: Site) -> list[Route]:
    """Rules below /identity."""
    user = r"/v3/users/([^/]+)"
    return make_routes(
        site,
        [
            (r"/?", Versions),
            (r"/v3/?", Version),
            (r"/v3/auth/tokens", Tokens),
            (r"/v3/auth/catalog", Catalog),
            (r"/v3/auth/projects", MyProjects),
            (r"/v3/auth/domains", MyDomains),
            (r"/v3/projects", AllProjects),
            (r"/v3/projects/([^/]+)", OneProject),
            (r"/v3/domains/([^/]+)", OneDomain),
            (user, OneUser),
            (user + r"/projects", UserProjects),
            (user + r"/application_credentials", Credentials),
            (user + r"/application_credentials/([^/]+)", OneCredential),
        ],
    )


def catalog(config: SiteConfig) -> list[dict[str, Any]]:
    """The services of the site, as tokens carry them."""
    services = [
        ("identity", "keystone", "/identity/v3"),
        ("container", "zun", "/container/v1"),
        ("network", "neutron", "/network"),
    ]
    if config.profile == "chi-edge":
        services.append(("reservation", "blazar", "/reservation/v1"))
    return [
        {
            "endpoints": [
                {
                    "id": config.id_of("endpoint", kind, interface),
                    "interface": interface,
                    "region_id": REGION,
                    "url": config.url + path,
                    "region": REGION,
                }
                for interface in ("public", "internal", "admin")
            ],
            "id": config.id_of("service", kind),
            "type": kind,
            "name": name,
        }
        for kind, name, path in services
    ]


def describe(token: Token, config: SiteConfig, *, with_catalog: bool) -> dict[str, Any]:
    """The body of a token."""
    said: dict[str, Any] = {
        "methods": list(token.methods),
        "user": {
            "domain": _DOMAIN,
            "id": token.user_id,
            "name": token.user_name,
            "password_expires_at": None,
        },
        "audit_ids": list(token.audit_ids),
        "expires_at": _time(token.expires_at),
        "issued_at": _time(token.issued_at),
    }
    if token.project_id:
        said["project"] = {"domain": _DOMAIN, "id": token.project_id, "name": token.project_name}
        said["is_domain"] = False
        said["roles"] = [{"id": config.id_of("role", r), "name": r} for r in token.roles]
        if with_catalog:
            said["catalog"] = catalog(config)
    if token.application_credential_id:
        said["application_credential"] = {"id": token.application_credential_id, "restricted": True}
    return {"token": said}


class KeystoneHandler(ServiceHandler):
    """Keystone's headers and errors."""

    _extra: Mapping[str, Any] = {}  # what else belongs into the error of this answer

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Vary", "X-Auth-Token")

    def token(self) -> Token:
        token = self.site.identity.authenticate(self.request.headers.get("X-Auth-Token"))
        if token is None:
            raise unauthorized()
        return token

    def body(self, name: str | None = None) -> dict[str, Any]:
        if self.request.headers.get("Content-Type", "application/json").split(";")[0] != "application/json":
            raise malformed("Expecting to find application/json in Content-Type header.")
        try:
            return super().body(name)
        except Refusal:
            what = "valid JSON" if name is None else name
            raise malformed(f"Expecting to find {what} in request body.") from None

    def link(self, path: str) -> dict[str, str]:
        """A "links" object with the address of something here."""
        return {"self": f"{self.site.config.auth_url}{path}"}

    def listing(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Answer a collection."""
        path = self.request.path.removeprefix("/identity/v3")
        self.answer({name: rows, "links": {"next": None, **self.link(path), "previous": None}})

    def refusal_of(self, error: BaseException | None) -> tuple[int, str, str] | None:
        if isinstance(error, IdentityError):
            self._extra = error.extra
            return error.status, error.message, ""
        return super().refusal_of(error)

    def write_failure(self, status: int, message: str, code: str) -> None:  # noqa: ARG002
        title = responses.get(status, "Error")
        self.answer({"error": {"code": status, **self._extra, "message": message, "title": title}}, status)

    def project_record(self, id: str, name: str) -> dict[str, Any]:
        """A project as Keystone shows it."""
        return {
            "id": id,
            "name": name,
            "domain_id": DOMAIN_ID,
            "description": "",
            "enabled": True,
            "parent_id": DOMAIN_ID,
            "is_domain": False,
            "tags": [],
            "options": {},
            "links": self.link(f"/projects/{id}"),
        }

    def own_projects(self, user_id: str) -> list[dict[str, Any]]:
        """Projects a user has a role on."""
        return [self.project_record(id, name) for id, name in self.site.identity.projects_of(user_id)]


def _version(auth_url: str) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{auth_url}/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


class Versions(KeystoneHandler):
    """The version documents that clients read before they log in."""

    def get(self) -> None:
        self.set_header("Location", f"{self.site.config.auth_url}/")
        self.answer({"versions": {"values": [_version(self.site.config.auth_url)]}}, 300)


class Version(KeystoneHandler):
    """GET /v3"""

    def get(self) -> None:
        self.answer({"version": _version(self.site.config.auth_url)})


class Tokens(KeystoneHandler):
    """/v3/auth/tokens"""

    def _subject(self) -> Token:
        """The token that is asked about. Raises IdentityError."""
        asker = self.token()
        rule = forbidden(f"identity:{'revoke' if self.request.method == 'DELETE' else 'validate'}_token")
        given = self.request.headers.get("X-Subject-Token")
        if not given:
            raise rule
        subject = self.site.identity.authenticate(given)
        if subject is None:
            raise IdentityError(404, "Failed to validate token")
        if subject.user_id != asker.user_id and not asker.is_admin:
            raise rule
        return subject

    def _send(self, token: Token, status: int) -> None:
        self.set_header("X-Subject-Token", token.raw)
        with_catalog = self.get_query_argument("nocatalog", None) is None
        self.answer(describe(token, self.site.config, with_catalog=with_catalog), status)

    def get(self) -> None:
        self._send(self._subject(), 200)

    def post(self) -> None:
        self._send(self.site.identity.issue(self.body().get("auth")), 201)

    def delete(self) -> None:
        self.site.identity.revoke(self._subject())
        self.answer(None, 204)


class Catalog(KeystoneHandler):
    """GET /v3/auth/catalog"""

    def get(self) -> None:
        if not self.token().project_id:
            raise IdentityError(403, "You are not authorized to perform the requested action.")
        self.answer({"catalog": catalog(self.site.config), "links": self.link("/auth/catalog")})


class MyProjects(KeystoneHandler):
    """GET /v3/auth/projects"""

    def get(self) -> None:
        self.listing("projects", self.own_projects(self.token().user_id))


class MyDomains(KeystoneHandler):
    """GET /v3/auth/domains: nobody has a role on a domain."""

    def get(self) -> None:
        self.token()
        self.listing("domains", [])


class AllProjects(KeystoneHandler):
    """GET /v3/projects"""

    def get(self) -> None:
        if not self.token().is_admin:
            raise forbidden("identity:list_projects")
        name = self.get_query_argument("name", None)
        rows = self.site.identity.projects().items()
        self.listing("projects", [self.project_record(i, n) for i, n in rows if name in (None, n)])


class OneProject(KeystoneHandler):
    """GET /v3/projects/{id}"""

    def get(self, id: str) -> None:
        token = self.token()
        name = self.site.identity.projects().get(id)
        if not token.is_admin and (name is None or id != token.project_id):
            raise forbidden("identity:get_project")
        if name is None:
            raise IdentityError(404, f"Could not find project: {id}.")
        self.answer({"project": self.project_record(id, name)})


class OneDomain(KeystoneHandler):
    """GET /v3/domains/{id}"""

    def get(self, id: str) -> None:
        self.token()
        if id != DOMAIN_ID:
            raise forbidden("identity:get_domain")
        self.answer(
            {
                "domain": {
                    **_DOMAIN,
                    "description": "The default domain",
                    "enabled": True,
                    "tags": [],
                    "options": {},
                    "links": self.link(f"/domains/{id}"),
                }
            }
        )


class UserHandler(KeystoneHandler):
    """Below /v3/users/{id}: a user's own things."""

    def own(self, user_id: str, rule: str) -> Token:
        """The token, when it is this user's or an administrator's. Raises IdentityError."""
        token = self.token()
        if user_id != token.user_id and not token.is_admin:
            raise forbidden(f"identity:{rule}")
        if self.site.identity.user_name(user_id) is None:
            raise IdentityError(404, f"Could not find user: {user_id}.")
        return token


class OneUser(UserHandler):
    """GET /v3/users/{id}"""

    def get(self, id: str) -> None:
        self.own(id, "get_user")
        self.answer(
            {
                "user": {
                    "id": id,
                    "name": self.site.identity.user_name(id),
                    "domain_id": DOMAIN_ID,
                    "enabled": True,
                    "password_expires_at": None,
                    "options": {},
                    "links": self.link(f"/users/{id}"),
                }
            }
        )


class UserProjects(UserHandler):
    """GET /v3/users/{id}/projects"""

    def get(self, id: str) -> None:
        self.own(id, "list_user_projects")
        self.listing("projects", self.own_projects(id))


class Credentials(UserHandler):
    """/v3/users/{id}/application_credentials"""

    def show(self, record: Credential) -> dict[str, Any]:
        """An application credential as Keystone shows it."""
        end = record.expires_at
        return {
            "id": record.id,
            "name": record.name,
            "description": record.description,
            "user_id": record.user_id,
            "project_id": record.project_id,
            "system": None,
            "expires_at": None if end is None else _time(end),
            "unrestricted": record.unrestricted,
            "roles": [
                {
                    "id": self.site.config.id_of("role", name),
                    "name": name,
                    "domain_id": None,
                    "description": None,
                    "options": {"immutable": True},
                }
                for name in record.roles
            ],
            "links": self.link(f"/application_credentials/{record.id}"),
        }

    def get(self, user_id: str) -> None:
        self.own(user_id, "list_application_credentials")
        name = self.get_query_argument("name", None)
        rows = self.site.identity.credentials(user_id)
        self.listing("application_credentials", [self.show(r) for r in rows if name in (None, r.name)])

    def post(self, user_id: str) -> None:
        token = self.own(user_id, "create_application_credential")
        if token.user_id != user_id:
            raise forbidden("identity:create_application_credential")
        record, secret = self.site.identity.create_credential(token, self.body("application_credential"))
        self.answer({"application_credential": {**self.show(record), "secret": secret}}, 201)


class OneCredential(Credentials):
    """/v3/users/{id}/application_credentials/{id}"""

    def get(self, user_id: str, id: str) -> None:  # type: ignore[override]
        self.own(user_id, "get_application_credential")
        self.answer({"application_credential": self.show(self.site.identity.credential(user_id, id))})

    def delete(self, user_id: str, id: str) -> None:
        token = self.own(user_id, "delete_application_credential")
        if token.user_id != user_id:
            raise forbidden("identity:delete_application_credential")
        self.site.identity.delete_credential(token, id)
        self.answer(None, 204)


def _time(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
