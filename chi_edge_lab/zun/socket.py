"""A websocket to a terminal in a container, for synchronous code.

What Zun's proxy wants (websockify, seen on the real one): no Origin, subprotocol `binary`, binary frames
only. It answers 101 whatever the token is and then drops the connection of a bad one, so a connection counts
as open once the proxy has answered a ping. It sends no pings itself and gateways cut idle connections, so we
do. The URL is a bearer secret: it is kept nowhere.
"""

from __future__ import annotations

import contextlib
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import websocket
from typing_extensions import Self
from websocket._abnf import ABNF, frame_buffer

from chi_edge_lab import errors
from chi_edge_lab.zun.channels import ChannelStripper
from chi_edge_lab.zun.endings import ENDED, close_words, why

PING_SECONDS = 25.0  # gateways cut connections that were idle for 60 s
_GREETING_SECONDS = 15.0  # for the first answer to a ping
_SILENT_SECONDS = 70.0  # without any frame although we pinged twice: the other end is gone
CHUNK = 4096  # bytes a frame; the proxies break when a frame does not fit their send buffer
_HIGH = 1024 * 1024  # bytes waiting for recv() at which we stop reading, so that TCP slows the site down
_LOW = 256 * 1024
_HELD_SECONDS = 900.0  # for a frame that is not taken: what a paste was meant for may not read
_LAST_SECONDS = 0.5  # for a frame under way when we close
_LARGEST_FRAME = 32 * 1024 * 1024


class Dropped(errors.ServerError):
    """The proxy took the connection and let go of it at once: what it does with a token it does not know."""


class _BoundedBuffer(frame_buffer):
    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > _LARGEST_FRAME:
            raise websocket.WebSocketProtocolException("frame too large")


class WebSocket(websocket.WebSocket):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.frame_buffer = _BoundedBuffer(self._recv, True)

    def _send(self, data: Any) -> int:
        # a program that does not read its input holds us up, and that is no reason to give up its terminal
        until = time.monotonic() + _HELD_SECONDS
        while True:
            try:
                return int(super()._send(data))
            except websocket.WebSocketTimeoutException:  # noqa: PERF203
                if time.monotonic() > until:
                    raise

    def send_close(self, *arguments: Any, **options: Any) -> None:
        # the library answers a close frame before it hands it over; who has gone takes no answer, and what
        # the frame said must not be lost for that
        with contextlib.suppress(OSError, websocket.WebSocketException):
            super().send_close(*arguments, **options)


