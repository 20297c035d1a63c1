"""Between the extension and a real site stands a proxy that spoils things: each ends in one clear sentence.

Nothing hangs, the token goes nowhere else, and when the fault is over everything works again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from chi_edge_lab import sites
from chi_edge_lab.core import create
from chi_edge_lab.zun import client_for
from tests.localsite import local_site
from tests.server import faultproxy
from tests.server.asking import Raw
from tests.server.events import Events
from tests.server.faultproxy import Fault, FaultProxy, Trap

ZUN = " /container/"
SECONDS = 12.0  # for an answer to any of these; the time limits of the transport are longer than this
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]


@dataclass(frozen=True)
class Case:
    """A fault and what a person gets: status and `code`. `again`: what comes once the fault is over."""

    fault: Fault
    status: int
    code: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def cases(trap: str) -> dict[str, Case]:
    """All faults, by name. `trap` is the address of another host."""
    return {
        "latency": Case(Fault(ZUN, delay=0.5), 200),
        "cut in mid-body": Case(Fault(ZUN, cut=30), 504, "unreachable"),
        "no answer": Case(Fault(ZUN, reset=True), 504, "unreachable"),
        "garbage": Case(Fault(ZUN, answer=faultproxy.GARBAGE), 502, "server-error"),
        "html 502": Case(Fault(ZUN, answer=faultproxy.HTML_502), 502, "server-error"),
        "an expired token": Case(Fault(ZUN, answer=faultproxy.EXPIRED, times=1), 200),
        "a revoked login": Case(Fault(ZUN, answer=faultproxy.EXPIRED), 424, "unauthorized"),
        "429": Case(
            Fault(ZUN, answer=faultproxy.TOO_MANY), 429, "too-many-requests", (("Retry-After", "7"),)
        ),
        "redirect to another host": Case(Fault(ZUN, answer=faultproxy.elsewhere(trap)), 502, "server-error"),
    }


FAULTS = list(cases(""))


@pytest.fixture(scope="module", params=["chi-edge", "zun"])
def proxy(request: pytest.FixtureRequest) -> Iterator[FaultProxy]:
    site = local_site(request.param)
    found = FaultProxy(site.env["OS_AUTH_URL"])
    found.variables = found.env(site.env)
    yield found
    found.close()


@pytest.fixture
def trap() -> Iterator[Trap]:
    found = Trap()
    yield found
    assert found.heads == [], "something was sent to another host"
    found.close()


@pytest.fixture(scope="module")
def uuid(proxy: FaultProxy) -> str:
    """A container that runs on the site."""
    with pytest.MonkeyPatch.context() as patch:
        log_in(proxy, patch)
        client = client_for(sites.login())
        made = create.create(client, name="faults", image="busybox", command=SLEEP, wait_until_running=True)
        return made.uuid


def log_in(proxy: FaultProxy, patch: pytest.MonkeyPatch) -> None:
    sites.forget_logins()
    for name, value in proxy.variables.items():
        patch.setenv(name, value)


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    limits = {"poll_fastest": 0.1, "poll_idle": 0.1, "poll_longest": 1.0}
    return {"ServerApp": {"jpserver_extensions": {"chi_edge_lab": True}}, "EdgeLabLimits": limits}


@pytest.fixture
def raw(
    jp_serverapp: Any, http_server_client: Any, jp_base_url: str, only_local_sites: None, proxy: FaultProxy,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Raw]:  # fmt: skip
    log_in(proxy, monkeypatch)
    yield Raw(http_server_client, jp_base_url)
    sites.forget_logins()


REQUESTS: dict[str, tuple[str, str, Any]] = {
    "list": ("GET", "/sites/default/containers", None),
    "get": ("GET", "/sites/default/containers/{uuid}", None),
}


async def ask(raw: Raw, headers: dict[str, str], name: str, uuid: str) -> Any:
    method, path, body = REQUESTS[name]
    data = None if body is None else json.dumps(body).encode()
    began = time.monotonic()
    reply = await raw.ask(method, path.format(uuid=uuid), headers, data)
    assert time.monotonic() - began < SECONDS
    return reply


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", list(REQUESTS))
async def test_a_fault_is_one_clear_problem_and_passes(
    name: str, fault: str, raw: Raw, jp_auth_header: dict[str, str], proxy: FaultProxy, uuid: str, trap: Trap
) -> None:
    case = cases(trap.url)[fault]
    assert (await ask(raw, jp_auth_header, name, uuid)).code < 300
    with proxy.spoiling(case.fault):
        reply = await ask(raw, jp_auth_header, name, uuid)
    check(reply, case)
    assert (await ask(raw, jp_auth_header, name, uuid)).code < 300


def check(reply: Any, case: Case) -> None:
    body = json.loads(reply.body)
    assert (reply.code, body.get("code", "")) == (case.status, case.code), body
    if case.status >= 400:
        assert body["message"].endswith("."), body
        assert "Traceback" not in body["message"]
        assert len(body["message"]) < 400
    for header, value in case.headers:
        assert reply.headers[header] == value


@pytest.mark.parametrize("name", list(REQUESTS))
async def test_a_site_that_is_gone_is_said_to_be_and_comes_back(
    name: str, raw: Raw, jp_auth_header: dict[str, str], proxy: FaultProxy, uuid: str
) -> None:
    assert (await ask(raw, jp_auth_header, name, uuid)).code < 300
    with proxy.refusing():
        check(await ask(raw, jp_auth_header, name, uuid), Case(Fault(""), 504, "unreachable"))
    assert (await ask(raw, jp_auth_header, name, uuid)).code < 300


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (faultproxy.HTML_502, 502), (faultproxy.GARBAGE, 504), (faultproxy.EXPIRED, 424),
        (faultproxy.TOO_MANY, 502), ("elsewhere", 502), ("elsewhere 307", 502),
    ],
)  # fmt: skip
async def test_a_keystone_that_is_ill_is_said_to_be_and_never_gets_the_password_elsewhere(
    answer: Any,
    status: int,
    raw: Raw,
    jp_auth_header: dict[str, str],
    proxy: FaultProxy,
    uuid: str,
    trap: Trap,
) -> None:
    if isinstance(answer, str):
        answer = faultproxy.elsewhere(trap.url, 307 if "307" in answer else 302)
    sites.forget_logins()
    with proxy.spoiling(Fault(" /identity/", answer=answer)):
        reply = await ask(raw, jp_auth_header, "list", uuid)
    body = json.loads(reply.body)
    assert reply.code == status, body
    assert body["message"].endswith(".")
    assert (await ask(raw, jp_auth_header, "list", uuid)).code == 200


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in {"latency", "an expired token"}])
async def test_the_feed_says_that_the_site_is_ill_and_when_it_is_well(
    fault: str, raw: Raw, jp_auth_header: dict[str, str], jp_ws_fetch: Any, proxy: FaultProxy, trap: Trap
) -> None:
    case = cases(trap.url)[fault]
    async with listening(jp_ws_fetch) as events:
        events.subscribe(1, "containers", site="default")
        await events.until(1, "snapshot")
        with proxy.spoiling(case.fault):
            said = await events.until(1, lambda one: one["type"] == "state" and not one["data"]["ok"])
            assert said["data"]["problem"]["code"] == case.code
            assert said["data"]["problem"]["message"].endswith(".")
        await events.until(1, lambda one: one["type"] == "state" and one["data"]["ok"])
        status = json.loads((await raw.ask("GET", "/status", jp_auth_header)).body)
        assert status["feeds"] == 1


@contextlib.asynccontextmanager
async def listening(jp_ws_fetch: Any) -> AsyncIterator[Events]:
    socket = await jp_ws_fetch("chi-edge-lab", "api", "events")
    try:
        yield Events(socket)
    finally:
        socket.close()
        while await socket.read_message() is not None:
            await asyncio.sleep(0)
