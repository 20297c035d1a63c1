"""The one watcher of a site and project, for all who look at its containers.

Topic `containers`: `snapshot` {"containers": [...], "more": bool, "state": {...}} (several where there are many; the
last has more=false), then `diff` {"changed": [...], "removed": [uuid, ...]} and `state` {"ok": bool, "problem": ...}
when polls begin to fail or work again. Topic `container` is the same for one, without requests of its own: `snapshot`,
`changed` {"container": {...}}, `state`, and at its end `gone`.

The values of environment variables are left out here (their names are kept): they hold people's secrets, and nobody
asked for them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from chi_edge_lab import errors
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import problem_of
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import ContainerRequest, TopicRequest, topic
from chi_edge_lab.zun import Client, Container

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

_CHUNK = 200  # containers in one snapshot message, about 300 kB
_CHANGING = frozenset({"Creating", "Restarting", "Rebuilding", "Deleting"})
_EXCITED = 3.0  # seconds of quick polls after something was asked of the site: it answers before it acts
_AT_MOST = 0.1  # seconds between polls, however often one is asked for
_IDLE_GROWTH, _IDLE_FACTOR = 1.25, 2.5  # the pause of a quiet site grows to poll_idle times the factor
_JITTER = 0.25

State = dict[str, Any]
Listener = Callable[[Mapping[str, State], list[str]], None]


def masked(container: Container) -> Container:
    """The container (changed in place) without the values of its environment."""
    container.environment = dict.fromkeys(container.environment, "")
    return container


class Watcher(Producer):
    """Polls the containers of one site and project, and publishes what has changed."""

    def __init__(self, services: Services, client: Client) -> None:
        limits = services.limits
        self.client = client
        self.containers: dict[str, State] = {}
        self.state: State = {"ok": True, "problem": None}
        self.listeners: set[Listener] = set()
        self.polls = 0  # answered by the site
        self.first = asyncio.Event()  # the first poll has come back, well or ill
        self.feed = Feed(entries=limits.feed_entries, size=limits.feed_bytes, snapshot=self._snapshot)
        self._services = services
        self._wanted = asyncio.Event()
        self._excited_until = 0.0
        self._pause = limits.poll_idle
        self._failures = 0

    def poke(self) -> None:
        """Poll at once, and often for a moment: something was asked of the site."""
        self._excited_until = asyncio.get_running_loop().time() + _EXCITED
        self._wanted.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self._wanted.clear()
            try:
                found = await self._services.polls.run(self._look)
            except errors.EdgeLabError as error:
                self._failed(error)
                pause = self._sick_pause(error)
            else:
                self._merge(found)
                pause = self._well_pause()
            self.first.set()
            await asyncio.sleep(_AT_MOST)
            try:
                await asyncio.wait_for(self._wanted.wait(), max(0.0, pause - _AT_MOST))
            except asyncio.TimeoutError:
                continue

    def _look(self) -> dict[str, State]:
        containers = self.client.list_containers()
        self._services.sites.remember(self.client, *(one.uuid for one in containers))
        return {one.uuid: masked(one).model_dump(mode="json") for one in containers if one.uuid}

    def _merge(self, found: dict[str, State]) -> None:
        self.polls += 1
        self._failures = 0
        changed = {uuid: one for uuid, one in found.items() if self.containers.get(uuid) != one}
        removed = [uuid for uuid in self.containers if uuid not in found]
        self.containers = found
        if not self.state["ok"]:
            self.state = {"ok": True, "problem": None}
            self.feed.publish("state", self.state)
        if changed or removed:
            self._pause = self._services.limits.poll_idle
            parts = _chunks(list(changed.values())) or [[]]
            for number, part in enumerate(parts):
                self.feed.publish("diff", {"changed": part, "removed": [] if number else removed})
        self._tell(changed, removed)

    def _tell(self, changed: Mapping[str, State], removed: list[str]) -> None:
        for listener in tuple(self.listeners):
            listener(changed, removed)

    def _failed(self, error: errors.EdgeLabError) -> None:
        self._failures += 1
        problem = problem_of(error).model_dump()
        known = self.state["problem"] or {}
        if (known.get("code"), known.get("message")) != (problem["code"], problem["message"]):
            self.state = {"ok": False, "problem": problem}
            self.feed.publish("state", self.state)
            self._tell({}, [])

    def _well_pause(self) -> float:
        limits = self._services.limits
        if asyncio.get_running_loop().time() < self._excited_until or any(
            map(_is_changing, self.containers.values())
        ):
            return limits.poll_fastest
        pause = self._pause
        self._pause = min(self._pause * _IDLE_GROWTH, limits.poll_idle * _IDLE_FACTOR)
        return pause

    def _sick_pause(self, error: errors.EdgeLabError) -> float:
        limits = self._services.limits
        pause = min(limits.poll_longest, limits.poll_idle * 2.0 ** min(self._failures, 16))
        asked = getattr(error, "retry_after", None) or 0.0
        # spread, so that many servers do not come back to an ill site in the same moment
        return max(pause * random.uniform(1 - _JITTER, 1 + _JITTER), min(asked, limits.poll_longest))  # noqa: S311

    def _snapshot(self) -> Iterable[State]:
        parts = _chunks(list(self.containers.values())) or [[]]
        for number, part in enumerate(parts, 1):
            yield {"containers": part, "more": number < len(parts), "state": self.state}


class OneContainer(Producer):
    """What the watcher says of one container."""

    def __init__(self, services: Services, key: Hashable, watcher: Watcher, uuid: str) -> None:
        self.feed = Feed(entries=200, size=services.limits.feed_bytes, snapshot=self._snapshot)
        self._services = services
        self._key = key
        self._watcher = watcher
        self._uuid = uuid
        self._gone = asyncio.Event()
        self._state = watcher.state

    async def run(self) -> None:
        """Publish until the container is gone."""
        lease = self._services.hub.acquire(self._key, self._watcher)
        watcher = lease.producer
        assert isinstance(watcher, Watcher)
        self._watcher = watcher
        watcher.listeners.add(self._hear)
        try:
            await watcher.first.wait()
            if watcher.state["ok"] and self._uuid not in watcher.containers:
                self._gone.set()
            await self._gone.wait()
        finally:
            watcher.listeners.discard(self._hear)
            lease.release()
        self.feed.publish("gone", {"uuid": self._uuid})

    def _hear(self, changed: Mapping[str, State], removed: list[str]) -> None:
        if self._watcher.state is not self._state:
            self._state = self._watcher.state
            self.feed.publish("state", self._state)
        if self._uuid in changed:
            self.feed.publish("changed", {"container": changed[self._uuid]})
        if self._uuid in removed:
            self._gone.set()

    def _snapshot(self) -> Iterable[State]:
        yield {"container": self._watcher.containers.get(self._uuid), "state": self._watcher.state}


def _is_changing(container: State) -> bool:
    return bool(container.get("task_state")) or container.get("status") in _CHANGING


def _chunks(containers: list[State]) -> list[list[State]]:
    return [containers[start : start + _CHUNK] for start in range(0, len(containers), _CHUNK)]


async def watcher_key(call: Call) -> tuple[Hashable, Client]:
    """What a watcher is known by: `default` and the site's own name are one."""

    def look() -> tuple[Hashable, Client]:
        client = call.client()
        return ("containers", client.login.endpoint(), client.login.project_id), client

    return await call.services.calls.run(look)


async def watch(call: Call) -> Lease:
    """A lease of the watcher of the call's site and project."""
    key, client = await watcher_key(call)
    known = call.services.hub.known(key)
    return call.services.hub.acquire(key, known or Watcher(call.services, client))


@topic("containers")
async def open_containers(call: Call, request: TopicRequest) -> Lease:
    """The containers of a site and project."""
    lease = await watch(call)
    assert isinstance(lease.producer, Watcher)
    try:
        # a first snapshot that says "none" would be wrong
        await lease.producer.first.wait()
    except asyncio.CancelledError:
        lease.release()
        raise
    return lease


@topic("container")
async def open_container(call: Call, request: ContainerRequest) -> Lease:
    """One container."""
    await call.services.calls.run(call.container)
    lease = await watch(call)
    try:
        watcher = lease.producer
        assert isinstance(watcher, Watcher)
        await watcher.first.wait()
        key, _ = await watcher_key(call)
        services = call.services
        mine = ("container", key, request.uuid)
        return services.hub.acquire(
            mine, services.hub.known(mine) or OneContainer(services, key, watcher, request.uuid)
        )
    finally:
        lease.release()
