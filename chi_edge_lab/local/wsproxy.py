"""The websocket proxy: terminals of containers, as zun-wsproxy (websockify) serves them.

    ws://<site>/ws/?token=<token>&uuid=<container>[&exec_id=<exec>]

The token is everything: no Keystone token, no cookie. Whatever is wrong with it is found after the 101, and then the
TCP connection is dropped without a close frame. Frames are binary both ways, a text frame ends the connection
(1003). On chi-edge each frame to the client begins with a Kubernetes channel byte. Nothing is buffered here beyond
one chunk per direction: a client that does not read stops the process that writes, and the reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import urllib.parse
from typing import TYPE_CHECKING, Any

from tornado import websocket

from chi_edge_lab.local.engines.base import CommandNotFound, EngineError, NotRunning
from chi_edge_lab.local.zunapi.errors import ZunError
from chi_edge_lab.local.zunapi.terminals import BadToken, Exec

if TYPE_CHECKING:
    from collections.abc import Callable

    from tornado.web import RequestHandler

    from chi_edge_lab.local.engines.base import Terminal
    from chi_edge_lab.local.zunapi.site import Site

_log = logging.getLogger(__name__)

CHUNK = 65536
"""Most bytes of output in one frame (websockify's buffer size)."""

STDOUT, ERROR = b"\x01", b"\x03"
OPENING_FRAMES = (b"\x01", b"\x02", b"\x03")
"""Kubernetes opens each of its channels with an empty frame."""

CLOSED = "Target closed"

EXIT_CODE_SECONDS = 5.0
"""How long an exit code is waited for after the end of the output: milliseconds, but on a machine under load."""

EXIT_CODE_PAUSES = (0.002, 0.2)
"""Seconds between looks for the exit code: the first, doubled after each look until the last."""


class SocketProxy:
    """All websockets of the site, and the shells that outlived theirs."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: dict[str, list[Terminal]] = {}

    def routes(self) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
        """Tornado's rules, not below any prefix."""
        return [(r"/ws/?", ProxySocket, {"proxy": self})]

    def run(self, task: asyncio.Task[None]) -> None:
        """Keep a task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def leave(self, uuid: str, terminal: Terminal) -> None:
        """A client went and its process goes on. Too many of them in one container: the oldest gets SIGHUP."""
        left = self._left.setdefault(uuid, [])
        left.append(terminal)
        if len(left) > self.site.limits.execs:
            left.pop(0).close()

    def ended(self, uuid: str, terminal: Terminal) -> None:
        """A process ended, watched or not."""
        left = self._left.get(uuid, [])
        if terminal in left:
            left.remove(terminal)
        if not left:
            self._left.pop(uuid, None)

    async def close(self) -> None:
        """The site ends: all connections are dropped, and with them the terminals."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class ProxySocket(websocket.WebSocketHandler):
    """One connection."""

    proxy: SocketProxy
    terminal: Terminal | None = None
    _counted = False
    _gone = False
    _uuid = ""
    _exec: Exec | None = None
    _shared = False

    def initialize(self, proxy: SocketProxy) -> None:
        """Called by Tornado with what the route holds."""
        self.proxy = proxy
        self._prefix = b""
        # Tornado would look at it before the 101, and breaks on one that is no URL
        self._origin = self.request.headers.get("Origin")
        for name in ("Origin", "Sec-Websocket-Origin"):
            if name in self.request.headers:
                del self.request.headers[name]

    def set_default_headers(self) -> None:
        """No server banner."""
        self.clear_header("Server")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Without the URL, which has the token in it."""
        _log.error("a websocket failed", exc_info=(typ, value, tb))

    # -- handshake

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Upgrade, unless the client offers subprotocols without "binary"."""
        offered = self._offered()
        if offered and "binary" not in offered:
            self.set_status(400)
            self.finish("Invalid protocol selected")
            return
        if self.proxy.open >= self.proxy.site.limits.sockets:
            self.set_status(503)
            self.finish("Too many connections")
            return
        await super().get(*args, **kwargs)

    def check_origin(self, origin: str) -> bool:  # noqa: ARG002 - websockify looks at it after the 101
        """Any: `open` decides."""
        return True

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        """ "binary" or none."""
        return "binary" if "binary" in subprotocols else None

    async def open(self, *args: str, **kwargs: str) -> None:  # noqa: ARG002 - the route has none
        """Check token and Origin, connect to the container."""
        self._counted = True
        self.proxy.open += 1
        self.set_nodelay(True)
        try:
            self._check_origin()
            await self._connect()
        except BadToken:
            self._drop()
        except (EngineError, ZunError) as error:
            _log.info("terminal of %s: %s", self._uuid, error)
            self._drop()

    async def _connect(self) -> None:
        site = self.proxy.site
        terminals, call = site.containers.terminals, site.containers.workers.call
        token, exec_id = self._parameter("token"), self._parameter("exec_id")
        self._uuid = self._parameter("uuid")
        if exec_id:
            self._exec = terminals.check_exec(self._uuid, token, exec_id)
            try:
                self.terminal = await call(terminals.start, self._exec)
            except CommandNotFound as error:
                await self._send(f"{error}\r\n".encode())
            if self.terminal is None:
                self.close(1000, CLOSED)
                return
        else:
            row = terminals.check_attach(self._uuid, token)
            driver = site.containers.driver
            self._shared = not driver.channel_bytes
            if driver.channel_bytes:
                self._prefix = STDOUT
            try:
                self.terminal = await call(driver.open_attach, row)
            except CommandNotFound as error:
                for frame in OPENING_FRAMES:
                    await self._send_raw(frame)
                await self._send_raw(ERROR + str(error).encode())
                self.close(1000, CLOSED)
                return
            except NotRunning:
                if driver.channel_bytes:
                    raise
                return  # docker: connected to a container that does not run, nothing comes
            if driver.channel_bytes:
                for frame in OPENING_FRAMES:
                    await self._send_raw(frame)
        self.proxy.run(asyncio.create_task(self._output(self.terminal)))

    # -- frames

    async def on_message(self, message: str | bytes) -> None:
        """Input; the next frame is read when this one is written."""
        if isinstance(message, str):
            self.close(1003, "Unsupported: Text frames are not supported")
            return
        terminal, rest = self.terminal, memoryview(message)
        while terminal is not None and rest:
            try:
                rest = rest[terminal.write(bytes(rest[:CHUNK])) :]
            except BlockingIOError:  # noqa: PERF203
                if not await self._writable(terminal):
                    return
            except (OSError, ValueError, EngineError):
                return  # it has ended: `_output` says so

    def on_close(self) -> None:
        """The client went, or we closed."""
        self._gone = True
        if self._counted:
            self._counted = False
            self.proxy.open -= 1
        terminal = self.terminal
        if terminal is None:
            return
        if self._shared and self._exec is None:
            self.terminal = None
            _forget_fd(terminal)
            terminal.close()
        else:
            self.proxy.leave(self._uuid, terminal)

    async def _output(self, terminal: Terminal) -> None:
        """Pass on what the process prints; when nobody listens any more, let it print into nothing."""
        loop = asyncio.get_running_loop()
        try:
            while self.terminal is terminal:
                try:
                    data, more = _read(terminal)
                except BlockingIOError:
                    await _ready(terminal, loop.add_reader, loop.remove_reader)
                    continue
                except (OSError, ValueError, EngineError):
                    break  # a pty whose last process ended gives EIO; ValueError: it is closed
                if data and not self._gone:
                    await self._send(data)
                if not more:
                    break
            await self._say_goodbye(terminal)
        finally:
            self._finish_terminal(terminal)

    async def _say_goodbye(self, terminal: Terminal) -> None:
        if self._gone:
            return
        code = await self._exit_code(terminal) if self._prefix else None
        if code:
            text = f"command terminated with non-zero exit code: error executing command [/bin/sh], exit code {code}"
            await self._send_raw(ERROR + text.encode())
        self.close(1000, CLOSED)

    @staticmethod
    async def _exit_code(terminal: Terminal) -> int | None:
        """Its terminal ends a moment before the process does."""
        pause, longest = EXIT_CODE_PAUSES
        loop = asyncio.get_running_loop()
        end = loop.time() + EXIT_CODE_SECONDS
        while (code := terminal.exit_code) is None and loop.time() < end:
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)
        return code

    def _finish_terminal(self, terminal: Terminal) -> None:
        self.terminal = None
        _forget_fd(terminal)
        self.proxy.ended(self._uuid, terminal)
        if self._exec is not None:
            self.proxy.site.containers.terminals.end(self._exec)
        with contextlib.suppress(OSError, EngineError):
            terminal.close()

    async def _send(self, data: bytes) -> None:
        await self._send_raw(self._prefix + data)

    async def _send_raw(self, frame: bytes) -> None:
        """Returns when the operating system has taken it: that is the flow control."""
        try:
            await self.write_message(frame, binary=True)
        except websocket.WebSocketClosedError:
            self._gone = True

    async def _writable(self, terminal: Terminal) -> bool:
        loop = asyncio.get_running_loop()
        await _ready(terminal, loop.add_writer, loop.remove_writer)
        return self.terminal is terminal

    # -- rules

    def _offered(self) -> list[str]:
        header = self.request.headers.get("Sec-WebSocket-Protocol", "")
        return [word.strip() for word in header.split(",") if word.strip()]

    def _parameter(self, name: str) -> str:
        values = urllib.parse.parse_qs(self.request.query).get(name, [""])
        return values[-1]

    def _check_origin(self) -> None:
        """No Origin is fine; else its host must be ours and its scheme http, as our URL is ws. Raises BadToken."""
        if self._origin is None:
            return
        try:
            parts = urllib.parse.urlsplit(self._origin)
            hostname = parts.hostname
        except ValueError:
            raise BadToken from None
        scheme = self.request.headers.get("X-Forwarded-Proto", parts.scheme)
        if hostname != self.request.host_name or scheme not in {"ws", "http"}:
            raise BadToken

    def _drop(self) -> None:
        """Close the TCP connection without a word."""
        connection = self.ws_connection
        stream = getattr(connection, "stream", None)
        if stream is not None:
            stream.close()


def _read(terminal: Terminal) -> tuple[bytes, bool]:
    """What there is, at most about CHUNK bytes (a pty gives 4 KiB at a time), and whether more may come.

    Raises BlockingIOError when there is nothing yet, and whatever the terminal raises."""
    parts: list[bytes] = []
    size = 0
    while size < CHUNK:
        try:
            data = terminal.read(CHUNK)
        except (OSError, EngineError):
            if not parts:
                raise
            break
        if not data:
            return b"".join(parts), False
        parts.append(data)
        size += len(data)
    return b"".join(parts), True


async def _ready(terminal: Terminal, add: Callable[..., Any], remove: Callable[[int], Any]) -> None:
    """Wait until the file descriptor can be read (or written)."""
    loop = asyncio.get_running_loop()
    try:
        descriptor = terminal.fileno()
    except (OSError, ValueError):
        return
    if descriptor < 0:
        return
    future: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not future.done():
            future.set_result(None)

    add(descriptor, wake)
    try:
        await future
    finally:
        remove(descriptor)


def _forget_fd(terminal: Terminal) -> None:
    """Stop watching before it is closed: its number may be somebody else's in a moment."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError, ValueError):
        descriptor = terminal.fileno()
        if descriptor >= 0:
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)
