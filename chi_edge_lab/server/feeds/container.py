"""One container, as the watcher of its project sees it: no requests of its own.

Topic `container`: `snapshot` {"container": {...} or null while it has not been seen, "state": {...}}, `changed`
{"container": {...}}, `state`, and at its end `gone` {"uuid": ...}.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.feeds.containers import Entry, Watcher, parsed, watch
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import ContainerRequest, topic

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

_ENTRIES = 200  # messages kept
_UNSEEN_POLLS = 2  # the first may have begun before the container was made


class Following(Producer):
    """Follows one container by the watcher of its project; `_hear` is called after each of its polls."""

    def __init__(self, services: Services, key: Hashable, watcher: Watcher, uuid: str) -> None:
        self.gone = asyncio.Event()
        self.watcher = watcher
        self.uuid = uuid
        self._services = services
        self._key = key
        self._unseen_until = 0

    @property
    def entry(self) -> Entry | None:
        """The container as it was seen last; None while it has not been."""
        return self.watcher.containers.get(self.uuid)

    async def run(self) -> None:
        """Follow until the container is gone."""
        lease = self._services.hub.acquire(self._key, self.watcher)
        assert isinstance(lease.producer, Watcher)
        watcher = self.watcher = lease.producer
        watcher.listeners.add(self._look)
        try:
            if self.entry is None:
                self._unseen_until = watcher.polls + _UNSEEN_POLLS
                watcher.poke()
            self._hear()
            await self.follow()
        finally:
            watcher.listeners.discard(self._look)
            lease.release()
        self.feed.publish("gone", {"uuid": self.uuid})

    async def follow(self) -> None:
        """What is done meanwhile; returns when the container is gone."""
        await self.gone.wait()

    def _look(self) -> None:
        if self.entry is None and self.watcher.state["ok"] and self.watcher.polls >= self._unseen_until:
            self.gone.set()
        self._hear()

    def _hear(self) -> None:
        """The watcher has looked."""


class OneContainer(Following):
    """What the watcher says of one container."""

    def __init__(self, services: Services, key: Hashable, watcher: Watcher, uuid: str) -> None:
        super().__init__(services, key, watcher, uuid)
        self.feed = Feed(entries=_ENTRIES, size=services.limits.feed_bytes, snapshot=self._snapshot)
        self._seen: Entry | None = None
        self._state = watcher.state

    def _hear(self) -> None:
        if self.watcher.state is not self._state:
            self._state = self.watcher.state
            self.feed.publish("state", self._state)
        if self.entry is not None and self.entry != self._seen:
            self._seen = self.entry
            self.feed.publish("changed", b'{"container":%b}' % self._seen.data)

    def _snapshot(self) -> list[dict[str, Any]] | None:
        if self._seen is None and self._state["ok"]:
            return None
        return [{"container": parsed(self._seen), "state": self._state}]


@topic("container")
async def open_container(call: Call, request: ContainerRequest) -> Lease:
    """One container."""
    await call.services.calls.run(call.container)
    key, lease = await watch(call)
    try:
        watcher, hub = lease.producer, call.services.hub
        assert isinstance(watcher, Watcher)
        mine = ("container", key, request.uuid)
        return hub.acquire(mine, hub.known(mine) or OneContainer(call.services, key, watcher, request.uuid))
    finally:
        lease.release()
