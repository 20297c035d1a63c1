"""The engine's end of the talk with shims: starting one, asking it."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base import CommandNotFound, EngineError, NotRunning, PathNotFound
from .home import Home
from .sandbox import protocol

_SANDBOX = Path(__file__).with_name("sandbox")
_START_SECONDS = 30.0
_ANSWER_SECONDS = 30.0


def _command(*arguments: str) -> list[str]:
    # UTF-8 whatever the locale: names and arguments are bytes in disguise on both sides of the socket.
    return [sys.executable, "-I", "-S", "-X", "utf8", str(_SANDBOX), *arguments]


def _environment() -> dict[str, str]:
    # Nothing of ours but what the interpreter itself may need to start.
    return {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ}


def start_shim(home: Home) -> dict[str, Any]:
    """Start the container that `run.json` describes; what its shim reports.

    Raises EngineError, CommandNotFound.
    """
    read, write = os.pipe()
    try:
        with (home.path / "shim.err").open("ab") as errors:
            process = subprocess.Popen(
                _command(str(home.path), str(write)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd="/",
                env=_environment(),
                pass_fds=[write],
                start_new_session=True,
            )
    except OSError as error:
        os.close(read)
        raise EngineError(f"Cannot start {sys.executable}: {error}.") from error
    finally:
        os.close(write)
    try:
        text = _read_all(read, time.monotonic() + _START_SECONDS)
    finally:
        os.close(read)
        process.wait()
    if not text:
        tail = (home.path / "shim.err").read_bytes()[-500:].decode("utf-8", "replace").strip()
        raise EngineError(f"The supervisor of the container ended at once: {tail or 'no message'}")
    report: dict[str, Any] = json.loads(text)
    if "error" in report:
        if report["kind"] == "command":
            raise CommandNotFound(f"failed to create the container: {report['error']}: unknown")
        raise EngineError(f"The container could not be made: {report['error']}.")
    return report


def _read_all(fd: int, deadline: float) -> bytes:
    parts: list[bytes] = []
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            raise EngineError("The container did not start in time.")
        part = os.read(fd, 65536)
        if not part:
            return b"".join(parts)
        parts.append(part)


@contextmanager
def connection(home: Home) -> Iterator[socket.socket]:
    """A connection to the shim, closed afterwards. Raises NotRunning."""
    made = connect(home)
    try:
        yield made
    finally:
        made.close()


def connect(home: Home) -> socket.socket:
    """A connection to the shim, the caller's to close. Raises NotRunning, EngineError."""
    made = protocol.make_socket()
    try:
        directory = os.open(home.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            # A socket's address holds 108 bytes; the path may be longer.
            made.connect(f"/proc/self/fd/{directory}/{protocol.SOCKET_NAME}")
        finally:
            os.close(directory)
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError) as error:
        made.close()
        raise NotRunning(f"The container {home.id} is not running.") from error
    except OSError as error:
        made.close()
        raise EngineError(f"Cannot reach the container {home.id}: {error}.") from error
    return made


def receive(made: socket.socket, timeout: float | None = _ANSWER_SECONDS) -> tuple[dict[str, Any], list[int]]:
    """The next answer; failures become exceptions.

    Raises NotRunning when the connection ends, EngineError.
    """
    made.settimeout(timeout)
    try:
        message, fds = protocol.receive(made)
    except TimeoutError as error:
        raise EngineError("The supervisor of the container does not answer.") from error
    except (OSError, ValueError) as error:
        raise NotRunning(f"The container ended: {error}.") from error
    if message is None:
        raise NotRunning("The container ended.")
    if message["event"] == "failed":
        raise failure(message)
    return message, fds


def failure(message: dict[str, Any]) -> EngineError:
    """The exception for a shim's "failed" message."""
    text = str(message["message"])
    kind = message["kind"]
    if kind == "command":
        return CommandNotFound(
            f"OCI runtime exec failed: exec failed: unable to start container process: {text}: unknown"
        )
    if kind == "ended":
        return NotRunning(f"The container is not running: {text}.")
    sentence = text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")
    return PathNotFound(sentence) if kind == "path" else EngineError(sentence)


def send(made: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
    """Raises NotRunning, EngineError."""
    try:
        protocol.send(made, message, fds)
    except protocol.TooLongError as error:
        raise EngineError("The command with its environment is too long.") from error
    except (BrokenPipeError, ConnectionResetError) as error:
        raise NotRunning("The container ended.") from error


def ask(home: Home, message: dict[str, Any], fds: Sequence[int] = ()) -> tuple[dict[str, Any], list[int]]:
    """One question, one answer. Raises NotRunning, EngineError."""
    with connection(home) as made:
        send(made, message, fds)
        return receive(made)


@contextmanager
def stopped_sandbox() -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """A helper process that does one archive operation in the sandbox of a container that does not run."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(
                _command("--files", str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env=_environment(),
                pass_fds=[theirs.fileno()],
            )
        try:
            yield ours, process
        finally:
            ours.close()
            if process.poll() is None:
                try:
                    process.wait(1.0)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.communicate()
