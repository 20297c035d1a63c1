"""Keystone v3 as keystoneauth1 uses it, and its errors as Keystone 30 writes them."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import exceptions, session
from keystoneauth1.identity import v3

from chi_edge_lab.local.config import Settings, SiteConfig
from chi_edge_lab.local.identity import Identity
from chi_edge_lab.local.store import Store
from tests.localsite import LocalSite


class Keystone:
    """Raw calls, to see bodies that clients hide."""

    def __init__(self, site: LocalSite) -> None:
        self.site = site
        self.env = site.env
        self.port = int(str(site.runtime()["port"]))

    def __call__(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            named = {k.replace("_", "-"): v for k, v in headers.items()}
            data = body if isinstance(body, (bytes, type(None))) else json.dumps(body)
            if body is not None:
                named.setdefault("Content-Type", "application/json")
            connection.request(method, f"/identity{path}", data, named)
            response = connection.getresponse()
            raw = response.read()
            return response.status, response.headers, json.loads(raw) if raw else None
        finally:
            connection.close()

    def password(self, *, scope: object = "project", **user: Any) -> dict[str, Any]:
        """An auth body of the site's user."""
        who = {
            "name": self.env["OS_USERNAME"],
            "domain": {"name": "Default"},
            "password": self.env["OS_PASSWORD"],
        }
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": {**who, **user}}}}
        if scope == "project":
            auth["scope"] = {"project": {"name": self.env["OS_PROJECT_NAME"], "domain": {"id": "default"}}}
        elif scope is not None:
            auth["scope"] = scope
        return {"auth": auth}

    def token(self, *, scope: object = "project") -> str:
        """A fresh token."""
        status, headers, _ = self("POST", "/v3/auth/tokens", self.password(scope=scope))
        assert status == 201
        return str(headers["X-Subject-Token"])


@pytest.fixture
def keystone(site: LocalSite) -> Keystone:
    return Keystone(site)


def plugin(site: LocalSite, **changes: str) -> v3.Password:
    env = site.env
    return v3.Password(
        **{
            "auth_url": env["OS_AUTH_URL"],
            "username": env["OS_USERNAME"],
            "password": env["OS_PASSWORD"],
            "project_name": env["OS_PROJECT_NAME"],
            "user_domain_name": env["OS_USER_DOMAIN_NAME"],
            "project_domain_name": env["OS_PROJECT_DOMAIN_NAME"],
            **changes,
        }
    )


UNAUTHORIZED = {
    "error": {
        "code": 401,
        "message": "The request you have made requires authentication.",
        "title": "Unauthorized",
    }
}


def test_a_session_finds_all_services_in_the_catalogue(site: LocalSite) -> None:
    login = session.Session(auth=plugin(site))
    for kind in ("identity", "container", "network", "reservation"):
        for interface in ("public", "internal", "admin"):
            url = login.get_endpoint(service_type=kind, interface=interface, region_name="local")
            assert url.startswith("http://127.0.0.1:"), (kind, interface)
    with pytest.raises(exceptions.EndpointNotFound):
        login.get_endpoint(service_type="container", region_name="elsewhere")


def test_the_token_says_who_it_is(site: LocalSite) -> None:
    access = plugin(site).get_access(session.Session())
    assert access.username == "edge"
    assert access.project_name == "edge"
    assert access.role_names == ["member", "reader"]
    assert access.project_domain_name == "Default"
    assert 3600 < (access.expires - access.issued).total_seconds() <= 4 * 3600


def test_version_documents_need_no_login(keystone: Keystone) -> None:
    assert keystone("GET", "")[0] == 300
    assert keystone("GET", "/")[2]["versions"]["values"][0]["id"] == "v3.14"
    for path in ("/v3", "/v3/"):
        assert keystone("GET", path)[2]["version"]["links"][0]["href"].endswith("/identity/v3/")


