"""The event socket, and the watcher that feeds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chi_edge_lab import sites
from chi_edge_lab.core import create, lifecycle
from chi_edge_lab.zun import Client, client_for
from tests.server.events import Events

Connect = Callable[[], Any]
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]


@pytest.fixture
def connect(jp_ws_fetch: Any) -> Connect:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Events]:
        events = Events(await jp_ws_fetch("chi-edge-lab", "api", "events"))
        try:
            yield events
        finally:
            await events.end()

    return opened


def client_of(site: str) -> Client:
    return client_for(sites.login(site))


async def blocking(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs))


async def made(site: str, name: str) -> Any:
    client = await blocking(client_of, site)
    return await blocking(
        create.create, client, name=name, image="busybox", command=SLEEP, wait_until_running=True, timeout=60
    )


async def test_a_new_container_is_told_and_so_is_its_end(connect: Connect, site: str, unique: str) -> None:
    async with connect() as events:
        events.subscribe(1, "containers", site=site)
        first = await events.until(1, "snapshot")
        assert first["data"]["more"] is False
        assert first["data"]["state"]["ok"]
        container = await made(site, unique)

        def running(message: Any) -> bool:
            changed = message["data"].get("changed", [])
            return any(one["uuid"] == container.uuid and one["status"] == "Running" for one in changed)

        await events.until(1, running)
        client = await blocking(client_of, site)
        await blocking(lifecycle.delete, client, container.uuid)
        await events.until(1, lambda message: container.uuid in message["data"].get("removed", []))


async def test_one_container_is_followed_to_its_end(connect: Connect, site: str, unique: str) -> None:
    container = await made(site, unique)
    async with connect() as events:
        events.subscribe(3, "container", site=site, uuid=container.uuid)
        snapshot = await events.until(3, "snapshot")
        assert snapshot["data"]["container"]["name"] == unique
        client = await blocking(client_of, site)
        await blocking(lifecycle.delete, client, container.uuid)
        await events.until(3, "gone")
        await events.until(3, "end")


async def test_environment_values_are_not_sent(connect: Connect, site: str, unique: str) -> None:
    client = await blocking(client_of, site)
    container = await blocking(
        create.create,
        client,
        name=unique,
        image="busybox",
        command=SLEEP,
        environment={"PASSWORD": "hunter2"},
    )
    async with connect() as events:
        events.subscribe(1, "container", site=site, uuid=container.uuid)
        snapshot = await events.until(1, "snapshot")
        assert snapshot["data"]["container"]["environment"] == {"PASSWORD": ""}
        assert "hunter2" not in json.dumps(events.messages)
    await blocking(lifecycle.delete, client, container.uuid)


async def test_who_comes_back_with_a_cursor_misses_nothing(connect: Connect, unique: str) -> None:
    async with connect() as events:
        events.subscribe(1, "containers", site="local-zun")
        snapshot = await events.until(1, "snapshot")
    container = await made("local-zun", unique)
    async with connect() as events:
        events.subscribe(1, "containers", site="local-zun", cursor=snapshot["cursor"])
        await events.until(1, lambda message: container.uuid in str(message["data"].get("changed")))
        assert "snapshot" not in events.types(1)
        assert "gap" not in events.types(1)
    client = await blocking(client_of, "local-zun")
    await blocking(lifecycle.delete, client, container.uuid)


async def test_an_unknown_cursor_gives_a_gap_and_a_snapshot(connect: Connect) -> None:
    async with connect() as events:
        events.subscribe(1, "containers", site="local", cursor="00000000-7")
        await events.until(1, "snapshot")
        assert events.types(1) == ["gap", "snapshot"]


async def test_the_default_and_its_name_share_a_watcher(connect: Connect, services: Any) -> None:
    async with connect() as events:
        events.subscribe(1, "containers")
        events.subscribe(2, "containers", site="local")
        await events.until(1, "snapshot")
        await events.until(2, "snapshot")
        assert len(services.hub) == 1


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("no json", "not JSON"),
        ('{"op": "subscribe"}', "id: Field required"),
        ('{"op": "fly", "id": 1}', "'fly'"),
        ('{"op": "subscribe", "id": 1, "topic": {"name": "weather"}}', "no topic"),
        ('{"op": "subscribe", "id": 1, "topic": {"name": "containers", "token": "x"}}', "Extra inputs"),
        ('{"op": "subscribe", "id": 1, "topic": {"name": "containers"}, "cursor": 5}', "cursor"),
        ('{"op": "subscribe", "id": 1, "topic": {"name": "container", "uuid": "../x"}}', "uuid"),
        ('{"op": "subscribe", "id": 1, "topic": {"name": "containers", "site": "nowhere"}}', "no site"),
        ("[" * 100_000, None),
    ],
)
async def test_nonsense_is_answered_and_the_socket_stays(
    connect: Connect, message: str, said: str | None
) -> None:
    async with connect() as events:
        events.say(message)
        if said is None:  # too large: the one thing that closes it
            with pytest.raises(EOFError):
                await events.read(15)  # Tornado gives the other side five seconds to agree
            return
        await events.read(10)
        (problem,) = [one for kept in events.messages.values() for one in kept]
        assert problem["type"] == "problem"
        assert said in problem["data"]["message"]
        events.subscribe(9, "containers", site="local")
        await events.until(9, "snapshot")


async def test_another_projects_container_is_not_there(connect: Connect) -> None:
    async with connect() as events:
        events.subscribe(1, "container", site="local", uuid="0" * 8 + "-0000-0000-0000-" + "0" * 12)
        problem = await events.until(1, "problem")
        assert problem["data"]["code"] == "not-found"


async def test_a_closed_socket_lets_go_of_its_feeds(connect: Connect, services: Any) -> None:
    services.limits.linger = 0.0
    async with connect() as events:
        events.subscribe(1, "containers", site="local")
        await events.until(1, "snapshot")
        assert len(services.hub) == 1
    for _ in range(100):
        if not len(services.hub):
            break
        await asyncio.sleep(0.02)
    assert len(services.hub) == 0


async def test_an_unsubscribed_topic_is_silent(connect: Connect, unique: str) -> None:
    async with connect() as events:
        events.subscribe(1, "containers", site="local")
        await events.until(1, "snapshot")
        events.say({"op": "unsubscribe", "id": 1})
        events.subscribe(2, "containers", site="local")
        container = await made("local", unique)
        await events.until(2, lambda message: container.uuid in str(message["data"].get("changed")))
        assert events.types(1) == ["snapshot"]
    client = await blocking(client_of, "local")
    await blocking(lifecycle.delete, client, container.uuid)


async def test_a_running_container_is_measured_until_it_stops(
    connect: Connect, site: str, unique: str
) -> None:
    container = await made(site, unique)
    client = await blocking(client_of, site)
    async with connect() as events:
        events.subscribe(1, "stats", site=site, uuid=container.uuid, interval=1)
        # CHI@Edge has no sample before a minute has passed; that is told as null
        sample = await events.until(1, "sample", seconds=30)
        assert "stats" in sample["data"]
        if site == "local-zun":
            assert sample["data"]["stats"]["memory_bytes"] > 0
            await blocking(lifecycle.stop, client, container.uuid)
            await events.until(1, lambda message: message["data"].get("status") == "Stopped")
        await blocking(lifecycle.delete, client, container.uuid)
        await events.until(1, "gone")
