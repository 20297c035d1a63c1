"""Threads of the Zun part: calls that wait for the engine, and one queue of operations per container."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from chi_edge_lab.local.zunapi.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)

WAITING_PER_THREAD = 16
"""Calls that may wait for each thread; beyond that the site says 503 instead of growing."""


class Workers:
    """Two bounded pools. Operations on one container never overlap (Zun locks by uuid); those of others do."""

    def __init__(self, calls: int, tasks: int) -> None:
        self._calls = ThreadPoolExecutor(calls, thread_name_prefix="zun-call")
        self._tasks = ThreadPoolExecutor(tasks, thread_name_prefix="zun-task")
        self._most = calls * WAITING_PER_THREAD
        self._open = 0
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Callable[[], None]]] = {}
        self._timers: set[threading.Timer] = set()
        self._closed = False

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run something that blocks in a thread. Raises Unavailable when too many wait already."""
        if self._open >= self._most:
            raise Unavailable("too many calls are waiting")
        self._open += 1  # only ever touched on the event loop
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._calls, lambda: function(*args, **kwargs))
        finally:
            self._open -= 1

    def enqueue(self, key: str, job: Callable[[], None]) -> None:
        """Run a job in a thread after all earlier jobs of this key. From any thread; returns at once."""
        with self._lock:
            if self._closed:
                return
            queue = self._queues.get(key)
            if queue is not None:
                queue.append(job)
                return
            self._queues[key] = deque([job])
            self._tasks.submit(self._step, key)

    def later(self, seconds: float, key: str, job: Callable[[], None]) -> None:
        """Enqueue a job after some time; it is dropped when the site ends before."""

        def due() -> None:
            with self._lock:
                self._timers.discard(timer)
            self.enqueue(key, job)

        timer = threading.Timer(seconds, due)
        timer.daemon = True
        with self._lock:
            if self._closed:
                return
            self._timers.add(timer)
        timer.start()

    def close(self) -> None:
        """Take nothing more, drop what waits, and wait for what runs."""
        with self._lock:
            self._closed = True
            timers, self._timers = self._timers, set()
            for queue in self._queues.values():
                queue.clear()
        for timer in timers:
            timer.cancel()
        self._tasks.shutdown(wait=True, cancel_futures=True)
        self._calls.shutdown(wait=True, cancel_futures=True)

    def _step(self, key: str) -> None:
        """One job of a queue; the next one goes to the back of the pool, so that containers take turns."""
        with self._lock:
            queue = self._queues[key]
            if not queue:
                del self._queues[key]
                return
            job = queue.popleft()
        try:
            job()
        except Exception:  # noqa: BLE001 - jobs report their failures; a bug must not stop the queue
            _log.exception("An operation on container %s failed unexpectedly", key)
        with self._lock:
            if self._closed or not queue:
                del self._queues[key]
                return
            self._tasks.submit(self._step, key)