class Socket:
    """Bytes to and from a terminal. Thread-safe: one thread may send while another receives.

    `close_reason` says in words why it ended ("" while it is open); `exit_code` is the shell's where the site
    tells (CHI@Edge; Zun never tells it for an exec).
    """

    def __init__(
        self,
        connection: Any,
        *,
        channels: bool,
        resizer: Callable[[int, int], None] | None,
        ends_with_exit: bool,
        bytes_per_second: float | None,
        label: str,
    ) -> None:
        self._ws = connection
        self._stripper = ChannelStripper(expected=channels)
        self._resizer = resizer
        self._ends_with_exit = ends_with_exit
        self._bytes_per_second = bytes_per_second
        self._label = label
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._changed = threading.Condition()
        self._sending = threading.Lock()  # pieces of one text stay together
        self._line = threading.Lock()  # held for one frame
        self._discard = False
        self._ended = False
        self._reason = ""
        self._lost = False
        self._wake: Callable[[], None] | None = None
        self._frames = 0  # of any kind, so that "nothing at all came" can be told
        self._size: tuple[int, int] | None = None
        self._heard = self._pinged = time.monotonic()
        self._reader = threading.Thread(target=self._read, name=f"terminal {label}", daemon=True)

    def __repr__(self) -> str:
        state = self._reason or "open"
        return f"<Socket {self._label}: {state}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """True once the other end is gone; recv() still returns what had come before."""
        return self._ended

    @property
    def close_reason(self) -> str:
        """Why it ended, in words; "" while it is open."""
        return self._reason

    @property
    def exit_code(self) -> int | None:
        """The shell's exit code where the site tells."""
        return self._stripper.exit_code

    @property
    def lost(self) -> bool:
        """True where the connection ended without the site saying that the shell has."""
        return self._lost

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake`, in another thread, whenever recv() has something to give (its end too). It must not block."""
        with self._changed:
            self._wake = wake
            ready = bool(self._chunks or self._ended)
        if ready:
            wake()

    def recv(self, timeout: float | None = None) -> bytes:
        """What has come since the last call, at least one byte; b"" at the end.

        Raises:
            TimeoutError: nothing came within `timeout` seconds (None: wait as long as it takes).
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._chunks or self._ended, timeout):
                raise TimeoutError(f"nothing came from the terminal for {timeout} s")
            data = b"".join(self._chunks)
            self._chunks.clear()
            self._waiting = 0
            self._changed.notify_all()
            return data

    def send(self, data: bytes) -> None:
        """Send all of `data`, in frames of 4 KiB and on CHI@Edge no faster than its proxy takes them.

        Raises:
            errors.Unreachable: the connection is (or breaks) closed.
        """
        with self._sending:
            view = memoryview(data)
            for start in range(0, len(view), CHUNK):
                if self._discard:
                    raise errors.Unreachable(f"The terminal of {self._label} is closed: closed here.")
                chunk = view[start : start + CHUNK]
                began = time.monotonic()
                self._frame(bytes(chunk), ABNF.OPCODE_BINARY)
                if self._bytes_per_second and start + CHUNK < len(view):
                    rest = len(chunk) / self._bytes_per_second - (time.monotonic() - began)
                    if rest > 0:
                        time.sleep(rest)

    def resize(self, rows: int, cols: int) -> None:
        """Tell the terminal its size. On CHI@Edge this types a `stty` into the shell, which shows.

        Raises:
            errors.SiteError: the site refuses it.
        """
        size = (min(max(int(rows), 1), 9999), min(max(int(cols), 1), 9999))
        if self._ended or size == self._size:
            return
        if self._resizer is None:
            self.send(b" stty rows %d cols %d\n" % size)
        else:
            self._resizer(*size)
        self._size = size

    def close(self, *, leave_running: bool = False) -> None:
        """End the shell (a closed connection alone does not) and the connection. Never raises; up to 2 s.

        `leave_running`: only the connection. Attached to a docker site's main process that is always so.
        """
        with self._changed:
            self._discard = True
            self._chunks.clear()
            self._waiting = 0
            self._changed.notify_all()
        if self._line.acquire(timeout=_LAST_SECONDS):
            self._line.release()
            if self._ends_with_exit and not leave_running:
                self._say_goodbye()
            if not self._ended:
                self._end("closed here")
                self._ws.send_close()
        else:  # a frame is stuck that nobody takes: nothing more can be said
            self._end("closed here")
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._ws.abort()
        if self._reader.is_alive() and threading.current_thread() is not self._reader:
            self._reader.join(2.0)
        self._ws.shutdown()

    # -- inside ---------------------------------------------------------------------------------

    def start(self, seconds: float = _GREETING_SECONDS) -> None:
        """Begin to read and wait until the proxy shows that it took the token.

        Raises:
            Dropped: it hung up without a word.
        """
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._ws.ping(b"hello")
        self._reader.start()
        with self._changed:
            # a gateway that eats pings leaves us waiting; then the connection is taken as it is
            self._changed.wait_for(lambda: self._frames or self._ended, seconds)
            dropped = self._ended and not self._frames
        if dropped:
            self.close(leave_running=True)
            raise Dropped(
                f"The site closed the terminal of {self._label} as soon as it was opened.",
                hint="Somebody else may have opened one at the same moment, the container may be gone, "
                "or its image may have no shell. Try again.",
            )

    def _say_goodbye(self) -> None:
        # interrupt what runs, clear a half-typed line, exit; then end-of-file for what does not know `exit`
        for words, seconds in (
            (b"\x03", 0.05),
            (b"\x15exit\n", 0.4),
            (b"\x03\x04", 0.2),
            (b"\x15exit\n", 0.4),
        ):
            if self._ended:
                return
            try:
                self._frame(words, ABNF.OPCODE_BINARY)
            except errors.Unreachable:
                return
            with self._changed:
                self._changed.wait_for(lambda: self._ended, seconds)

    def _frame(self, data: bytes, opcode: int) -> None:
        if self._ended:
            raise errors.Unreachable(f"The terminal of {self._label} is closed: {self._reason}.")
        try:
            with self._line:
                self._ws.send(data, opcode)
        except (OSError, websocket.WebSocketException) as problem:
            self._end(why(problem), lost=True)
            with contextlib.suppress(OSError):
                self._ws.abort()
            raise errors.Unreachable(f"The terminal of {self._label} is closed: {self._reason}.") from None

    def _read(self) -> None:
        reason = "the connection broke off"
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self._ws.sock, selectors.EVENT_READ)
                while not self._ended:
                    self._make_room()
                    if self._readable(selector):
                        done = self._take()
                        if done:
                            reason = done
                            break
        except (OSError, ValueError, websocket.WebSocketException) as problem:
            # ValueError: the selector's, when another thread has closed the socket
            reason = why(problem)
        self._end(
            self._stripper.status or reason, lost=not self._stripper.status and reason != close_words(ENDED)
        )
        self._ws.shutdown()  # who does not call close() leaves no file open

    def _readable(self, selector: selectors.BaseSelector) -> bool:
        pending = getattr(self._ws.sock, "pending", None)
        if pending is not None and pending():
            return True
        now = time.monotonic()
        if now - self._pinged >= PING_SECONDS:
            self._ping(now)
            if now - self._heard > _SILENT_SECONDS:
                raise websocket.WebSocketTimeoutException("silent")
        return bool(selector.select(max(0.05, self._pinged + PING_SECONDS - now)))

    def _ping(self, now: float) -> None:
        self._pinged = now
        if not self._line.acquire(blocking=False):
            self._heard = now  # a ping could not leave, so no answer to it can be missed
            return
        try:
            self._ws.ping()
        finally:
            self._line.release()

    def _take(self) -> str:
        """Read one frame; returns the reason when it is the last one."""
        opcode, frame = self._ws.recv_data_frame(control_frame=True)
        self._heard = time.monotonic()
        data = b""
        if opcode in (ABNF.OPCODE_BINARY, ABNF.OPCODE_TEXT):
            raw = frame.data
            data = self._stripper.feed(raw.encode() if isinstance(raw, str) else bytes(raw))
        with self._changed:
            if opcode != ABNF.OPCODE_CLOSE:
                self._frames += 1
            if data and not self._discard:
                self._chunks.append(data)
                self._waiting += len(data)
            self._changed.notify_all()
            wake = self._wake if data else None
        if wake is not None:
            wake()
        return close_words(frame.data) if opcode == ABNF.OPCODE_CLOSE else ""

    def _make_room(self) -> None:
        """Where nobody receives, stop reading; go on with pings so that no gateway cuts us off."""
        with self._changed:
            if self._waiting < _HIGH:
                return
        while not self._ended:
            with self._changed:
                if self._changed.wait_for(
                    lambda: self._waiting <= _LOW or self._ended or self._discard, PING_SECONDS
                ):
                    break
            self._ping(time.monotonic())
        self._heard = time.monotonic()

    def _end(self, reason: str, *, lost: bool = False) -> None:
        with self._changed:
            if not self._ended:
                self._reason = reason
                self._lost = lost
                self._ended = True
            self._changed.notify_all()
            wake = self._wake
        if wake is not None:
            wake()
