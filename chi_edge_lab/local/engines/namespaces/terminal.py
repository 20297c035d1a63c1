"""Interactive processes: a command with a pty, or the streams of pid 1."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import termios
import threading
from collections.abc import Callable
from typing import Any

from ..base import NotRunning, Terminal
from . import client
from .home import Home
from .sandbox import protocol

_MAX_SIZE = 65535  # rows or columns: what the kernel's field holds


class _Base(Terminal):
    """Reads and writes one non-blocking descriptor."""

    def __init__(self, fd: int, connection: socket.socket | None) -> None:
        self._fd = fd
        self._connection = connection
        self._exit_code: int | None = None
        self._lock = threading.Lock()
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        return self._fd

    def read(self, size: int = 65536) -> bytes:
        if self._fd < 0:
            return b""
        try:
            return os.read(self._fd, size)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno in {errno.EIO, errno.ECONNRESET}:  # so ends a pty
                return b""
            raise

    def write(self, data: bytes) -> int:
        if self._fd < 0:
            raise BrokenPipeError(errno.EPIPE, "the terminal is closed")
        return os.write(self._fd, data)

    def close(self) -> None:
        with self._lock:
            fd, self._fd = self._fd, -1
            # The connection first: the shim keeps the command's output flowing from then on.
            if self._connection is not None:
                self._hear()
                self._connection.close()
                self._connection = None
            if fd >= 0:
                os.close(fd)

    @property
    def exit_code(self) -> int | None:
        with self._lock:
            self._hear()
            return self._exit_code

    def _hear(self) -> None:
        """Take what the shim has said about the end of the process, without waiting."""
        if self._connection is None or self._exit_code is not None:
            return
        self._connection.setblocking(False)
        try:
            message, fds = protocol.receive(self._connection)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            message, fds = None, []
        protocol.close_all(fds)
        if message is None:
            self._exit_code = 128 + 9  # the container ended, and everything in it
        elif message.get("event") == "exited":
            self._exit_code = int(message["exit_code"])


class PtyTerminal(_Base):
    """The master of a pty whose other side is the command's controlling terminal."""

    def resize(self, rows: int, cols: int) -> None:
        if self._fd >= 0:
            fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", _clip(rows), _clip(cols), 0, 0))


class StreamTerminal(_Base):
    """A socket that is all three standard streams of the command."""

    def resize(self, rows: int, cols: int) -> None:
        """There is no tty."""


class AttachedTerminal(_Base):
    """The streams of pid 1, through its shim."""

    def __init__(
        self, fd: int, resize: Callable[[int, int], None], exit_code: Callable[[], int | None]
    ) -> None:
        super().__init__(fd, None)
        self._resize = resize
        self._look = exit_code

    def resize(self, rows: int, cols: int) -> None:
        try:
            self._resize(rows, cols)
        except NotRunning:
            return  # the same as for a pty whose process has ended

    @property
    def exit_code(self) -> int | None:
        return self._look()


def _clip(value: int) -> int:
    return max(0, min(value, _MAX_SIZE))


def open_terminal(home: Home, message: dict[str, Any], *, tty: bool) -> Terminal:
    """Start a command with a terminal. Raises CommandNotFound, NotRunning, EngineError."""
    connection = client.connect(home)
    fds: list[int] = []
    try:
        if tty:
            client.send(connection, {"op": "exec", "tty": True, **message})
        else:
            ours, theirs = socket.socketpair()
            fds.append(ours.detach())
            with theirs:
                client.send(connection, {"op": "exec", "tty": False, **message}, [theirs.fileno()] * 3 + fds)
        while True:
            answer, received = client.receive(connection)
            fds += received
            if answer["event"] == "started":
                break
        return PtyTerminal(fds[0], connection) if tty else StreamTerminal(fds[0], connection)
    except BaseException:
        connection.close()
        protocol.close_all(fds)
        raise


def attach(home: Home, run: str) -> Terminal:
    """Join those who share the streams of pid 1. Raises NotRunning, EngineError."""
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            client.ask(home, {"op": "attach"}, [theirs.fileno()])
        except BaseException:
            ours.close()
            raise

    def exit_code() -> int | None:
        state = home.run()
        ended = home.ended(state) if state is not None and state["run"] == run else None
        return None if ended is None else int(ended["exit_code"])

    return AttachedTerminal(ours.detach(), lambda rows, cols: resize(home, rows, cols), exit_code)


def resize(home: Home, rows: int, cols: int) -> None:
    """Set the size of pid 1's tty. Raises NotRunning, EngineError."""
    client.ask(home, {"op": "resize", "rows": _clip(rows), "cols": _clip(cols)})
