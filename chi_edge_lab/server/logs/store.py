"""All followed logs of this server, and their place on disk."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import LimitReached
from chi_edge_lab.server.logs.followed import FollowedLog
from chi_edge_lab.zun import Client

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services


class Logs:
    """Logs by site, project and container; the one longest unread makes room for a new one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._logs: OrderedDict[Hashable, FollowedLog] = OrderedDict()
        self._place: _Place | None = None
        self._opening = asyncio.Lock()
        # a log whose device is offline holds its thread for a minute: one is left for the watchers
        self._gate = asyncio.Semaphore(max(1, services.limits.poll_threads - 1))

    def __len__(self) -> int:
        return len(self._logs)

    async def of(self, call: Call, uuid: str | None = None) -> FollowedLog:
        """The log of the call's container (or of another one of its project).

        Raises:
            errors.NotFound: there is no such container in the project.
            LimitReached: as many logs are followed as may be.
        """

        def look() -> Client:
            return (call if uuid is None else replace(call, uuid=uuid)).container()

        client = await self._services.calls.run(look)
        wanted = (uuid or call.uuid).lower()
        key = (client.login.endpoint(), client.login.project_id, wanted)
        async with self._opening:
            log = self._logs.get(key)
            if log is not None and log.gone is not None and not log.followed:
                await self._forget(key)
                log = None
            if log is None:
                await self._make_room()
                log = await self._services.calls.run(self._open, client, wanted)
                self._logs[key] = log
            self._logs.move_to_end(key)
        return log

    def _open(self, client: Client, uuid: str) -> FollowedLog:
        if self._place is None:
            self._place = _Place(self._services.data_dir / "logs")
        directory = self._place.path / f"{uuid}-{secrets.token_hex(4)}"
        return FollowedLog(self._services, self._gate, client, uuid, directory)

    async def _make_room(self) -> None:
        most = self._services.limits.log_containers
        while len(self._logs) >= most:
            unread = next((key for key, log in self._logs.items() if not log.followed), None)
            if unread is None:
                raise LimitReached(
                    f"This server follows the logs of {len(self._logs)} containers, which is its limit.",
                    hint="Close some logs, or raise c.EdgeLabLimits.log_containers.",
                )
            await self._forget(unread)

    async def _forget(self, key: Hashable) -> None:
        await self._logs.pop(key).stop()

    async def stop(self) -> None:
        """End all of them and delete their files."""
        for key in list(self._logs):
            await self._forget(key)
        if self._place is not None:
            self._place.remove()
            self._place = None


class _Place:
    """This server's own directory for rings; those of servers that were killed are removed."""

    def __init__(self, parent: Path) -> None:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for lock in parent.glob("*.lock"):
            self._remove_left(lock)
        self.path = parent / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lock_path = self.path.with_suffix(".lock")
        self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the kernel lets go of it however we end
        self.path.mkdir(mode=0o700)

    @staticmethod
    def _remove_left(lock: Path) -> None:
        try:
            held = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return  # another server has just removed it
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return  # its server runs
        else:
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
            lock.unlink(missing_ok=True)
        finally:
            os.close(held)

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)
