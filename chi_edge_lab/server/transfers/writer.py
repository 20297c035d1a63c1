"""The bytes of one request on their way into the spool."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from chi_edge_lab.core import paths
from chi_edge_lab.errors import BadInput, Cancelled, Conflict, TransferError
from chi_edge_lab.server.transfers.transfer import Incoming, Transfer

if TYPE_CHECKING:
    from chi_edge_lab.server.workers import Workers

_BUFFER = (
    1 << 20
)  # bytes kept until they are written: a thread for each network packet would cost more than the disk


class Writer:
    """Writes one request's bytes to their file. The last request that came may write; those before are refused, so
    that a browser whose old connection hangs somewhere can go on with a new one.
    """

    def __init__(
        self, disk: Workers, transfer: Transfer, file: Incoming, news: Callable[[], Awaitable[None]]
    ) -> None:
        self._disk = disk
        self._transfer = transfer
        self._file = file
        self._news = news
        self._buffer = bytearray()

    async def begin(self, offset: int) -> None:
        """Take the file over at `offset`; what is there after it is dropped. Raises Conflict, TransferError."""
        file = self._file
        async with file.lock:
            self._check()
            if offset > file.received:
                raise Conflict(
                    f"Only {file.received} bytes of {paths.shown(file.path or self._transfer.name)} are here; "
                    f"it cannot go on at {offset}.",
                    hint=f"Go on at {file.received}.",
                )
            file.writer = self
            if offset < file.received or not file.received:
                await self._put(offset, b"")

    async def write(self, data: bytes) -> None:
        """Take more bytes. Raises BadInput (too many), Cancelled (another request goes on), TransferError."""
        self._buffer += data
        if len(self._buffer) >= _BUFFER:
            await self.flush()

    async def flush(self) -> None:
        """Write what was taken; raises as `write`."""
        file = self._file
        async with file.lock:
            self._check()
            if file.writer is not self:
                raise Cancelled("Another request goes on with this file.")
            if not self._buffer:
                return
            data, self._buffer = bytes(self._buffer), bytearray()
            room = file.wanted.size - file.received
            if room:
                await self._put(file.received, data[:room])
            if len(data) > room:
                raise BadInput(
                    f"More bytes came than the {file.wanted.size} that {paths.shown(file.path)} was to have."
                )
        await self._news()

    async def _put(self, offset: int, data: bytes) -> None:
        try:
            await self._disk.run(self._file.write, offset, data)
        except OSError as error:
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            why = "its disk is full" if full else error.strerror or str(error)
            raise TransferError(f"The Jupyter server could not keep the bytes: {why}.") from error
        before = self._file.complete
        moved = offset + len(data) - self._file.received
        self._file.received += moved
        self._transfer.missing += before - self._file.complete
        self._transfer.count(self._transfer.done + moved)

    def _check(self) -> None:
        if self._transfer.cancel.is_set() or self._transfer.state != "receiving":
            raise Cancelled(f"The transfer takes no bytes; it is {self._transfer.state}.")
