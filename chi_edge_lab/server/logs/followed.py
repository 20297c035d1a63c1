"""One container's log: a ring, what fills it, and who is told. One upstream poll for all readers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chi_edge_lab.core.logs import Follower
from chi_edge_lab.core.logs.ring import Ring
from chi_edge_lab.errors import ContainerGone, EdgeLabError
from chi_edge_lab.server.workers import Workers

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services
    from chi_edge_lab.zun import Client

Listener = Callable[[], None]

_FRESH = 0.5  # seconds for which a log that nobody follows is taken as it is, for requests in a row
_AT_MOST = 0.05  # seconds between polls, however fast lines come: twenty messages a second is all that anybody is sent


class FollowedLog:
    """The log of one container. Used on the loop; its ring may be read in any thread.

    Numbers of lines begin with the time in microseconds, so that those of an earlier ring are smaller, and a reader
    who comes back with one is not given other lines. `problem` is what is wrong while the site fails; `gone` what ended
    it.
    """

    def __init__(
        self, services: Services, gate: asyncio.Semaphore, client: Client, uuid: str, directory: Path
    ) -> None:
        limits = services.limits
        self.uuid = uuid
        first = int(time.time() * 1e6)
        self.ring = Ring(directory, limits.log_bytes, first=first)
        self.gone: EdgeLabError | None = None
        self.ready = False  # polled once, well or ill
        self._services = services
        self._gate = gate
        self._follower = Follower(
            client, uuid, tail=limits.log_first_lines, until_stopped=False, patience=None, first_seq=first
        )
        self._lock = threading.Lock()
        self._asking = asyncio.Lock()
        self._polled_at = float("-inf")
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None

    @property
    def problem(self) -> EdgeLabError | None:
        """What is wrong now."""
        return self.gone or self._follower.problem

    @property
    def followed(self) -> bool:
        """Whether somebody listens."""
        return bool(self._listeners)

    def listen(self, listener: Listener) -> None:
        """Call `listener` on the loop when there may be new lines, or another problem."""
        self._listeners.add(listener)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    def leave(self, listener: Listener) -> None:
        """Call it no more."""
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def refresh(self) -> None:
        """See that the ring is as new as the site, for one request.

        Raises:
            errors.EdgeLabError: the site fails, and there is no line yet.
        """
        async with self._asking:
            loop = asyncio.get_running_loop()
            if not (self.followed and self.ready) and loop.time() - self._polled_at > _FRESH:
                await self._poll(self._services.calls)
        if self.gone is not None:
            raise self.gone
        if self._follower.problem is not None and not len(self.ring):
            raise self._follower.problem

    async def _run(self) -> None:
        while self._listeners and self.gone is None:
            async with self._gate:
                await self._poll(self._services.polls)
            for listener in tuple(self._listeners):
                listener()
            await asyncio.sleep(max(self._follower.pause, _AT_MOST))

    async def _poll(self, workers: Workers) -> None:
        try:
            await workers.run(self._step)
        except EdgeLabError as error:
            self.gone = error  # gone, or no longer ours to read: neither gets better
        self.ready = True
        self._polled_at = asyncio.get_running_loop().time()

    def _step(self) -> None:
        with self._lock:  # a cancelled task does not stop the thread that polls for it
            if self.gone is None:
                self.ring.append(self._follower.poll())

    async def stop(self) -> None:
        """Poll no more and delete the ring."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.gone = self.gone or ContainerGone("The Jupyter server has stopped following this log.")
        await asyncio.get_running_loop().run_in_executor(None, self._remove)

    def _remove(self) -> None:
        with self._lock:
            self.ring.remove()
