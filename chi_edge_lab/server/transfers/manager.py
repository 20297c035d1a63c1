"""Which transfers there are: begun, carried out a few at a time, cancelled, resumed, forgotten."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from chi_edge_lab import errors, sites
from chi_edge_lab.core import paths
from chi_edge_lab.core.progress import Progress
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import LimitReached, Missing, problem_of
from chi_edge_lab.server.transfers import road
from chi_edge_lab.server.transfers.leftovers import Leftovers
from chi_edge_lab.server.transfers.models import ContentQuery, State, TransferBody
from chi_edge_lab.server.transfers.plan import Plan, plan_of
from chi_edge_lab.server.transfers.spool import Spool
from chi_edge_lab.server.transfers.transfer import Incoming, Transfer
from chi_edge_lab.server.transfers.writer import Writer
from chi_edge_lab.server.workers import Workers
from chi_edge_lab.zun import Client

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services
    from chi_edge_lab.server.transfers.board import Board

log = logging.getLogger(__name__)

_MARGIN = 64 << 20  # bytes of the disk that no upload may take
_LOOK = 60.0  # seconds between looks at what is old
_PATIENCE = 10.0  # seconds that a cancel or the server's end waits for a site that does not answer
_REMEMBERED = 200  # finished transfers, at the most
_PATHS = 1000  # of one download
_NEWS = 0.1  # seconds between two words of one transfer's thread


class Transfers:
    """The transfers of this server. On the loop."""

    def __init__(self, services: Services) -> None:
        limits = services.limits
        self.boards: set[Board] = set()
        self.leftovers = Leftovers(services)
        # pools of their own: neither does a slow site hold up the disk, nor a large file the other requests
        self.disk = Workers("disk", 2, 10 * limits.transfers)
        self._movers = Workers("transfers", limits.transfers_at_once, limits.transfers)
        self._services = services
        self._all: dict[str, Transfer] = {}
        self._slots = asyncio.Semaphore(limits.transfers_at_once)
        self._spool: Spool | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        self._making = 0
        self._promised = 0  # bytes of uploads that are being made

    async def start(self) -> None:
        """Clean up what a killed server has left behind. The first transfer starts it where the server has not."""
        async with self._starting:
            if self._loop is None:
                await self._start()

    async def _start(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            self._spool = await self.disk.run(Spool, self._services.data_dir / "spool")
            for left in await self.disk.run(self._spool.inherit):
                self.leftovers.add(self._spool, left)
        except OSError as error:
            log.warning("Transfers are not possible: the spool cannot be used (%s).", error)
        self._sweeper = asyncio.create_task(self._sweep())

    async def stop(self) -> None:
        """End all of them, and remove what they have here."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        for one in self._all.values():
            self._cancel(one)
        tasks = {one.task for one in self._all.values() if one.task is not None}
        if tasks:
            await asyncio.wait(tasks, timeout=_PATIENCE)
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self.leftovers.stop()
        if self._spool is not None:
            await self.disk.run(self._spool.close)
        self._movers.close()
        self.disk.close()

    # -- what may be asked ---------------------------------------------------------------------------

    def all(self) -> list[Transfer]:
        """All that are known, the oldest first."""
        return list(self._all.values())

    def get(self, id: str) -> Transfer:
        """One of them. Raises Missing."""
        if id not in self._all:
            raise Missing("There is no such transfer on this server; it may have been forgotten.")
        return self._all[id]

    async def create(self, call: Call, body: TransferBody) -> Transfer:
        """Begin a transfer: an upload waits for its bytes, a download starts.

        Raises:
            errors.EdgeLabError: it cannot be.
        """
        limits = self._services.limits
        if self._making + sum(not one.is_over for one in self._all.values()) >= limits.transfers:
            raise LimitReached(
                f"There are {limits.transfers} transfers already, which is the limit.",
                hint="Cancel some, or raise c.EdgeLabLimits.transfers.",
            )
        await self.start()
        spool = self._usable()
        self._making += 1
        try:
            if body.direction == "upload":
                return await self._upload(call, body, spool)
            return await self._download(call, body, spool)
        finally:
            self._making -= 1

    async def resume(self, id: str) -> Transfer:
        """Carry out again what has failed. Raises Conflict where that is not possible."""
        one = self.get(id)
        short = [file for file in one.incoming.values() if not file.complete]
        if short:
            first = short[0]
            raise errors.Conflict(
                f"{len(short)} files are not here yet; {paths.shown(first.path or one.name)} has {first.received} of "
                f"{first.wanted.size} bytes.",
                hint="Send what is missing.",
            )
        if one.state != "failed":
            raise errors.Conflict(f"Only a failed transfer can be resumed; this one is {one.state}.")
        one.problem, one.ended = None, None
        self._begin(one)
        return one

    async def forget(self, id: str) -> None:
        """Cancel it if need be, and remove what it has here."""
        one = self.get(id)
        self._cancel(one)
        if one.task is not None and not one.task.done():
            await asyncio.wait({one.task}, timeout=_PATIENCE)
        if one.task is not None and not one.task.done():  # the site does not answer; it goes when it does
            one.task.add_done_callback(lambda _: asyncio.ensure_future(self._drop(one)))
            self.touch(one)
        else:
            await self._drop(one)

    async def writer(self, id: str, query: ContentQuery) -> Writer:
        """Who writes the bytes of one request. Raises Missing, Conflict, Cancelled, TransferError."""
        one = self.get(id)
        file = one.incoming.get(paths.to_bytes(query.path))
        if file is None:
            raise Missing(f"The transfer has no file {paths.shown(query.path)}.")

        async def news() -> None:
            await self._arrived(one)

        writer = Writer(self.disk, one, file, news)
        await writer.begin(query.offset)
        return writer

    def keep(self, writer: Writer) -> None:
        """The connection of a writer was cut: write what it still holds."""

        async def end() -> None:
            with contextlib.suppress(errors.EdgeLabError):  # nobody is there to be told
                await writer.flush()

        task = asyncio.create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    # -- how they come and go ------------------------------------------------------------------------

    def _usable(self) -> Spool:
        if self._spool is None:
            raise errors.TransferError(
                "The Jupyter server has no place for transfers.",
                hint="Its data directory must be writable; its log says more.",
            )
        return self._spool

    async def _upload(self, call: Call, body: TransferBody, spool: Spool) -> Transfer:
        plan = plan_of(body, self._services.limits)
        size = plan.size
        await self._room(spool, size)
        self._promised += size
        try:
            client, site = await self._services.calls.run(_admitted, call, body)
            one = self._new(call, client, site, body, "receiving", spool)
            one.plan, one.size, one.files = plan, size, len(plan.files)
            one.incoming = {path: _incoming(one, plan, path) for path in plan.files}
            one.missing = sum(not file.complete for file in one.incoming.values())
            one.restart(size)
            await self.disk.run(road.prepare, one)
        finally:
            self._promised -= size
        self._all[one.id] = one
        self.touch(one)
        await self._arrived(one)
        return one

    async def _download(self, call: Call, body: TransferBody, spool: Spool) -> Transfer:
        if not 1 <= len(body.paths) <= _PATHS or body.files or body.directories or body.path or body.name:
            raise errors.BadInput(f"A download has 1 to {_PATHS} paths, and nothing else.")
        for path in body.paths:
            paths.checked(path)
        client, site = await self._services.calls.run(_admitted, call, body)
        one = self._new(call, client, site, body, "queued", spool)
        one.sources = list(body.paths)
        one.path = body.paths[0] if len(body.paths) == 1 else ""
        own = paths.to_text(paths.checked(body.paths[0]).rpartition(b"/")[2])
        one.name = own if len(body.paths) == 1 and own not in {"", ".", ".."} else "files"
        self._all[one.id] = one
        self._begin(one)
        return one

    def _new(
        self, call: Call, client: Client, site: str, body: TransferBody, state: State, spool: Spool
    ) -> Transfer:
        id = secrets.token_hex(8)
        return Transfer(
            id=id, direction=body.direction, call=call, client=client, site=site, path=body.path, name=body.name,
            place=spool.place(id), state=state,
        )  # fmt: skip

    async def _room(self, spool: Spool, size: int) -> None:
        waiting = [one for one in self._all.values() if one.direction == "upload" and one.incoming]
        held = (
            sum(one.size or 0 for one in waiting if one.state not in {"done", "cancelled"}) + self._promised
        )
        most = self._services.limits.spool_bytes
        if most is not None and held + size > most:
            raise LimitReached(
                f"Transfers may have {most} bytes on this server's disk, of which {held} are taken.",
                hint="Wait until another one is done, or raise c.EdgeLabLimits.spool_bytes.",
            )
        to_come = (
            sum((one.size or 0) - one.done for one in waiting if one.state == "receiving") + self._promised
        )
        free = await self.disk.run(spool.free)
        if size + to_come + _MARGIN > free:
            raise errors.TransferError(
                f"There is not enough space on the Jupyter server: {size} bytes are to come and "
                f"{max(0, free - to_come - _MARGIN)} are free."
            )

    async def _arrived(self, one: Transfer) -> None:
        one.touched = time.monotonic()
        self.touch(one)
        if not one.missing and one.state == "receiving":
            self._begin(one)

    def _begin(self, one: Transfer) -> None:
        one.state = "queued"
        one.restart(one.size)
        one.task = asyncio.create_task(self._carry(one))
        self.touch(one)

    async def _carry(self, one: Transfer) -> None:
        spool = self._usable()
        try:
            async with self._slots:
                one.state = "sending" if one.direction == "upload" else "receiving"
                one.restart(one.size)
                self.touch(one)
                if one.direction == "upload":
                    await self._movers.run(road.send, one, spool, self._hearing(one))
                else:
                    hear = self._hearing(one)
                    await self._movers.run(road.fetch, one, spool, self._services.limits, hear)
        except asyncio.CancelledError:
            await self._end(one, "cancelled")
        except road.Undone as undone:
            if undone.left is not None:
                self.leftovers.add(spool, undone.left)
            await self._failed(one, undone.error)
        except Exception as error:  # noqa: BLE001 - whatever it was is told to the person
            await self._failed(one, error)
        else:
            await self._end(one, "done" if one.direction == "upload" else "ready")

    async def _failed(self, one: Transfer, error: BaseException) -> None:
        if isinstance(error, errors.Cancelled) and one.cancel.is_set():
            await self._end(one, "cancelled")
        else:
            one.problem = problem_of(error)
            await self._end(one, "failed")

    async def _end(self, one: Transfer, state: State) -> None:
        if (state != "failed" and state != "ready") or (state == "failed" and one.direction == "download"):
            await self.disk.run(self._usable().remove, one.id)
        if state in {"done", "ready"}:
            one.restart(one.size)
            one.count(one.size or 0)
        one.state = state
        one.touched = time.monotonic()
        one.ended = None if state == "ready" else time.time()
        outcome = {"failed": "failed", "cancelled": "cancelled"}.get(state, "ok")
        told = paths.to_text(paths.join(paths.to_bytes(one.path), paths.to_bytes(one.name)))
        one.call.audit(
            one.direction, path=told if one.direction == "upload" else one.path or one.sources[0],
            bytes=one.done, outcome=outcome,
        )  # fmt: skip
        self.touch(one)

    async def fetched(self, one: Transfer) -> None:
        """A browser has got all of a download."""
        if one.state == "ready" and not one.readers:
            one.state, one.ended = "done", time.time()
            await self.disk.run(self._usable().remove, one.id)
            self.touch(one)

    def _cancel(self, one: Transfer) -> None:
        one.cancel.set()
        if one.state == "queued" and one.task is not None:
            one.task.cancel()
        elif (one.task is None or one.task.done()) and not one.is_over:
            one.state, one.ended = "cancelled", time.time()

    async def _drop(self, one: Transfer) -> None:
        self._all.pop(one.id, None)
        for file in one.incoming.values():  # who is just writing has ended then
            async with file.lock:
                file.writer = None
        await self.disk.run(self._usable().remove, one.id)
        self.touch(one)

    # -- news ---------------------------------------------------------------------------------------

    def touch(self, one: Transfer) -> None:
        """Tell who watches that a transfer has changed."""
        for board in tuple(self.boards):
            board.touch(one.id)

    def _hearing(self, one: Transfer) -> Callable[..., None]:
        last = 0.0

        def hear(progress: Progress, before: int = 0) -> None:
            nonlocal last
            was = one.state
            one.hear(progress, before)
            now = time.monotonic()
            if self._loop is not None and (one.state != was or now - last >= _NEWS):
                last = now
                with contextlib.suppress(RuntimeError):  # the server has ended meanwhile
                    self._loop.call_soon_threadsafe(self.touch, one)

        return hear

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            await self.tidy()

    async def tidy(self) -> None:
        """Forget what is old."""
        limits, now = self._services.limits, time.monotonic()
        over = [one for one in self._all.values() if one.is_over]
        surplus = {one.id for one in over[: max(0, len(over) - _REMEMBERED)]}
        for one in list(self._all.values()):
            age = now - one.touched
            kept = one.is_over or (one.state == "ready" and not one.readers)
            idle = one.state == "receiving" and one.direction == "upload" and age > limits.transfer_idle
            if one.id in surplus or idle or (kept and age > limits.transfer_keep):
                await self.forget(one.id)


def _admitted(call: Call, body: TransferBody) -> tuple[Client, str]:
    """The client and the site's own name, after the container and the destination were looked at."""
    client = call.container()
    if body.direction == "upload":
        road.look(client, call.uuid, body.path)
    own = client.login.site
    return client, own if any(one.name == own for one in sites.list_sites()) else call.site


def _incoming(one: Transfer, plan: Plan, path: bytes) -> Incoming:
    return Incoming(path, plan.files[path], one.top / paths.local(path) if path else one.top)