def test_an_unscoped_token_has_neither_project_nor_catalogue(keystone: Keystone) -> None:
    for scope in (None, "unscoped"):
        status, _, body = keystone("POST", "/v3/auth/tokens", keystone.password(scope=scope))
        assert status == 201
        assert not {"project", "catalog", "roles"} & set(body["token"])
    token = keystone.token(scope=None)
    projects = keystone("GET", "/v3/auth/projects", X_Auth_Token=token)[2]["projects"]
    assert [p["name"] for p in projects] == ["edge"]
    assert keystone("GET", "/v3/auth/catalog", X_Auth_Token=token)[0] == 403


@pytest.mark.parametrize(
    "wrong",
    [
        {"password": "wrong"},
        {"password": ""},
        {"password": None},
        {"password": 7},
        {"password": "ä\udc80"},
        {"name": "nobody"},
        {"name": ["edge"]},
        {"domain": {"name": "elsewhere"}},
        {"id": "nobody"},
    ],
)
def test_wrong_credentials_all_get_the_same_answer(keystone: Keystone, wrong: dict[str, Any]) -> None:
    status, headers, body = keystone("POST", "/v3/auth/tokens", keystone.password(**wrong))
    assert (status, body) == (401, UNAUTHORIZED)
    assert headers["WWW-Authenticate"] == f'Keystone uri="{keystone.env["OS_AUTH_URL"]}"'


@pytest.mark.parametrize(
    "scope",
    [
        {"project": {"name": "nowhere", "domain": {"id": "default"}}},
        {"project": {"name": "other", "domain": {"id": "default"}}},
        {"project": {"id": "nowhere"}},
        {"domain": {"id": "default"}},
        {"system": {"all": True}},
    ],
)
def test_a_scope_without_a_role_is_refused(keystone: Keystone, scope: object) -> None:
    assert keystone("POST", "/v3/auth/tokens", keystone.password(scope=scope))[::2] == (401, UNAUTHORIZED)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Expecting to find valid JSON in request body."),
        (b"[]", "Expecting to find valid JSON in request body."),
        ({}, "Expecting to find auth in request body."),
        ({"auth": {}}, "Expecting to find identity in auth."),
        ({"auth": {"identity": {}}}, "Invalid input for field 'identity': 'methods' is a required property"),
        ({"auth": {"identity": {"methods": ["password"]}}}, "Expecting to find password in identity."),
        (
            {"auth": {"identity": {"methods": ["password"], "password": {}}}},
            "Expecting to find user in None.",
        ),
        (
            {
                "auth": {
                    "identity": {
                        "methods": ["password"],
                        "password": {"user": {"name": "edge", "password": "x"}},
                    }
                }
            },
            "Expecting to find domain in user.",
        ),
    ],
)
def test_a_malformed_login_says_what_is_missing(keystone: Keystone, body: object, message: str) -> None:
    status, _, answer = keystone("POST", "/v3/auth/tokens", body)
    assert status == 400
    assert answer["error"]["message"].startswith(message)
    assert answer["error"]["title"] == "Bad Request"


def test_an_unknown_method_is_named(keystone: Keystone) -> None:
    body = {"auth": {"identity": {"methods": ["magic"], "magic": {}}}}
    status, _, answer = keystone("POST", "/v3/auth/tokens", body)
    assert status == 401
    assert answer["error"]["message"] == "Attempted to authenticate with an unsupported method."
    assert "password" in answer["error"]["identity"]["methods"]


def test_a_token_can_be_checked_and_revoked(keystone: Keystone) -> None:
    mine, other = keystone.token(), keystone.token()
    path = "/v3/auth/tokens"
    status, headers, body = keystone("GET", path, X_Auth_Token=mine, X_Subject_Token=other)
    assert (status, headers["X-Subject-Token"]) == (200, other)
    assert body["token"]["project"]["name"] == "edge"
    assert (
        "catalog"
        not in keystone("GET", f"{path}?nocatalog", X_Auth_Token=mine, X_Subject_Token=other)[2]["token"]
    )
    assert keystone("HEAD", path, X_Auth_Token=mine, X_Subject_Token=other)[0] == 200
    assert keystone("DELETE", path, X_Auth_Token=mine, X_Subject_Token=other)[0] == 204
    for method in ("GET", "HEAD", "DELETE"):
        assert keystone(method, path, X_Auth_Token=mine, X_Subject_Token=other)[0] == 404
    assert keystone("GET", "/v3/auth/projects", X_Auth_Token=other)[::2] == (401, UNAUTHORIZED)
    assert keystone("GET", path, X_Auth_Token="", X_Subject_Token=mine)[0] == 401
    assert keystone("GET", path, X_Auth_Token=mine)[0] == 403


