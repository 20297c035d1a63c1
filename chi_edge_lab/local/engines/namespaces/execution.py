"""Commands in a running container, with what they print collected."""

from __future__ import annotations

import os
import select
import socket
import time
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..base import ExecResult, NotRunning
from . import client
from .home import Home
from .sandbox import protocol

_CHUNK = 65536
_KILLED = 128 + 9
_LAST_READS = 32  # a pipe holds 64 KiB, at most 1 MiB by default; a child left behind may print for ever


@dataclass
class _Pipes:
    """Our ends. Closed at the end whatever happens."""

    output: int
    split: int | None = None  # standard output where it goes elsewhere
    stdin: int | None = None
    fds: set[int] = field(default_factory=set)

    def close(self, fd: int) -> None:
        if fd in self.fds:
            self.fds.remove(fd)
            os.close(fd)

    def close_all(self) -> None:
        for fd in list(self.fds):
            self.close(fd)


def execute(
    home: Home,
    message: dict[str, Any],
    *,
    timeout: float | None,
    stdin: bytes | None,
    hold_stdin: bool,
    stdout: BinaryIO | None,
    max_output: int,
) -> ExecResult:
    """See Engine.execute. `message` has argv, environment and workdir.

    Raises CommandNotFound, NotRunning, EngineError.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    connection = client.connect(home)
    pipes, theirs = _open_pipes(stdin is not None or hold_stdin, stdout is not None)
    try:
        try:
            drains = [pipes.output] if pipes.split is None else [pipes.output, pipes.split]
            client.send(connection, {"op": "exec", "tty": False, **message}, [*theirs, *drains])
        finally:
            protocol.close_all(sorted(set(theirs)))
        return _Collector(connection, pipes, stdin or b"", hold_stdin, stdout, max_output).run(deadline)
    finally:
        # The connection goes first: from then on the shim keeps reading what the command prints, if it still
        # runs.
        connection.close()
        pipes.close_all()


def _open_pipes(want_stdin: bool, split: bool) -> tuple[_Pipes, list[int]]:
    output, write = os.pipe()
    pipes = _Pipes(output, fds={output})
    streams = [write, write]
    if split:
        pipes.split, streams[0] = os.pipe()
        pipes.fds.add(pipes.split)
    if want_stdin:
        read, pipes.stdin = os.pipe()
        pipes.fds.add(pipes.stdin)
    else:
        read = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    for fd in pipes.fds:
        os.set_blocking(fd, False)
    return pipes, [read, *streams]


class _Collector:
    def __init__(
        self,
        connection: socket.socket,
        pipes: _Pipes,
        stdin: bytes,
        hold_stdin: bool,
        stdout: BinaryIO | None,
        max_output: int,
    ) -> None:
        self._connection = connection
        self._pipes = pipes
        self._stdin = memoryview(stdin)
        self._hold_stdin = hold_stdin
        self._stdout = stdout
        self._room = max_output
        self._parts: list[bytes] = []
        self._truncated = False
        self._exit_code: int | None = None
        self._started = False
        self._ended = False

    def run(self, deadline: float | None) -> ExecResult:
        poller = select.poll()
        poller.register(self._connection, select.POLLIN)
        for fd in (self._pipes.output, self._pipes.split):
            if fd is not None:
                poller.register(fd, select.POLLIN)
        if self._pipes.stdin is not None:
            if self._stdin or self._hold_stdin:
                poller.register(self._pipes.stdin, select.POLLOUT if self._stdin else 0)
            else:
                self._pipes.close(self._pipes.stdin)
        while not self._ended:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            events = poller.poll(wait)
            if not events and deadline is not None and time.monotonic() >= deadline:
                return ExecResult(b"".join(self._parts), None, self._truncated)
            for fd, _ in events:
                self._handle(fd, poller)
            if deadline is not None and time.monotonic() >= deadline and not self._ended:
                return ExecResult(b"".join(self._parts), None, self._truncated)
        # All that the command itself printed is in the pipes by now; children that it left behind are not
        # waited for.
        for fd in (self._pipes.output, self._pipes.split):
            for _ in range(_LAST_READS):
                if fd is None or fd not in self._pipes.fds or not self._read(fd):
                    break
        return ExecResult(b"".join(self._parts), self._exit_code, self._truncated)

    def _handle(self, fd: int, poller: select.poll) -> None:
        if fd == self._connection.fileno():
            self._hear()
        elif fd == self._pipes.stdin:
            self._feed(poller)
        elif fd in self._pipes.fds and self._read(fd) is None:
            poller.unregister(fd)
            self._pipes.close(fd)

    def _hear(self) -> None:
        try:
            message, fds = client.receive(self._connection)
        except NotRunning:
            if not self._started:
                raise
            # The container was killed under the command, and everything in it.
            self._exit_code, self._ended = _KILLED, True
            return
        protocol.close_all(fds)
        if message["event"] == "started":
            self._started = True
        elif message["event"] == "exited":
            self._exit_code, self._ended = int(message["exit_code"]), True

    def _feed(self, poller: select.poll) -> None:
        fd = self._pipes.stdin
        if fd is None or fd not in self._pipes.fds:
            return
        try:
            if self._stdin:
                self._stdin = self._stdin[os.write(fd, self._stdin[:_CHUNK]) :]
                if self._stdin:
                    return
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to read (on)
            self._stdin = memoryview(b"")
            poller.unregister(fd)
            self._pipes.close(fd)
            return
        poller.unregister(fd)
        if not self._hold_stdin:
            self._pipes.close(fd)

    def _read(self, fd: int) -> bool | None:
        """True when there was something, False when there is nothing now, None at the end."""
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        if not data:
            return None
        if fd == self._pipes.split and self._stdout is not None:
            self._stdout.write(data)
            return True
        if len(data) > self._room:
            self._truncated = True
            data = data[: self._room]
        self._room -= len(data)
        if data:
            self._parts.append(data)
        return True
