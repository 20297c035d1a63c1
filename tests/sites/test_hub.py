"""A login through JupyterHub, with a tiny real hub and a small real Keystone."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

import pytest

from chi_edge_lab import errors, sites
from chi_edge_lab.sites.hub import HubToken, hub_token
from chi_edge_lab.zun import Client
from tests.faultysite import FaultySite, Reply

USER = "/hub/api/users/jo%40x.org"


def jwt(seconds: float) -> str:
    claims = (
        base64.urlsafe_b64encode(json.dumps({"exp": time.time() + seconds}).encode()).decode().rstrip("=")
    )
    return f"eyJhbGciOiJub25lIn0.{claims}.c2lnbmF0dXJl"


@pytest.fixture
def hub() -> Iterator[FaultySite]:
    site = FaultySite()
    yield site
    site.close()


def tells(hub: FaultySite, token: str | None, seconds: float = 600) -> None:
    state = None if token is None else {"access_token": token, "expires_at": time.time() + seconds}
    hub.say("GET", USER, {"name": "jo", "auth_state": state})


def token_of(hub: FaultySite, token: str = "") -> HubToken:
    return HubToken(api_url=hub.url + "/hub/api", user="jo@x.org", api_token="hub-s3cret", token=token)


def test_a_token_that_is_still_good_is_used(hub: FaultySite) -> None:
    token = jwt(600)
    assert token_of(hub, token).fresh() == token
    assert hub.requests == []


def test_a_token_is_renewed_before_it_ends(hub: FaultySite) -> None:
    tells(hub, "new")
    held = token_of(hub, jwt(30))  # half a minute is too little
    assert held.fresh() == "new"
    assert held.fresh() == "new"
    assert len(hub.asked("GET", USER)) == 1
    assert hub.requests[0].headers["authorization"] == "token hub-s3cret"
    assert "s3cret" not in repr(held)
    assert "new" not in repr(held)


def test_a_token_of_unknown_kind_is_asked_for(hub: FaultySite) -> None:
    tells(hub, "new")
    assert token_of(hub, "opaque").fresh() == "new"


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(200, {"auth_state": None}), errors.BadCredentials, "login to JupyterHub has expired"),
        (Reply(200, {"auth_state": {}}), errors.BadCredentials, "login to JupyterHub has expired"),
        (
            Reply(200, {"auth_state": {"access_token": "x", "expires_at": 5}}),
            errors.BadCredentials,
            "has expired",
        ),
        (Reply(403, {}), errors.BadCredentials, r"refuses to tell the access token \(403\)"),
        (Reply(500, b""), errors.Unreachable, "hub answered 500"),
        (Reply(200, b"<html>"), errors.Unreachable, "cannot be read"),
        (Reply(200, b"[]"), errors.Unreachable, "cannot be read"),
        (Reply(hang_up=True), errors.Unreachable, "does not answer"),
    ],
)
def test_a_hub_that_does_not_help(
    hub: FaultySite, reply: Reply, kind: type[errors.EdgeLabError], words: str
) -> None:
    hub.say("GET", USER, reply)
    with pytest.raises(kind, match=words) as caught:
        token_of(hub, jwt(-5)).fresh()
    assert caught.value.hint
    assert "s3cret" not in str(caught.value)


def test_a_hub_that_is_down_is_no_matter_while_the_token_lasts(hub: FaultySite) -> None:
    hub.say("GET", USER, Reply(503))
    token = jwt(30)
    assert token_of(hub, token).fresh() == token


def test_outside_of_a_hub() -> None:
    assert hub_token({}) is None
    assert hub_token({"JUPYTERHUB_API_URL": "http://x", "JUPYTERHUB_USER": "u"}) is None


@pytest.fixture
def spawned(hub: FaultySite, faulty: FaultySite, monkeypatch: pytest.MonkeyPatch) -> FaultySite:
    """The environment of a server that a hub has spawned; the Keystone is `faulty`."""
    environment = {
        "OS_AUTH_URL": f"{faulty.url}/v3", "OS_AUTH_TYPE": "v3oidcaccesstoken", "OS_ACCESS_TOKEN": jwt(-60),
        "OS_IDENTITY_PROVIDER": "chameleon", "OS_PROTOCOL": "openid", "OS_PROJECT_NAME": "class",
        "OS_PROJECT_DOMAIN_NAME": "chameleon", "OS_REGION_NAME": faulty.region, "OS_USERNAME": "stale",
        "JUPYTERHUB_API_URL": f"{hub.url}/hub/api", "JUPYTERHUB_USER": "jo@x.org",
        "JUPYTERHUB_API_TOKEN": "hub-s3cret",
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return faulty


def test_a_spawned_server_logs_in_with_a_fresh_token(hub: FaultySite, spawned: FaultySite) -> None:
    tells(hub, "fresh-1")
    spawned.bearers_taken = {"fresh-1"}
    login = sites.login()
    assert (login.kind, login.source) == ("hub", "JupyterHub's login")
    assert login.project_name == "class"
    assert login.notes == ("OS_USERNAME left out: a token needs no user beside it.",)
    # Keystone's token ends; by then the hub has another one
    tells(hub, "fresh-2")
    spawned.bearers_taken = {"fresh-2"}
    spawned.say("GET", "/v1/containers", Reply(401), Reply(200, {"containers": []}))
    assert Client(login).list_containers() == []
    assert len(hub.asked("GET", USER)) == 2


def test_a_hub_login_that_has_expired_is_a_sentence(hub: FaultySite, spawned: FaultySite) -> None:
    tells(hub, None)
    with pytest.raises(errors.BadCredentials, match=r"login to JupyterHub has expired.*Log out of"):
        sites.login()
    tells(hub, "taken back")
    spawned.bearers_taken = set()
    with pytest.raises(errors.BadCredentials, match="refuses these credentials"):
        sites.login()


def test_the_hubs_login_on_chi_edge(spawned: FaultySite) -> None:
    from chi_edge_lab.sites import catalogue

    settings = catalogue.settings_for("CHI@Edge")
    assert (settings.kind, settings.auth_url) == ("hub", catalogue.CHI_EDGE_URL)
    assert settings.region_name == "CHI@Edge"
