"""The one watcher of a site and project, for all who look at its containers.

Topic `containers`: `snapshot` {"containers": [...], "more": bool, "state": {...}} (several where there are many; the
last has more=false), then `diff` {"changed": [...], "removed": [uuid, ...]} and `state` {"ok": bool, "problem": ...}
when polls begin to fail or work again.

The values of environment variables are left out (their names are kept): they hold people's secrets, and nobody asked
for them. The REST operation for one container has them on request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from chi_edge_lab import errors
from chi_edge_lab.core.shown import shown
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import problem_of
from chi_edge_lab.server.feeds.feed import Feed, Listing, as_json, in_parts
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.pacing import Pace
from chi_edge_lab.server.feeds.topics import TopicRequest, topic
from chi_edge_lab.zun import Client, Container

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

log = logging.getLogger(__name__)

# not Created: on upstream sites a container rests there
_CHANGING = frozenset({"Creating", "Restarting", "Rebuilding", "Deleting"})
_AT_MOST = 0.1  # seconds between polls, however often one is asked for
_GONE = frozenset({"Deleted"})

State = dict[str, Any]


class Entry(NamedTuple):
    """One container as it is shown, and the same as JSON."""

    status: str
    changing: bool
    data: bytes


def entry_of(container: Container) -> Entry:
    """What a watcher keeps of a container."""
    status = container.status or ""
    changing = bool(container.task_state) or status in _CHANGING
    return Entry(status, changing, as_json(shown(container).model_dump(mode="json")))


class Watcher(Producer):
    """Polls the containers of one site and project, and publishes what has changed."""

    def __init__(self, services: Services, call: Call, client: Client, key: Hashable) -> None:
        limits = services.limits
        self.client = client
        self.containers: dict[str, Entry] = {}
        self.state: State = {"ok": True, "problem": None}
        self.listeners: set[Callable[[], None]] = set()  # called after each poll
        self.polls = 0  # answered by the site
        self.looked = False  # a poll has come back, well or ill
        self.feed = Feed(entries=limits.feed_entries, size=limits.feed_bytes, snapshot=self._snapshot)
        self._services = services
        self._call = call
        self._key = key
        self._wanted = asyncio.Event()
        self._pace = Pace(limits)

    def poke(self) -> None:
        """Poll at once, and often for a moment: something was asked of the site."""
        self._pace.excite()
        self._wanted.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            self._wanted.clear()
            began = time.monotonic()
            try:
                found = await self._services.polls.run(self._look)
            except errors.EdgeLabError as error:
                self._failed(error)
                pause = self._pace.ill(error)
            else:
                news = self._merge(found)
                changing = any(one.changing for one in found.values())
                pause = self._pace.well(news=news, changing=changing, took=time.monotonic() - began)
            for listener in tuple(self.listeners):
                listener()
            await self._rest(pause)

    async def _rest(self, pause: float) -> None:
        """Wait, less if somebody wants to know; not less than the site itself asked for."""
        least = max(_AT_MOST, self._pace.not_before - time.monotonic())
        await asyncio.sleep(least)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wanted.wait(), max(0.0, pause - least))

    def _look(self) -> dict[str, Entry]:
        if (self.state["problem"] or {}).get("code") in _LOGIN:
            self._log_in_anew()
        containers = self.client.list_containers()
        self._services.sites.remember(self.client, *containers)
        return {one.uuid: entry_of(one) for one in containers if one.uuid and one.status not in _GONE}

    def _log_in_anew(self) -> None:
        """Take up credentials that were mended meanwhile, if they are for the same project."""
        client = self._call.client()
        if key_of(client) == self._key:
            self.client = client

    def _merge(self, found: dict[str, Entry]) -> bool:
        """Publish what differs; True if something does."""
        before, self.containers = self.containers, found
        self.polls += 1
        first, self.looked = not self.looked, True
        if not self.state["ok"]:
            self.state = {"ok": True, "problem": None}
            self.feed.publish("state", self.state)
        if first:
            self.feed.wake()  # its readers wait for the snapshot
            return True
        changed = [one.data for uuid, one in found.items() if before.get(uuid) != one]
        removed = as_json([uuid for uuid in before if uuid not in found])
        if not changed and removed == b"[]":
            return False
        for part in in_parts(changed):
            self.feed.publish("diff", b'{"changed":[%b],"removed":%b}' % (b",".join(part), removed))
            removed = b"[]"
        return True

    def _failed(self, error: errors.EdgeLabError) -> None:
        self.looked = True
        problem = problem_of(error).model_dump()
        known = (self.state["problem"] or {}).get("code")
        # an expired login fails in more than one way, and is one thing to be told
        if known != problem["code"] and not {known, problem["code"]} <= _LOGIN:
            self.state = {"ok": False, "problem": problem}
            self.feed.publish("state", self.state)

    def _snapshot(self) -> Listing | None:
        if not self.looked:
            return None  # a first snapshot that says "none" would be wrong
        return Listing("containers", [one.data for one in self.containers.values()], {"state": self.state})


_LOGIN = frozenset({errors.Unauthorized.code, errors.LoginError.code, errors.BadCredentials.code})


def key_of(client: Client) -> Hashable:
    """What a watcher is known by: `default` and the site's own name are one. Blocks if the login has expired."""
    return ("containers", client.login.endpoint(), client.login.project_id)


async def watcher_key(call: Call) -> tuple[Hashable, Client]:
    """The key of a call's site and project, and its client."""

    def look() -> tuple[Hashable, Client]:
        client = call.client()
        return key_of(client), client

    return await call.services.calls.run(look)


async def watch(call: Call) -> tuple[Hashable, Lease]:
    """The key of the watcher of the call's site and project, and a lease of it.

    Raises:
        errors.EdgeLabError: there is no such site, or too many feeds.
    """
    key, client = await watcher_key(call)
    hub = call.services.hub
    known = hub.known(key)
    if isinstance(known, Watcher):
        known.client = client
    return key, hub.acquire(key, known or Watcher(call.services, call, client, key))


async def poke(call: Call) -> None:
    """Something was asked of the call's site and project: whoever watches it looks at once."""
    if not any(isinstance(one, Watcher) for one in call.services.hub.producers()):
        return
    try:
        key, _ = await watcher_key(call)
    except errors.EdgeLabError as error:
        log.debug("the watcher is not told of a change: %s", error.code)
        return
    watcher = call.services.hub.known(key)
    if isinstance(watcher, Watcher):
        watcher.poke()


def parsed(entry: Entry | None) -> Mapping[str, Any] | None:
    """A container as JSON says it."""
    return None if entry is None else dict(json.loads(entry.data))


@topic("containers")
async def open_containers(call: Call, request: TopicRequest) -> Lease:
    """The containers of a site and project."""
    return (await watch(call))[1]