def test_a_token_makes_a_token_that_ends_with_it(keystone: Keystone) -> None:
    old = keystone(
        "GET", "/v3/auth/tokens", X_Auth_Token=(t := keystone.token(scope=None)), X_Subject_Token=t
    )[2]
    body = {
        "auth": {
            "identity": {"methods": ["token"], "token": {"id": t}},
            "scope": {"project": {"name": "edge", "domain": {"name": "default"}}},
        }
    }
    status, _, answer = keystone("POST", "/v3/auth/tokens", body)
    assert status == 201
    assert answer["token"]["methods"] == ["token", "password"]
    assert answer["token"]["expires_at"] == old["token"]["expires_at"]
    assert answer["token"]["audit_ids"][1:] == old["token"]["audit_ids"]
    body["auth"]["identity"]["token"] = {"id": "bad"}  # type: ignore[index]
    assert keystone("POST", "/v3/auth/tokens", body)[0] == 404


def test_an_application_credential_logs_in_without_a_scope(site: LocalSite, keystone: Keystone) -> None:
    token = keystone.token()
    user = keystone("GET", "/v3/auth/tokens", X_Auth_Token=token, X_Subject_Token=token)[2]["token"]["user"][
        "id"
    ]
    path = f"/v3/users/{user}/application_credentials"
    wanted = {"application_credential": {"name": "test", "description": "for a test", "roles": []}}
    status, _, made = keystone("POST", path, wanted, X_Auth_Token=token)
    assert status == 201
    credential = made["application_credential"]
    assert [r["name"] for r in credential["roles"]] == ["member", "reader"]
    assert keystone("POST", path, wanted, X_Auth_Token=token)[0] == 409
    shown = keystone("GET", f"{path}/{credential['id']}", X_Auth_Token=token)[2]["application_credential"]
    assert "secret" not in shown
    assert shown["id"] in {
        c["id"] for c in keystone("GET", path, X_Auth_Token=token)[2]["application_credentials"]
    }

    how = {"auth_url": site.env["OS_AUTH_URL"], "application_credential_secret": credential["secret"]}
    by_id = session.Session(auth=v3.ApplicationCredential(application_credential_id=credential["id"], **how))
    by_name = session.Session(
        auth=v3.ApplicationCredential(
            application_credential_name="test", username="edge", user_domain_id="default", **how
        )
    )
    assert by_id.get_project_id() == by_name.get_project_id() == shown["project_id"]

    method = {"id": credential["id"], "secret": credential["secret"]}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": method}}
    scoped = {"auth": {**auth, "scope": {"project": {"id": shown["project_id"]}}}}
    status, _, answer = keystone("POST", "/v3/auth/tokens", scoped)
    assert status == 401
    assert "Application credentials cannot request a scope." in answer["error"]["message"]
    method["secret"] = "wrong"
    assert keystone("POST", "/v3/auth/tokens", {"auth": auth})[::2] == (401, UNAUTHORIZED)
    method["id"] = "nope"
    assert keystone("POST", "/v3/auth/tokens", {"auth": auth})[0] == 404

    delegated = str(by_id.get_token())
    assert keystone("POST", path, wanted, X_Auth_Token=delegated)[0] == 403
    assert keystone("DELETE", f"{path}/{credential['id']}", X_Auth_Token=delegated)[0] == 403
    assert keystone("DELETE", f"{path}/{credential['id']}", X_Auth_Token=token)[0] == 204
    assert keystone("GET", "/v3/auth/projects", X_Auth_Token=delegated)[0] == 401
    assert keystone("DELETE", f"{path}/{credential['id']}", X_Auth_Token=token)[0] == 404
    with pytest.raises(exceptions.NotFound):
        v3.ApplicationCredential(application_credential_id=credential["id"], **how).get_access(
            session.Session()
        )


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"name": ""}, 400),
        ({"name": "x", "expires_at": "tomorrow"}, 400),
        ({"name": "x", "expires_at": "2020-01-01T00:00:00"}, 400),
        ({"name": "x", "roles": [{"name": "admin"}]}, 400),
        ({"name": "x", "roles": "admin"}, 400),
        ({"name": "x", "access_rules": [{"path": "/", "method": "GET", "service": "container"}]}, 400),
    ],
)
def test_an_application_credential_that_cannot_be(keystone: Keystone, body: object, status: int) -> None:
    token = keystone.token()
    user = keystone("GET", "/v3/auth/tokens", X_Auth_Token=token, X_Subject_Token=token)[2]["token"]["user"][
        "id"
    ]
    path = f"/v3/users/{user}/application_credentials"
    assert keystone("POST", path, {"application_credential": body}, X_Auth_Token=token)[0] == status


