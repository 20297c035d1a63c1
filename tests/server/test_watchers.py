"""What watching costs a site, counted at the site, and what is told when it is ill."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chi_edge_lab.server.feeds.pacing import IDLE_FACTOR, Pace
from chi_edge_lab.server.limits import EdgeLabLimits
from chi_edge_lab.server.services import Services
from tests.faultysite import PROJECT, FaultySite, Reply

LIST = ("GET", "/v1/containers")
UUID = str(uuid.uuid4())


def container(id: str = UUID, **facts: Any) -> dict[str, Any]:
    return {"uuid": id, "name": "c", "status": "Running", "project_id": PROJECT, **facts}


def listing(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"containers": list(containers), "next": None}


@pytest.fixture
def ill(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultySite]:
    """A site that does as it is told, and is the default."""
    site = FaultySite()
    site.say(*LIST, listing(container()))
    site.say("GET", f"/v1/containers/{UUID}", container())
    for name, value in site.env().items():
        monkeypatch.setenv(name, value)
    yield site
    site.close()


@pytest.fixture
def quick(services: Services) -> Services:
    """Times for tests."""
    services.limits.poll_fastest, services.limits.poll_idle, services.limits.linger = 0.1, 0.2, 0.0
    return services


async def eventually(true: Callable[[], object], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        await asyncio.sleep(0.01)


async def test_thirty_readers_cost_what_one_costs(events: Any, ill: FaultySite, quick: Services) -> None:
    async def cost(readers: int) -> float:
        """Listings a second while so many sockets follow the site and one container each."""
        sockets = [await events() for _ in range(readers)]
        for one in sockets:
            one.subscribe(1, "containers")
            one.subscribe(2, "container", uuid=UUID)
        for one in sockets:
            await one.until(1, "snapshot")
            await one.until(2, "snapshot")
        before, began = len(ill.asked(*LIST)), time.monotonic()
        await asyncio.sleep(3)
        spent = (len(ill.asked(*LIST)) - before) / (time.monotonic() - began)
        for one in sockets:
            await one.end()
        await eventually(lambda: len(quick.hub) == 0)
        return spent

    alone = await cost(1)
    together = await cost(30)
    assert alone > 1
    assert together <= alone * 1.35  # the pauses grow in steps; thirty times would be 30
    assert len(ill.asked("GET", f"/v1/containers/{UUID}")) == 1  # whose it is, asked once


async def test_nobody_listens_nothing_is_asked(events: Any, ill: FaultySite, quick: Services) -> None:
    client = await events()
    client.subscribe(1, "containers")
    await client.until(1, "snapshot")
    await client.end()
    await eventually(lambda: len(quick.hub) == 0 and quick.polls.running == 0)
    asked = len(ill.requests)
    await asyncio.sleep(1)
    assert len(ill.requests) == asked


@pytest.mark.parametrize("status", [429, 503])
async def test_a_site_that_asks_for_a_pause_gets_it(
    events: Any, api: Any, ill: FaultySite, quick: Services, status: int
) -> None:
    client = await events()
    client.subscribe(1, "containers")
    await client.until(1, "snapshot")
    ill.say(*LIST, Reply(status, {"errors": []}, {"Retry-After": "2"}))
    before = len(ill.asked(*LIST))
    told = await client.until(1, "state")
    assert told["data"]["ok"] is False
    assert told["data"]["problem"]["code"] in {"too-many-requests", "server-error"}
    await api("POST", "sites", "default", "refresh")  # not even then
    await asyncio.sleep(1.2)
    assert len(ill.asked(*LIST)) == before + 1
    ill.say(*LIST, listing(container(status="Stopped")))
    again = await client.until(1, lambda one: one["type"] == "state" and one["data"]["ok"])
    assert again["data"]["problem"] is None
    changed = await client.until(1, "diff")
    assert changed["data"]["changed"][0]["status"] == "Stopped"
    assert client.types(1).count("state") == 2


async def test_a_failing_site_is_asked_less_and_less_and_told_of_once(
    events: Any, ill: FaultySite, quick: Services
) -> None:
    ill.say(*LIST, Reply(502, b"<html>bad gateway</html>"))
    client = await events()
    client.subscribe(1, "containers")
    first = await client.until(1, "snapshot")
    assert first["data"] == {"containers": [], "state": first["data"]["state"], "more": False}
    assert first["data"]["state"]["problem"]["code"] == "server-error"
    await asyncio.sleep(3)
    # pauses of at least 0.2, 0.4, 0.8, 1.6 seconds; an idle site would have been asked ten times
    assert 2 <= len(ill.asked(*LIST)) <= 5
    assert client.types(1) == ["snapshot"]


async def test_an_expired_login_is_told_once_and_mended_credentials_are_taken_up(
    events: Any, ill: FaultySite, quick: Services
) -> None:
    client = await events()
    client.subscribe(1, "containers")
    await client.until(1, "snapshot")
    ill.refuse_logins = True
    ill.say(*LIST, Reply(401, {"errors": []}))
    told = await client.until(1, "state")
    assert told["data"]["problem"]["code"] == "unauthorized"
    await asyncio.sleep(1.5)
    ill.refuse_logins = False
    ill.say(*LIST, listing(container()))
    await client.until(1, lambda one: one["type"] == "state" and one["data"]["ok"])
    assert client.types(1).count("state") == 2


async def test_the_loop_goes_on_while_the_site_hangs(
    events: Any, api: Any, ill: FaultySite, quick: Services
) -> None:
    ill.say(*LIST, Reply(body=listing(container()), delay=3))
    client = await events()
    began = time.monotonic()
    client.subscribe(1, "containers")
    await eventually(lambda: ill.asked(*LIST))
    slowest = 0.0
    while time.monotonic() < began + 2:
        asked = time.monotonic()
        await api("GET", "status")
        slowest = max(slowest, time.monotonic() - asked)
    assert slowest < 0.5
    await client.until(1, "snapshot")
    assert time.monotonic() - began > 2.9


async def test_who_asks_for_it_is_shown_at_once(
    events: Any, api: Any, ill: FaultySite, services: Services
) -> None:
    services.limits.poll_idle = 60
    client = await events()
    client.subscribe(1, "containers")
    await client.until(1, "snapshot")
    ill.say(*LIST, listing(container(name="new")))
    began = time.monotonic()
    await api("POST", "sites", "default", "refresh", status=204)
    await client.until(1, "diff", seconds=5)
    assert time.monotonic() - began < 3


async def test_a_large_project_comes_in_parts_without_secrets(
    events: Any, ill: FaultySite, services: Services
) -> None:
    many = [
        container(str(uuid.UUID(int=number)), environment={"KEY": "hunter2"}, labels={"text": "x" * 500})
        for number in range(5000)
    ]
    ill.say(*LIST, listing(*many))
    client = await events()
    client.subscribe(1, "containers")
    last = await client.until(1, lambda one: one["data"]["more"] is False, seconds=60)
    parts = client.messages[1]
    assert [one["type"] for one in parts] == ["snapshot"] * len(parts)
    assert len(parts) > 20
    assert sorted(one["uuid"] for part in parts for one in part["data"]["containers"]) == sorted(
        one["uuid"] for one in many
    )
    assert "hunter2" not in str(parts)
    assert client.largest <= 600 << 10
    ill.say(*LIST, listing(*({**one, "status": "Stopped"} for one in many)))
    services.hub.producers()[0].poke()  # type: ignore[attr-defined]
    changed: set[str] = set()
    while len(changed) < 5000:
        message = await client.next()
        if message["type"] == "diff":
            changed |= {one["uuid"] for one in message["data"]["changed"]}
    assert "gap" not in client.types(1)
    assert last["cursor"] != parts[0]["cursor"]


async def test_stats_are_measured_once_for_all_and_only_while_it_runs(
    events: Any, ill: FaultySite, quick: Services
) -> None:
    path = ("GET", f"/v1/containers/{UUID}/stats")
    ill.say(*path, {"cpu": "1000000n", "memory": "2048Ki"})
    eager, lazy = await events(), await events()
    lazy.subscribe(1, "stats", uuid=UUID, interval=60)
    eager.subscribe(1, "stats", uuid=UUID, interval=1)
    sample = await eager.until(1, "sample")
    assert sample["data"]["stats"]["memory_bytes"] == 2048 * 1024
    await lazy.until(1, lambda one: one["data"].get("time", 0) > sample["data"]["time"])
    assert len(ill.asked(*path)) <= 3
    await eager.end()
    before = len(ill.asked(*path))
    await asyncio.sleep(1.6)
    assert len(ill.asked(*path)) <= before + 1  # once a minute is enough now
    lazy.subscribe(2, "stats", uuid=UUID, interval=1)
    assert (await lazy.until(2, "sample"))["data"]["time"] == sample["data"]["time"]  # what was kept
    ill.say(*path, Reply(500, {"errors": []}))
    told = await lazy.until(2, "state")
    assert told["data"]["problem"]["code"] == "server-error"
    ill.say(*LIST, listing(container(status="Stopped")))
    await lazy.until(2, lambda one: one["type"] == "state" and one["data"]["status"] == "Stopped")
    before = len(ill.asked(*path))
    await asyncio.sleep(1.6)
    assert len(ill.asked(*path)) == before
    ill.say(*path, {"cpu": "1000000n", "memory": "4096Ki"})
    ill.say(*LIST, listing(container()))
    await lazy.until(
        2, lambda one: one["type"] == "sample" and one["data"]["stats"]["memory_bytes"] == 4 << 20
    )
    ill.say(*LIST, listing())
    await lazy.until(1, "gone")
    await lazy.until(1, "end")


def test_pauses_grow_while_nothing_happens_and_shrink_when_it_does() -> None:
    now = 0.0
    limits = EdgeLabLimits(poll_fastest=0.5, poll_idle=2.0, poll_longest=60.0)
    pace = Pace(limits, clock=lambda: now)
    quiet = [pace.well(news=False, changing=False, took=0) for _ in range(20)]
    assert quiet == sorted(quiet)
    assert (quiet[0], quiet[-1]) == (2.5, 2.0 * IDLE_FACTOR)
    assert pace.well(news=True, changing=True, took=0) == 0.5
    stuck = [pace.well(news=False, changing=True, took=0) for _ in range(20)]
    assert stuck[0] < 1 < stuck[-1] == 2.0
    assert pace.well(news=False, changing=False, took=9) == 9
    pace.excite()
    assert pace.well(news=False, changing=False, took=0) == 0.5
    ill = [pace.ill(RuntimeError()) for _ in range(12)]
    assert 2 <= ill[0] <= 4
    assert 30 <= ill[-1] <= 60
    now = 1000.0
    assert pace.well(news=False, changing=False, took=0) <= 2.5
