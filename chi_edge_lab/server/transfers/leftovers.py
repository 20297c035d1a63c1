"""Removes from containers what a killed server, or an upload whose site was gone, has left there."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from chi_edge_lab import errors
from chi_edge_lab.core import transfer
from chi_edge_lab.server.transfers.spool import Leftover, Spool

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

log = logging.getLogger(__name__)

DELAYS = (0.0, 5.0, 30.0, 120.0, 600.0)  # seconds before each attempt
_GONE = (errors.NotFound, errors.ContainerGone, errors.NoShell, errors.BadInput)


class Leftovers:
    """Tries a few times in the background, then forgets with a line in the log."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def add(self, spool: Spool, leftover: Leftover) -> None:
        """Begin to remove it. On the loop."""
        task = asyncio.create_task(self._remove(spool, leftover))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Try no more; what is not removed stays in the journal for the next server."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _remove(self, spool: Spool, leftover: Leftover) -> None:
        problem: Exception | None = None
        for delay in DELAYS:
            await asyncio.sleep(delay)
            try:
                await self._services.polls.run(self._discard, leftover)
            except _GONE:
                problem = None
            except errors.EdgeLabError as error:
                problem = error
                continue
            else:
                problem = None
            break
        if problem is not None:
            log.warning(
                "The temporary directory %s in %r of container %s could not be removed (%s); it is given up.",
                leftover.token, leftover.dest, leftover.container, type(problem).__name__,
            )  # fmt: skip
        await self._services.polls.run(spool.forget, leftover)

    def _discard(self, leftover: Leftover) -> None:
        client = self._services.sites.client(leftover.site, leftover.project)
        self._services.sites.owning(client, leftover.container)
        transfer.discard(client, leftover.container, leftover.dest, leftover.token)
