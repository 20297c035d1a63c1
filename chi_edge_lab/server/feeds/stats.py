"""What a container uses, measured once for all who look.

Topic `stats` (uuid, interval in seconds): `sample` {"time": seconds since 1970, "stats": {...} or null where the site
has none yet}, `state` {"ok": bool, "problem": Problem or null, "status": the container's} when measuring begins to
fail or works again, stops because the container does not run, or goes on; `gone` at its end. A new reader gets the
samples that are kept. The site is asked as often as the most eager reader wants, and not at all while the container
does not run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Hashable
from typing import TYPE_CHECKING

from pydantic import Field

from chi_edge_lab import errors
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import problem_of
from chi_edge_lab.server.feeds.container import Following
from chi_edge_lab.server.feeds.containers import Watcher, watch
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease
from chi_edge_lab.server.feeds.pacing import Pace
from chi_edge_lab.server.feeds.topics import ContainerRequest, topic
from chi_edge_lab.zun.stats import Stats

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

SAMPLES = 600  # kept for new readers: ten minutes at one a second
_BYTES = 1 << 20
_RUNNING = "Running"


class Poller(Following):
    """Measures one container while it runs."""

    def __init__(self, services: Services, key: Hashable, watcher: Watcher, uuid: str) -> None:
        super().__init__(services, key, watcher, uuid)
        self.feed = Feed(entries=SAMPLES, size=_BYTES)
        self._intervals: Counter[float] = Counter()  # of the readers
        self._changed = asyncio.Event()  # an interval, or what the watcher says
        self._told: tuple[str | None, str] | None = None
        self._pace = Pace(services.limits)

    def want(self, interval: float) -> None:
        """A reader wants a sample each `interval` seconds."""
        self._intervals[interval] += 1
        self._changed.set()

    def unwant(self, interval: float) -> None:
        """It does not any more."""
        self._intervals -= Counter([interval])

    async def follow(self) -> None:
        """Measure whenever it is time; returns when the container is gone."""
        measured = 0.0  # when the last measure began, and how long to wait from then
        pause = 0.0
        while not self.gone.is_set():
            self._changed.clear()
            if not self._runs:
                self._tell(None)
                await self._changed.wait()
                continue
            interval = min(self._intervals, default=1.0)
            left = measured + max(pause, interval) - time.monotonic()
            if left > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), left)
                continue
            measured = time.monotonic()
            pause = await self._measure()

    async def _measure(self) -> float:
        """Publish a sample, or what is wrong; seconds for which the site is to be left alone."""
        try:
            async with self._services.hub.slow_polls:
                sample = await self._services.polls.run(self._ask)
        except errors.EdgeLabError as error:
            if self._runs:  # else that is why
                self._tell(error)
            return self._pace.ill(error)
        self._pace = Pace(self._services.limits)
        self._tell(None)
        stats = None if sample is None else sample.model_dump()
        self.feed.publish("sample", {"time": round(time.time(), 3), "stats": stats})
        return 0.0

    def _ask(self) -> Stats | None:
        return self.watcher.client.stats(self.uuid)

    @property
    def _runs(self) -> bool:
        return self.entry is not None and self.entry.status == _RUNNING

    def _tell(self, error: errors.EdgeLabError | None) -> None:
        status = "" if self.entry is None else self.entry.status
        now = (None if error is None else error.code, status)
        if now == self._told or (self._told is None and now == (None, _RUNNING)) or self.entry is None:
            return
        self._told = now
        problem = None if error is None else problem_of(error).model_dump()
        self.feed.publish("state", {"ok": error is None, "problem": problem, "status": status})

    def _look(self) -> None:
        super()._look()
        self._changed.set()


class StatsRequest(ContainerRequest):
    """`interval`: seconds between samples."""

    interval: float = Field(2.0, ge=1.0, le=3600.0)


@topic("stats")
async def open_stats(call: Call, request: StatsRequest) -> Lease:
    """What one container uses."""
    await call.services.calls.run(call.container)
    key, lease = await watch(call)
    try:
        watcher, hub = lease.producer, call.services.hub
        assert isinstance(watcher, Watcher)
        mine = ("stats", key, request.uuid)
        found = hub.acquire(mine, hub.known(mine) or Poller(call.services, key, watcher, request.uuid))
    finally:
        lease.release()
    poller, interval = found.producer, request.interval
    assert isinstance(poller, Poller)
    poller.want(interval)
    found.on_release = lambda: poller.unwant(interval)
    return found
