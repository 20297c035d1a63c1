"""An HTTP and websocket proxy before a local site, which spoils what it is told to spoil.

The site under test is logged in to with OS_* variables that name the proxy; addresses in the site's answers are
rewritten to lead through it too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_PIECE = 65536


@dataclass
class Fault:
    """What happens to matching requests instead of, or on top of, the site's answer.

    `skip` matching requests pass first; then `times` of them are spoilt (None: all). One of:
    `delay` seconds before the site is asked; `cut` the answer (or the stream of a websocket) after so many bytes;
    `answer` (status, headers, body) in the site's stead; `reset` the connection without an answer.
    """

    match: str
    delay: float = 0.0
    cut: int | None = None
    answer: tuple[int, dict[str, str], bytes] | None = None
    reset: bool = False
    skip: int = 0
    times: int | None = None
    met: int = field(default=0, init=False)

    def applies(self, line: str) -> bool:
        """Whether a request ("GET /container/v1/containers/?limit=1") is to be spoilt; counts it."""
        if not re.search(self.match, line):
            return False
        self.met += 1
        return self.met > self.skip and (self.times is None or self.met <= self.skip + self.times)


def json_answer(status: int, body: Any, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """An `answer` that is JSON."""
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"Content-Type": "application/json", **spelled}, json.dumps(body).encode()


HTML_502 = (
    502,
    {"Content-Type": "text/html"},
    b"<html><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>",
)
GARBAGE = (200, {"Content-Type": "application/json"}, bytes(range(256)) * 8)
EXPIRED = json_answer(401, {"error": {"code": 401, "title": "Unauthorized", "message": "expired"}})
TOO_MANY = json_answer(429, {"errors": [{"status": 429, "title": "Too Many Requests"}]}, Retry_After="7")


def elsewhere(url: str, status: int = 302) -> tuple[int, dict[str, str], bytes]:
    """A redirect to another host."""
    return status, {"Location": url}, b""


class FaultProxy:
    """Listens on a port of its own in a thread of its own; `faults` may be changed at any time."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname
        assert parts.port
        self._upstream = (parts.hostname, parts.port)
        self.faults: list[Fault] = []
        self.seen: list[str] = []  # request lines, in order
        self.secrets: set[str] = set()  # tokens of Keystone and of websockets that came by
        self.open = 0  # connections
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.port = 0
        self.variables: dict[str, str] = {}  # OS_* that lead through here
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.listen()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def env(self, variables: dict[str, str]) -> dict[str, str]:
        """The site's OS_* variables, leading through here."""
        return {name: self._rewritten(value.encode()).decode() for name, value in variables.items()}

    @contextlib.contextmanager
    def spoiling(self, *faults: Fault) -> Iterator[None]:
        """With these faults; afterwards with none."""
        self.faults = list(faults)
        try:
            yield
        finally:
            self.faults = []

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Nobody listens: connections are refused, those that are open are reset."""
        self._run(self._close())
        try:
            yield
        finally:
            self.listen()

    def listen(self) -> None:
        """Begin to listen, on the port of the first time."""

        async def start() -> None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

        self._run(start())

    def drop_all(self) -> None:
        """Reset every connection there is."""
        self._run(self._drop())

    def close(self) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.run_until_complete(self._rest())
        self._loop.close()

    async def _rest(self) -> None:
        """What was accepted at the last moment is ended too."""
        await asyncio.sleep(0.01)
        mine = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not mine]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _close(self) -> None:
        assert self._server
        self._server.close()
        await self._drop()
        await self._server.wait_closed()

    async def _drop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, headers: dict[str, str]) -> None:
        names = ("x-auth-token", "x-subject-token")
        self.secrets.update(headers[name] for name in names if name in headers)

    def _rewritten(self, data: bytes) -> bytes:
        host, port = self._upstream
        return data.replace(f"{host}:{port}".encode(), f"127.0.0.1:{self.port}".encode())

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.open += 1
        try:
            await self._serve(reader, writer)
            writer.close()
        except (OSError, EOFError, asyncio.CancelledError):
            _reset(writer)
        finally:
            await _closed(writer)
            self.open -= 1
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        first, headers = _parsed(head)
        line = first.rsplit(" ", 1)[0]
        self.seen.append(line)
        self._note(headers)
        self.secrets.update(re.findall(r"[?&]token=([^&\s]+)", line))
        found = [fault for fault in list(self.faults) if fault.applies(line)]
        fault = found[0] if found else Fault("")
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.reset:
            raise ConnectionResetError
        socket_wanted = headers.get("upgrade", "").lower() == "websocket"
        body = b"" if socket_wanted else await _body(reader, headers)
        if fault.answer is not None:
            status, more, data = fault.answer
            lines = [f"HTTP/1.1 {status} Spoilt", *(f"{k}: {v}" for k, v in more.items())]
            lines += [f"Content-Length: {len(data)}", "Connection: close"]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
            await writer.drain()
            return
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        try:
            if socket_wanted:
                up_writer.write(head)
                await _tunnel(reader, writer, up_reader, up_writer, fault.cut)
            else:
                up_writer.write(_with_close(head) + body)
                await up_writer.drain()
                await self._relay(up_reader, writer, fault.cut)
        finally:
            up_writer.close()
            await _closed(up_writer)

    async def _relay(
        self, up_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: int | None
    ) -> None:
        head = self._rewritten(await up_reader.readuntil(b"\r\n\r\n"))
        _, headers = _parsed(head)
        self._note(headers)
        data = await up_reader.read(-1)
        if "json" in headers.get("content-type", "") and "content-length" in headers:
            data = self._rewritten(data)
            head = re.sub(rb"(?im)^content-length:[^\r]*", b"Content-Length: %d" % len(data), head)
        writer.write(head + (data if cut is None else data[:cut]))
        await writer.drain()
        if cut is not None and cut < len(data):
            raise ConnectionResetError


def _parsed(head: bytes) -> tuple[str, dict[str, str]]:
    first, *rest = head.decode("latin-1").split("\r\n")
    pairs = (one.split(":", 1) for one in rest if ":" in one)
    return first, {name.strip().lower(): value.strip() for name, value in pairs}


def _with_close(head: bytes) -> bytes:
    """The head of a request after whose answer the site closes the connection: its end is the answer's end."""
    return re.sub(rb"(?im)^connection:[^\r]*\r\n", b"", head)[:-2] + b"Connection: close\r\n\r\n"


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """A request's body as it stands on the wire."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length") or 0))
    taken = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        taken += size + await reader.readexactly(int(size, 16) + 2)
        if int(size, 16) == 0:
            return taken


async def _tunnel(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
    cut: int | None,
) -> None:
    """Carry bytes both ways until one side ends, or the site has sent `cut` bytes."""

    async def carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter, limit: int | None) -> None:
        sent = 0
        while data := await source.read(_PIECE):
            if limit is not None and sent + len(data) >= limit:
                sink.write(data[: limit - sent])
                await sink.drain()
                raise ConnectionResetError
            sent += len(data)
            sink.write(data)
            await sink.drain()

    ways = [
        asyncio.ensure_future(carry(reader, up_writer, None)),
        asyncio.ensure_future(carry(up_reader, writer, cut)),
    ]
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in done:
            way.result()
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Until the connection is closed; one that does not end is cut."""
    with contextlib.suppress(
        OSError, asyncio.TimeoutError
    ):  # that it ended in an error may be just what was wanted
        try:
            await asyncio.wait_for(writer.wait_closed(), 2)
        finally:
            writer.transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a crash does."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Trap:
    """Another host: keeps the heads of the requests that reach it, and answers 200 with an empty list."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.heads.append(connection.recv(_PIECE).decode("latin-1"))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
