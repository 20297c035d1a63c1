"""Keeps one feed for each topic that somebody reads, and its producer running meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING

from chi_edge_lab.server.failures import LimitReached, problem_of
from chi_edge_lab.server.feeds.feed import Feed

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

log = logging.getLogger(__name__)


class Producer(ABC):
    """Fills one feed while somebody reads it."""

    feed: Feed

    @abstractmethod
    async def run(self) -> None:
        """Publish until cancelled; returning ends the feed, and so does an exception (its readers are told)."""


class Hub:
    """Producers by key; each runs from its first reader until `linger` seconds after its last one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._held: dict[Hashable, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    def acquire(self, key: Hashable, producer: Producer) -> Lease:
        """Begin to read the feed of `key`; `producer` is used where there is none yet (ask `known` before).

        Raises:
            LimitReached: there are as many feeds as may be.
        """
        held = self._held.get(key)
        if held is not None and held.producer.feed.ended:
            self._remove(key)
            held = None
        if held is None:
            if len(self._held) >= self._services.limits.feeds:
                raise LimitReached(
                    f"This server follows {len(self._held)} things already, which is its limit.",
                    hint="Close some panels, or raise c.EdgeLabLimits.feeds.",
                )
            held = self._held[key] = _Held(producer, asyncio.create_task(_produce(producer)))
        if held.ending is not None:
            held.ending.cancel()
            held.ending = None
        held.readers += 1
        return Lease(self, key, held.producer)

    def producers(self) -> list[Producer]:
        """All that run."""
        return [held.producer for held in self._held.values()]

    def known(self, key: Hashable) -> Producer | None:
        """The producer of a key, where one runs."""
        held = self._held.get(key)
        return None if held is None or held.producer.feed.ended else held.producer

    def release(self, key: Hashable, producer: Producer) -> None:
        """One reader of `key` has gone."""
        held = self._held.get(key)
        if held is None or held.producer is not producer:
            return  # its feed has ended, and a new one may have begun
        held.readers -= 1
        if held.readers <= 0:
            loop = asyncio.get_running_loop()
            held.ending = loop.call_later(self._services.limits.linger, self._remove, key)

    def _remove(self, key: Hashable) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            held.task.cancel()
            if held.ending is not None:
                held.ending.cancel()

    async def stop(self) -> None:
        """End all producers and wait until they have."""
        tasks = [held.task for held in self._held.values()]
        for key in list(self._held):
            self._remove(key)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


class _Held:
    def __init__(self, producer: Producer, task: asyncio.Task[None]) -> None:
        self.producer = producer
        self.task = task
        self.readers = 0
        self.ending: asyncio.TimerHandle | None = None


class Lease:
    """One reader's hold on a feed."""

    def __init__(self, hub: Hub, key: Hashable, producer: Producer) -> None:
        self._hub = hub
        self._key = key
        self.producer = producer
        self._released = False

    def release(self) -> None:
        """Read no more; may be called twice."""
        if not self._released:
            self._released = True
            self._hub.release(self._key, self.producer)


async def _produce(producer: Producer) -> None:
    try:
        await producer.run()
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever ends a producer is told to its readers
        producer.feed.end("error", problem_of(error).model_dump())
    else:
        producer.feed.end("end", {})
