"""A terminal over a connection that the daemon handed over."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from chi_edge_lab.local.engines.base import Terminal
from chi_edge_lab.local.engines.docker.frames import Demultiplexer


class DockerTerminal(Terminal):
    """An exec's terminal, or pid 1's stdio. Without a tty its two output streams are read as one."""

    def __init__(
        self,
        sock: socket.socket,
        *,
        tty: bool,
        resize: Callable[[int, int], None],
        exit_code: Callable[[], int | None],
    ) -> None:
        """`resize` gets rows and columns; `exit_code` asks the daemon."""
        sock.setblocking(False)
        self._sock = sock
        self._demultiplexer = None if tty else Demultiplexer()
        self._resize = resize
        self._ask_exit_code = exit_code
        self._exit_code: int | None = None

    def fileno(self) -> int:
        return self._sock.fileno()

    def read(self, size: int = 65536) -> bytes:
        while True:
            try:
                data = self._sock.recv(size)
            except ConnectionResetError:
                return b""  # the daemon dropped it: an end like any other
            if not data or self._demultiplexer is None:
                return data
            # frames are taken off as they come, so nothing is kept back that `fileno()` would not show
            payload = b"".join(piece for _, piece in self._demultiplexer.feed(data))
            if payload:
                return payload

    def write(self, data: bytes) -> int:
        return self._sock.send(data)

    def resize(self, rows: int, cols: int) -> None:
        if self._demultiplexer is None:
            self._resize(rows, cols)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    @property
    def exit_code(self) -> int | None:
        if self._exit_code is None:
            self._exit_code = self._ask_exit_code()
        return self._exit_code
