"""Commands in running containers: collected (`run`) or with a terminal (`open_terminal`)."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from typing import Any, BinaryIO

from chi_edge_lab.local.engines.base import (
    CommandNotFound,
    EngineError,
    ExecResult,
    NoSuchContainer,
    NotRunning,
    Stream,
)
from chi_edge_lab.local.engines.docker.daemon import Daemon
from chi_edge_lab.local.engines.docker.frames import Demultiplexer
from chi_edge_lab.local.engines.docker.parse import as_text
from chi_edge_lab.local.engines.docker.terminal import DockerTerminal

KILLED = 137  # exit code of a command whose container went away under it
SECONDS_TO_START = 10.0
_PIECE = 256 * 1024
# in place of the output of a program that cannot be executed: Docker's words, then Podman's
_REFUSALS = (b"OCI runtime exec failed", b"Error: runc: ", b"Error: crun: ")
_LONGEST_REFUSAL = 16 * 1024  # bytes; it names the program


def run(
    daemon: Daemon,
    container: str,
    argv: list[str],
    *,
    timeout: float | None,
    stdin: bytes | None,
    hold_stdin: bool,
    stdout: BinaryIO | None,
    max_output: int,
) -> ExecResult:
    """`Engine.execute` in the container of this Docker id."""
    exec_id = _create(daemon, container, argv, stdin=stdin is not None or hold_stdin, tty=False)
    deadline = None if timeout is None else time.monotonic() + timeout
    sink = _Sink(stdout, max_output)
    sock = _start(daemon, exec_id, tty=False)
    with contextlib.closing(sock):
        ended = _pump(
            sock, stdin or b"", sink, hold_stdin=hold_stdin, has_stdin=stdin is not None, until=deadline
        )
        # asked before the connection closes, which ends the stdin of a command that waits for more; out of
        # time may also mean that only a child in the background holds the output open
        code = _exit_code(daemon, exec_id, wait=SECONDS_TO_START if ended else 0.0)
    if code in (126, 127) and sink.refusal:
        raise CommandNotFound(bytes(sink.refusal).decode("utf-8", "replace").strip())
    sink.close()
    return ExecResult(bytes(sink.output), code, truncated=sink.truncated)


def open_terminal(
    daemon: Daemon, container: str, argv: list[str], *, tty: bool, environment: dict[str, str] | None
) -> DockerTerminal:
    """`Engine.terminal` in the container of this Docker id; returns when the command runs."""
    exec_id = _create(daemon, container, argv, stdin=True, tty=tty, environment=environment)
    sock = _start(daemon, exec_id, tty=tty)

    def resize(rows: int, cols: int) -> None:
        with contextlib.suppress(EngineError), daemon.errors():  # it may have ended meanwhile
            daemon.client.exec_resize(exec_id, height=max(rows, 1), width=max(cols, 1))

    terminal = DockerTerminal(
        sock, tty=tty, resize=resize, exit_code=lambda: _exit_code(daemon, exec_id, wait=0.0)
    )
    try:
        # a resize before it runs would block the daemon for 10 s, and a missing program must be told now
        code = _wait_until_started(daemon, exec_id)
        if code in (126, 127):
            text = sock.recv(65536, socket.MSG_PEEK)
            begin = text if tty else b"".join(piece for _, piece in Demultiplexer().feed(text))
            if begin.startswith(_REFUSALS):
                raise CommandNotFound(begin.decode("utf-8", "replace").strip())
    except BaseException:
        terminal.close()
        raise
    return terminal


class _Sink:
    """Where the output of a command goes.

    What looks like the runtime's refusal is kept in `refusal` until the exit code tells whether it is one.
    """

    def __init__(self, stdout: BinaryIO | None, max_output: int) -> None:
        self._stdout = stdout
        self._room = max_output
        self.output = bytearray()
        self.refusal = bytearray()
        self.truncated = False
        self._begun = False
        self._demultiplexer = Demultiplexer()

    def take(self, data: bytes) -> None:
        for stream, piece in self._demultiplexer.feed(data):
            if self.refusal or (not self._begun and piece.startswith(_REFUSALS)):
                self.refusal += piece
                if len(self.refusal) > _LONGEST_REFUSAL:
                    self.close()
            else:
                self._put(stream, piece)
            self._begun = True

    def close(self) -> None:
        """It was no refusal: let it go where the rest goes."""
        kept, self.refusal = bytes(self.refusal), bytearray()
        if kept:
            self._put("stdout", kept)

    def _put(self, stream: Stream, piece: bytes) -> None:
        if self._stdout is not None and stream == "stdout":
            self._stdout.write(piece)
            return
        self.output += piece[: self._room]
        self.truncated = self.truncated or len(piece) > self._room
        self._room = max(0, self._room - len(piece))


def _pump(
    sock: socket.socket, stdin: bytes, sink: _Sink, *, hold_stdin: bool, has_stdin: bool, until: float | None
) -> bool:
    """Feed and drain the command. Returns False when the time was up before its output ended."""
    sock.setblocking(False)
    unsent = memoryview(stdin)
    if has_stdin and not unsent and not hold_stdin:
        _half_close(sock)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0))
        while True:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return False
            ready = selector.select(left)
            events = ready[0][1] if ready else 0
            if events & selectors.EVENT_WRITE:
                with contextlib.suppress(BlockingIOError):
                    try:
                        unsent = unsent[sock.send(unsent[:_PIECE]) :]
                    except (BrokenPipeError, ConnectionResetError):
                        unsent = unsent[:0]  # it has closed its stdin; what it printed still comes
                if not unsent:
                    if not hold_stdin:
                        _half_close(sock)
                    selector.modify(sock, selectors.EVENT_READ)
            if events & selectors.EVENT_READ:
                try:
                    data = sock.recv(_PIECE)
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    return True
                if not data:
                    return True
                sink.take(data)


def _half_close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may be gone already
        sock.shutdown(socket.SHUT_WR)


def _create(
    daemon: Daemon,
    container: str,
    argv: list[str],
    *,
    stdin: bool,
    tty: bool,
    environment: dict[str, str] | None = None,
) -> str:
    if not argv or not argv[0]:
        raise CommandNotFound("The command is empty.")
    command = [as_text(word, "command") for word in argv]
    with daemon.errors():
        created: dict[str, Any] = daemon.client.exec_create(
            container, command, stdin=stdin, tty=tty, environment=environment or None
        )
    return str(created["Id"])


def _start(daemon: Daemon, exec_id: str, *, tty: bool) -> socket.socket:
    try:
        return daemon.open("POST", f"/exec/{exec_id}/start", body={"Detach": False, "Tty": tty})
    except EngineError as error:
        if "OCI runtime" in str(error):  # Podman tells it here and not in the output
            raise CommandNotFound(str(error)) from error
        raise


def _inspect(daemon: Daemon, exec_id: str) -> dict[str, Any]:
    with daemon.errors():
        return dict(daemon.client.exec_inspect(exec_id))


def _exit_code(daemon: Daemon, exec_id: str, wait: float) -> int | None:
    """Exit code of an exec, None while it runs. The daemon may know it some time after the output's end."""
    deadline = time.monotonic() + wait
    while True:
        try:
            seen = _inspect(daemon, exec_id)
        except (NoSuchContainer, NotRunning):
            return KILLED
        except EngineError as error:
            if "No such exec instance" in str(error):  # it went with its container
                return KILLED
            raise
        if not seen["Running"] and seen["ExitCode"] is not None:
            return int(seen["ExitCode"])
        if time.monotonic() >= deadline:
            return None
        time.sleep(0.005)


def _wait_until_started(daemon: Daemon, exec_id: str) -> int | None:
    """Wait until the exec's program runs or has ended; its exit code in the latter case."""
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        seen = _inspect(daemon, exec_id)
        if seen["Running"] and seen.get("Pid"):
            return None
        if not seen["Running"] and seen["ExitCode"] is not None:
            return int(seen["ExitCode"])
        time.sleep(0.005)
    raise EngineError(f"The command did not start within {SECONDS_TO_START:.0f} s.")