def test_other_people_are_no_business_of_a_member(site: LocalSite, keystone: Keystone) -> None:
    secrets = json.loads((site.directory / "secrets.json").read_text())
    other = next(a for a in secrets["accounts"] if a["name"] == "other")
    token = keystone.token()
    for path in (
        "/v3/projects",
        f"/v3/projects/{other['project_id']}",
        f"/v3/users/{other['user_id']}",
        f"/v3/users/{other['user_id']}/application_credentials",
        "/v3/users/nobody/application_credentials",
    ):
        assert keystone("GET", path, X_Auth_Token=token)[0] == 403, path
    mine = keystone("GET", "/v3/auth/projects", X_Auth_Token=token)[2]["projects"][0]["id"]
    assert keystone("GET", f"/v3/projects/{mine}", X_Auth_Token=token)[2]["project"]["name"] == "edge"
    theirs = session.Session(
        auth=plugin(site, username="other", password=other["password"], project_name="other")
    ).get_token()
    subject = {"X_Auth_Token": token, "X_Subject_Token": str(theirs)}
    assert keystone("GET", "/v3/auth/tokens", **subject)[0] == 403
    assert keystone("DELETE", "/v3/auth/tokens", **subject)[0] == 403


@pytest.fixture
def alone(tmp_path: Path) -> tuple[SiteConfig, Store]:
    """Configuration and store of a site that does not run."""
    config = SiteConfig.open(tmp_path / "site")
    return config, Store(":memory:")


def _login(config: SiteConfig) -> dict[str, Any]:
    account = config.secrets.account("edge")
    user = {"id": account.user_id, "password": account.password}
    scope = {"project": {"id": account.project_id}}
    return {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}


def test_a_token_expires(alone: tuple[SiteConfig, Store]) -> None:
    config, store = alone
    config.settings = replace(Settings(), token_lifetime=0.05)
    identity = Identity(config, store)
    token = identity.issue(_login(config))
    assert identity.authenticate(token.raw) == token
    time.sleep(0.06)
    assert identity.authenticate(token.raw) is None


def test_tokens_and_their_revocation_survive_a_restart(alone: tuple[SiteConfig, Store]) -> None:
    config, store = alone
    first = Identity(config, store)
    kept, revoked = first.issue(_login(config)), first.issue(_login(config))
    first.revoke(revoked)
    second = Identity(SiteConfig.open(config.directory), store)
    assert second.authenticate(kept.raw) == kept
    assert second.authenticate(revoked.raw) is None


def test_a_secret_is_in_no_repr(alone: tuple[SiteConfig, Store]) -> None:
    config, store = alone
    account = config.secrets.account("edge")
    token = Identity(config, store).issue(_login(config))
    shown = repr((config, account, token))
    assert account.password not in shown
    assert token.raw not in shown
    assert config.secrets.signing_key.hex() not in shown
