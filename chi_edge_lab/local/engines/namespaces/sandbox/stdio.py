"""The standard streams of pid 1: to the log, and to and from all who are attached."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import termios
import time

from .logfile import Clock, LogFile, Splitter
from .loop import READ, WRITE, Loop

_CHUNK = 65536
_HIGH = (
    256 * 1024
)  # bytes waiting for one client: the container's output is held back, as a slow terminal does
_STALL = 10.0  # seconds: a client that takes nothing for so long while others wait is let go
_STDIN_HIGH = 64 * 1024
MAX_ATTACHED = 32


class _Client:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.waiting = bytearray()
        self.moved = time.monotonic()  # when it last took something


class Stdio:
    """Pumps. `outputs` are (descriptor, "stdout" | "stderr"); `stdin` a descriptor or None."""

    def __init__(
        self, loop: Loop, log: LogFile, outputs: list[tuple[int, str]], stdin: int | None, *, tty: bool
    ) -> None:
        self._loop = loop
        self._log = log
        self._clock = Clock()
        self._tty = tty
        self._sources = {fd: Splitter(stream) for fd, stream in outputs}
        self._stdin = stdin
        self._typed = bytearray()
        self._clients: list[_Client] = []
        self._held = False
        for fd in self._sources:
            os.set_blocking(fd, False)
        if stdin is not None:
            os.set_blocking(stdin, False)
        self._watch_sources()

    @property
    def is_open(self) -> bool:
        """Whether pid 1, or who has its streams, may still print."""
        return bool(self._sources)

    @property
    def is_flushed(self) -> bool:
        return not any(client.waiting for client in self._clients)

    @property
    def is_held(self) -> bool:
        return self._held

    @property
    def attached(self) -> int:
        return len(self._clients)

    # -- output

    def _watch_sources(self) -> None:
        for fd in self._sources:
            self._loop.watch(fd, 0 if self._held else READ, lambda _events, fd=fd: self._read(fd))  # type: ignore[misc]

    def _read(self, fd: int) -> None:
        try:
            chunk = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:  # the end of a pty
                raise
            chunk = b""
        splitter = self._sources[fd]
        if not chunk:
            self._log.append(splitter.end(self._clock))
            self._loop.forget(fd)
            del self._sources[fd]
            if not self._tty:
                os.close(fd)  # the pty is still wanted for its size
            return
        self._log.append(splitter.feed(chunk, self._clock))
        for client in list(self._clients):
            client.waiting += chunk
            self._flush(client)
        self._hold()

    def _hold(self) -> None:
        held = any(len(client.waiting) > _HIGH for client in self._clients)
        if held != self._held:
            self._held = held
            self._watch_sources()

    def release(self) -> None:
        """Read on whatever the clients do: pid 1 has ended and what is left is bounded."""
        self._clients, dropped = (
            [client for client in self._clients if len(client.waiting) <= _HIGH],
            self._clients,
        )
        for client in dropped:
            if client not in self._clients:
                self._close(client)
        self._hold()

    def drop_stalled(self) -> None:
        """Let go of clients that hold back the container's output and take nothing.

        To be called now and then.
        """
        for client in list(self._clients):
            if len(client.waiting) > _HIGH and time.monotonic() - client.moved > _STALL:
                self._drop(client)

    # -- clients

    def attach(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        client = _Client(connection)
        self._clients.append(client)
        self._watch_client(client)

    def _watch_client(self, client: _Client) -> None:
        events = READ if len(self._typed) < _STDIN_HIGH else 0
        if client.waiting:
            events |= WRITE
        self._loop.watch(client.connection.fileno(), events, lambda events: self._serve(client, events))

    def _serve(self, client: _Client, events: int) -> None:
        if events & WRITE:
            self._flush(client)
            self._hold()
        if events & READ and client in self._clients:
            try:
                typed = client.connection.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                typed = b""
            if typed:
                self._type(typed)
            else:
                self._drop(client)  # pid 1's input stays open for the next

    def _flush(self, client: _Client) -> None:
        try:
            if client.waiting:
                taken = client.connection.send(client.waiting)
                del client.waiting[:taken]
                client.moved = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        self._watch_client(client)

    def _drop(self, client: _Client) -> None:
        self._clients.remove(client)
        self._close(client)
        self._hold()

    def _close(self, client: _Client) -> None:
        self._loop.forget(client.connection.fileno())
        client.connection.close()

    # -- input

    def _type(self, data: bytes) -> None:
        if self._stdin is None:
            return
        self._typed += data
        self._write_stdin()

    def _write_stdin(self, _events: int = 0) -> None:
        if self._stdin is None:
            return
        was_full = len(self._typed) >= _STDIN_HIGH
        try:
            if self._typed:
                taken = os.write(self._stdin, self._typed)
                del self._typed[:taken]
        except BlockingIOError:
            pass
        except OSError:
            self.close_stdin()
            return
        self._loop.watch(self._stdin, WRITE if self._typed else 0, self._write_stdin)
        if was_full != (len(self._typed) >= _STDIN_HIGH):
            for client in self._clients:
                self._watch_client(client)

    def close_stdin(self) -> None:
        """pid 1 reads the end of its input, where that is a pipe."""
        if self._stdin is not None:
            self._loop.forget(self._stdin)
            os.close(self._stdin)
            self._stdin = None
            self._typed.clear()
            for client in self._clients:
                self._watch_client(client)

    def resize(self, master: int, rows: int, cols: int) -> None:
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def close(self) -> None:
        """Nothing comes any more."""
        for splitter in self._sources.values():
            self._log.append(splitter.end(self._clock))
        for client in list(self._clients):
            self._close(client)
        self._clients.clear()
        self._log.close()
