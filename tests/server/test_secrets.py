"""Nothing secret leaves the server, nor reaches its log with everything at debug level."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from chi_edge_lab import sites
from tests.localsite import local_site
from tests.server import faultproxy
from tests.server.asking import Raw
from tests.server.faultproxy import Fault, FaultProxy
from tests.server.journey import SECRET, Journey


@pytest.fixture(params=["chi-edge", "zun"])
def proxy(request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    site = local_site(request.param)
    found = FaultProxy(site.env["OS_AUTH_URL"])
    found.variables = found.env(site.env)
    yield found
    found.close()


@pytest.fixture(params=["password", "application credential"])
def secrets(request: pytest.FixtureRequest, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The process logs in with what the parameter says; what nobody may see."""
    sites.forget_logins()
    for name, value in proxy.variables.items():
        monkeypatch.setenv(name, value)
    found = {proxy.variables["OS_PASSWORD"], SECRET}
    if request.param == "application credential":
        made = application_credential()
        for name in ("USERNAME", "PASSWORD", "PROJECT_NAME", "USER_DOMAIN_NAME", "PROJECT_DOMAIN_NAME"):
            monkeypatch.delenv(f"OS_{name}")
        monkeypatch.setenv("OS_AUTH_TYPE", "v3applicationcredential")
        monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", made["id"])
        monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", made["secret"])
        found.add(made["secret"])
        sites.forget_logins()
    return found


def application_credential() -> dict[str, str]:
    """A new one, from the site's Keystone."""
    login = sites.login()
    user = login.session.get_user_id()
    reply = login.adapter("identity").post(
        f"/users/{user}/application_credentials", json={"application_credential": {"name": "of-a-test"}}
    )
    made: dict[str, str] = reply.json()["application_credential"]
    return made


@pytest.fixture
def everything(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Every logger at debug level."""
    names = ["", *logging.root.manager.loggerDict]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG):
        yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


async def test_no_secret_is_answered_told_or_logged(
    secrets: set[str],
    jp_serverapp: Any,
    http_server_client: Any,
    jp_base_url: str,
    jp_auth_header: dict[str, str],
    proxy: FaultProxy,
    everything: None,
    unique: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    journey = Journey(Raw(http_server_client, jp_base_url), jp_auth_header)
    await journey.ask("GET", "/sites/default/containers")
    await journey.make(unique)
    await journey.work()
    await journey.look_around()
    uuid = journey.uuid
    follow = [
        {"name": "containers"}, {"name": "container", "uuid": uuid}, {"name": "terminals"}, {"name": "transfers"},
        {"name": "stats", "uuid": uuid}, {"name": "nothing", "token": "x"},
    ]  # fmt: skip
    await journey.listen(*follow)
    await errors_that_tell_too_much(journey, proxy, secrets)
    await journey.leave()

    hidden = secrets | proxy.secrets | {jp_auth_header["Authorization"].removeprefix("token ")}
    assert len(proxy.secrets) >= 2, "a token and a terminal's were to come by"
    assert all(len(one) > 7 for one in hidden)
    leaks = []
    for name, reply in journey.replies:
        shown = repr(dict(reply.headers.get_all())) + reply.body.decode("utf-8", "replace")
        leaks += [(name, _named(one, hidden, secrets)) for one in hidden if one in shown]
        assert "/ws/?token" not in shown
        assert "X-Auth-Token" not in reply.headers
    leaks += [
        ("a socket", _named(one, hidden, secrets)) for one in hidden for text in journey.heard if one in text
    ]
    for record in caplog.records:
        text = logging.Formatter("%(name)s %(message)s").format(record)
        leaks += [(f"log: {text[:300]}", _named(one, hidden, secrets)) for one in hidden if one in text]
    assert not leaks
    logged = {record.name for record in caplog.records}
    assert {"chi_edge_lab.sites.session", "urllib3.connectionpool", "ServerApp"} <= logged, "all is logged"


async def errors_that_tell_too_much(journey: Journey, proxy: FaultProxy, secrets: set[str]) -> None:
    """The site's own words hold what was sent to it."""
    token = next(iter(proxy.secrets))
    words = [
        f"X-Auth-Token: {token} is bad", f"password={proxy.variables['OS_PASSWORD']} was wrong",
        f"cannot open ws://127.0.0.1:6784/?token={token}", f'{{"secret": "{max(secrets, key=len)}"}}',
    ]  # fmt: skip
    for status in (400, 403, 409, 500):
        for text in words:
            detail = {"status": status, "title": text, "detail": text}
            answer = faultproxy.json_answer(status, {"errors": [detail]})
            with proxy.spoiling(Fault(" /container/", answer=answer)):
                await journey.ask("GET", "/sites/default/containers")
                await journey.ask("POST", f"{journey.container}/exec", {"command": ["true"]})
            assert journey.replies[-1][1].code >= 400


def _named(secret: str, hidden: set[str], known: set[str]) -> str:
    kind = "known" if secret in known else "a token"
    return f"{kind}: {secret[:4]}..."
