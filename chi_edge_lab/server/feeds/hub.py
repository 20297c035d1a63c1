"""Keeps one feed for each topic that somebody reads, and its producer running meanwhile."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING

from chi_edge_lab.server.failures import Busy, LimitReached, problem_of
from chi_edge_lab.server.feeds.feed import Feed

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services


class Producer(ABC):
    """Fills one feed while somebody reads it.

    What it changes of the state that its feed's snapshot shows and the messages that tell of the change belong
    together: nothing is awaited between them.
    """

    feed: Feed

    @abstractmethod
    async def run(self) -> None:
        """Publish until cancelled; returning ends the feed, and so does an exception (its readers are told)."""


class Hub:
    """Producers by key; each runs from its first reader until `linger` seconds after its last one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._held: dict[Hashable, _Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # also of producers that are ending
        self._closers: set[Callable[[], Awaitable[None]]] = set()
        self._stopped = False
        # for polls that take a second or more: others find a thread meanwhile
        self.slow_polls = asyncio.Semaphore(max(1, services.limits.poll_threads // 2))

    def __len__(self) -> int:
        return len(self._held)

    def acquire(self, key: Hashable, producer: Producer) -> Lease:
        """Begin to read the feed of `key`; `producer` is used where there is none yet (ask `known` before).

        Raises:
            LimitReached: there are as many feeds as may be. Busy: the server stops.
        """
        held = self._held.get(key)
        if held is not None and held.producer.feed.ended:
            self._remove(key)
            held = None
        if held is None:
            self._make_room()
            task = asyncio.create_task(self._produce(key, producer))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            held = self._held[key] = _Held(producer, task)
        held.stay()
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
        if held.readers > 0:
            return
        if producer.feed.ended:
            self._remove(key)
            return
        loop = asyncio.get_running_loop()
        held.ending = loop.call_later(self._services.limits.linger, self._remove, key)

    def on_stop(self, close: Callable[[], Awaitable[None]]) -> None:
        """Have `close` called when the hub stops: a socket's end. `forget` takes it back."""
        self._closers.add(close)

    def forget(self, close: Callable[[], Awaitable[None]]) -> None:
        """Take back `on_stop`."""
        self._closers.discard(close)

    async def stop(self) -> None:
        """End all sockets and producers and wait until they have; further readers are refused."""
        self._stopped = True
        for close in list(self._closers):
            await close()
        for key in list(self._held):
            self._remove(key)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _make_room(self) -> None:
        if self._stopped:
            raise Busy("The server is stopping.")
        if len(self._held) < self._services.limits.feeds:
            return
        unread = next((key for key, held in self._held.items() if held.readers <= 0), None)
        if unread is None:
            raise LimitReached(
                f"This server follows {len(self._held)} things already, which is its limit.",
                hint="Close some panels, or raise c.EdgeLabLimits.feeds.",
            )
        self._remove(unread)

    def _remove(self, key: Hashable) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            held.task.cancel()
            held.stay()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # while it was being cancelled: its readers had gone
            problem_of(error)

    async def _produce(self, key: Hashable, producer: Producer) -> None:
        try:
            await producer.run()
        except Exception as error:  # noqa: BLE001 - whatever ends a producer is told to its readers
            producer.feed.end("error", problem_of(error).model_dump())
        else:
            producer.feed.end("end", {})
        held = self._held.get(key)
        if held is not None and held.producer is producer and held.readers <= 0:
            self._remove(key)


class _Held:
    def __init__(self, producer: Producer, task: asyncio.Task[None]) -> None:
        self.producer = producer
        self.task = task
        self.readers = 0
        self.ending: asyncio.TimerHandle | None = None

    def stay(self) -> None:
        """Do not end on its own."""
        if self.ending is not None:
            self.ending.cancel()
            self.ending = None


class Lease:
    """One reader's hold on a feed. `on_release` is called once when it is let go."""

    def __init__(self, hub: Hub, key: Hashable, producer: Producer) -> None:
        self._hub = hub
        self._key = key
        self._released = False
        self.producer = producer
        self.on_release: Callable[[], None] | None = None

    def release(self) -> None:
        """Read no more; may be called twice."""
        if self._released:
            return
        self._released = True
        if self.on_release is not None:
            self.on_release()
        self._hub.release(self._key, self.producer)
