"""Bodies that stream: bytes of an upload, a download, and a file of a container."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel
from tornado import web
from tornado.iostream import StreamClosedError

from chi_edge_lab import errors
from chi_edge_lab.core import filestream, paths
from chi_edge_lab.server.failures import problem_of
from chi_edge_lab.server.handler import RESOURCE, EdgeHandler
from chi_edge_lab.server.operations import CONTAINER, document, route
from chi_edge_lab.server.transfers import board, road, zipped
from chi_edge_lab.server.transfers.models import ContentQuery, DownloadQuery, TransferStatus
from chi_edge_lab.server.transfers.transfer import Transfer
from chi_edge_lab.server.transfers.writer import Writer
from chi_edge_lab.server.workers import Workers

__all__ = ["FileContent", "TransferContent", "board"]  # the board enters its topic

_PIECE = 1 << 20  # bytes of a file of the spool sent at once
_LARGEST = 1 << 62  # an upload's size is limited by its description, not by Tornado
_FILE = CONTAINER + "/files/content"
_TRANSFER = "/transfers/{id}/content"
T = TypeVar("T")


class FileQuery(BaseModel):
    """Which file."""

    path: str


class Streaming(EdgeHandler):
    """Sends what a blocking function reads, piece by piece, in bounded memory."""

    _gone = False

    def on_connection_close(self) -> None:
        """The client has gone."""
        self._gone = True

    def describe(self, name: str, size: int | None) -> None:
        """Set a download's headers: saved under its name, and never shown as a page of Jupyter's origin."""
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        encoded = quote(paths.to_bytes(name).decode("utf-8", "replace"), safe="")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{encoded}")
        if size is not None:
            self.set_header("Content-Length", str(size))

    async def send(self, workers: Workers, read: Callable[[], bytes], begin: Callable[[], None]) -> bool:
        """Send all that `read` gives until b""; the next piece is read while one is sent. True when all is sent.

        What goes wrong after the first piece cuts the connection, so that the browser sees a download that failed.
        """
        ahead = asyncio.ensure_future(workers.run(read))
        begun = False
        try:
            while True:
                piece = await asyncio.shield(ahead)
                if not begun:
                    begin()
                    begun = True
                if not piece:
                    # a client may hang up as soon as it has the last byte: what was flushed to it counts
                    with contextlib.suppress(StreamClosedError):
                        await self.finish(set_content_type="application/octet-stream")
                    return True
                if self._gone:
                    return False
                ahead = asyncio.ensure_future(workers.run(read))
                self.write(piece)
                await self.flush()
        except StreamClosedError:
            return False
        except Exception as error:  # noqa: BLE001 - told while that is possible
            if begun:
                self.log.warning("a download was cut: %s", problem_of(error).message)
                self._auto_finish = False
                self.request.connection.close()  # type: ignore[union-attr]
            else:
                self.fail(error)
            return False
        finally:
            if not ahead.done():
                await asyncio.wait({ahead})
            if not ahead.cancelled():
                ahead.exception()


document(
    "GET", _FILE, "read", name="download_file", summary="One file of any size, as a download (single ranges too).",
    tag="files", query=FileQuery, reply_type="application/octet-stream",
)  # fmt: skip


class FileContent(Streaming):
    """A file of a container, without a copy here."""

    @web.authenticated
    @authorized("read", resource=RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self, **path: str) -> None:
        """Stream it."""
        call = self.call_for(path)
        try:
            query = self.parse_query(FileQuery)
            stream = await self.services.calls.run(
                lambda: filestream.open_file(call.container(), call.uuid, query.path)
            )
        except Exception as error:  # noqa: BLE001 - errors become answers
            self.fail(error)
            return
        whole = stream.end
        part = None
        if self.request.headers.get("If-Range", stream.etag) == stream.etag:
            part = range_of(self.request.headers.get("Range", ""), whole)
        if part is not None:
            if part[0] >= part[1]:
                self.set_status(416)
                self.set_header("Content-Range", f"bytes */{whole}")
                await self.finish()
                return
            stream.narrow(*part)

        def begin() -> None:
            self.describe(stream.name, stream.end - stream.start)
            self.set_header("Accept-Ranges", "bytes")
            self.set_header("ETag", stream.etag)
            if part is not None:
                self.set_status(206)
                self.set_header("Content-Range", f"bytes {part[0]}-{part[1] - 1}/{whole}")

        sent = await self.send(self.services.calls, stream.read, begin)
        outcome = "ok" if sent else "cancelled" if self._gone else "failed"
        call.audit(
            "download", path=query.path, bytes=stream.end - stream.start if sent else None, outcome=outcome
        )


def range_of(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a single range; an empty one where it cannot be; None where it is no such range."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    return int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)


document(
    "GET", _TRANSFER, "read", name="get_transfer_content", summary="What a download has fetched: a file, or a ZIP.",
    tag="transfers", query=DownloadQuery, reply_type="application/octet-stream",
)  # fmt: skip
document(
    "PUT", _TRANSFER, "write", name="put_transfer_content", summary="Bytes of a file of an upload, from an offset.",
    tag="transfers", query=ContentQuery, reply=TransferStatus, body_type="application/octet-stream",
)  # fmt: skip


@web.stream_request_body
class TransferContent(Streaming):
    """Bytes of uploads in, downloads out."""

    _writer: Writer | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        """Authenticate and authorise before any byte of a body is taken, then find where it goes."""
        await super().prepare()
        if self.request.method != "PUT":
            return
        may = self.authorizer.is_authorized(self, self.current_user, "write", RESOURCE)
        if not await ensure_async(may):
            raise web.HTTPError(403)
        self.request.connection.set_max_body_size(_LARGEST)  # type: ignore[union-attr]
        try:
            query = self.parse_query(ContentQuery)
            self._writer = await self.services.transfers.writer(self.path_kwargs["id"], query)
        except Exception as error:  # noqa: BLE001 - errors become answers
            self.fail(error)

    async def data_received(self, chunk: bytes) -> None:
        """Take some of the body; the client waits meanwhile."""
        if self._writer is None or self._finished:
            return
        try:
            await self._writer.write(chunk)
        except Exception as error:  # noqa: BLE001 - errors become answers
            self._writer = None
            self.fail(error)

    def on_connection_close(self) -> None:
        """Keep what came until the connection was cut."""
        super().on_connection_close()
        if self._writer is not None:
            writer, self._writer = self._writer, None
            self.services.transfers.keep(writer)

    @web.authenticated
    @authorized("write", resource=RESOURCE)  # type: ignore[untyped-decorator]
    async def put(self, id: str) -> None:
        """The body is here."""
        if self._writer is None:
            return
        try:
            await self._writer.flush()
            self.answer(self.services.transfers.get(id).status(), 200)
        except Exception as error:  # noqa: BLE001 - errors become answers
            self.fail(error)

    @web.authenticated
    @authorized("read", resource=RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self, id: str) -> None:
        """Send what was fetched, then forget it here."""
        transfers = self.services.transfers
        try:
            one = transfers.get(id)
            if one.direction != "download" or one.state != "ready":
                raise errors.Conflict(f"There is nothing to fetch: this {one.direction} is {one.state}.")
            query = self.parse_query(DownloadQuery)
            one.readers += 1
        except Exception as error:  # noqa: BLE001 - errors become answers
            self.fail(error)
            return
        try:
            sent = await self._send_transfer(one, query)
        finally:
            one.readers -= 1
        if sent:
            await transfers.fetched(one)

    async def _send_transfer(self, one: Transfer, query: DownloadQuery) -> bool:
        disk = self.services.transfers.disk
        try:
            file = await disk.run(road.single, one)
            source = await disk.run(file.open, "rb", 0) if file is not None else None
            roots = await disk.run(road.roots_of, one)
        except OSError as error:
            self.fail(errors.TransferError(f"The download is no longer here: {error.strerror}."))
            return False
        if source is not None and file is not None:
            size = file.stat().st_size
            try:
                return await self.send(
                    disk, lambda: source.read(_PIECE), lambda: self.describe(one.name, size)
                )
            finally:
                source.close()
        pieces = zipped.zipped(roots, compression=query.compression)
        try:
            return await self.send(
                disk, lambda: next(pieces, b""), lambda: self.describe(f"{one.name}.zip", None)
            )
        finally:
            pieces.close()


route(_FILE, FileContent)
route(_TRANSFER, TransferContent)
