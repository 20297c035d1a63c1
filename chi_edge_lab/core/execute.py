"""Running commands in a container to their end, or to the site's limit.

`execute` gives a command what the site gives it (about 5 s) and says so when it takes longer; `run_long` goes
on to the end. Both start the command with `detached`, so that no output is lost and any bytes can be printed.
`execute_raw` is Zun's own exec, for images without a shell.
"""

from __future__ import annotations

import codecs
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chi_edge_lab.core import detached, shell, validate, wait
from chi_edge_lab.core.progress import Cancel, Reporter
from chi_edge_lab.errors import (
    Cancelled,
    ContainerFailed,
    ContainerGone,
    ExecTimeout,
    InvalidState,
    NoShell,
    NoTemporaryPlace,
    NotFound,
    ServerError,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

OUTPUT_LIMIT = 16 << 20  # bytes kept of a command's output; what comes before them is dropped, and said
_FIRST_OUTPUT = 1.0  # seconds until output is shown, or cancel looked at, for the first time
POLL_FIRST, POLL_LONGEST = 0.1, 1.0  # seconds between readings of a command that still runs


@dataclass(frozen=True)
class ExecResult:
    """What a command printed (stdout and stderr together, bytes that are not UTF-8 replaced) and its exit
    code.

    `dropped` is the number of bytes of output before `output` that were not kept (0 in nearly all cases).
    """

    output: str
    exit_code: int
    raw: bytes = b""
    dropped: int = 0


class StillRunning(ExecTimeout):
    """The command has not ended in time and goes on in the container.

    `output` is what it has printed so far, `run` the handle with which `finish` goes on, or `run.kill()` ends
    it.
    """

    def __init__(self, message: str, *, hint: str, output: str, run: detached.Detached) -> None:
        super().__init__(message, hint=hint)
        self.output = output
        self.run = run


def execute(
    client: Client,
    uuid: str,
    command: str | Sequence[str],
    *,
    timeout: float | None = None,
    on_output: Callable[[str], None] | None = None,
    cancel: Cancel | None = None,
) -> ExecResult:
    """Run one command, as Zun does without a shell: `sh -c '...'` for pipes, `&&` and the like.

    `timeout` is in seconds; None is the site's own limit for exec, `math.inf` waits to the end. A command
    that has not ended by then goes on and StillRunning (an ExecTimeout) is raised. `on_output` gets the text
    as it comes. A true `cancel`, and Ctrl-C, kill the command. A program that is not there ends with 127 (126
    or -1 where the image has no shell). Raises ContainerGone when the container is deleted meanwhile.
    """
    began = time.monotonic()
    patience = _FIRST_OUTPUT if on_output is not None or cancel is not None else timeout
    run = begin(client, uuid, command, patience=patience)
    if isinstance(run, ExecResult):
        return run
    limit = client.dialect.exec_seconds if timeout is None else timeout
    left = max(0.0, limit - (time.monotonic() - began)) if math.isfinite(limit) else None
    return finish(run, timeout=left, on_output=on_output, cancel=cancel)


def begin(
    client: Client,
    uuid: str,
    command: str | Sequence[str],
    *,
    patience: float | None = None,
    raw: bool = True,
) -> detached.Detached | ExecResult:
    """Start one command and wait for its end for `patience` seconds at the most (as `detached.start`); the caller goes
    on with `finish`, or reads the handle himself. Where the image has no shell the site's own exec runs it to its end
    (unless `raw` is false: then NoShell or NoTemporaryPlace is raised).

    Raises as `execute`, but for StillRunning.
    """
    argv = validate.argv(command)
    try:
        with while_there(client, uuid):
            return detached.start(client, uuid, argv, patience=patience)
    except (NoShell, NoTemporaryPlace):
        if not raw:
            raise
        return execute_raw(client, uuid, command)


def run_long(
    client: Client,
    uuid: str,
    command: str | Sequence[str],
    *,
    timeout: float | None = None,
    on_output: Callable[[str], None] | None = None,
    cancel: Cancel | None = None,
) -> ExecResult:
    """As `execute`, but waits to the end of the command (or `timeout` seconds), however long the site's
    exec limit is.
    """
    return execute(
        client,
        uuid,
        command,
        timeout=math.inf if timeout is None else timeout,
        on_output=on_output,
        cancel=cancel,
    )


def finish(
    run: detached.Detached,
    *,
    timeout: float | None = None,
    on_output: Callable[[str], None] | None = None,
    cancel: Cancel | None = None,
) -> ExecResult:
    """Collect the output of a started command until it ends; errors as `execute`. `timeout` None waits to
    the end.
    """
    reporter = Reporter(None, cancel)
    output = _Output(on_output)
    began, pause = time.monotonic(), POLL_FIRST
    try:
        while True:
            with while_there(run.client, run.uuid):
                piece = run.read()
            output.add(piece)
            if run.finished:
                break
            if timeout is not None and time.monotonic() - began >= timeout and run.exit_code is None:
                raise StillRunning(
                    "The command has not ended in time and goes on in the container.",
                    hint="Use run() to wait for its end.", output=output.text, run=run,
                )  # fmt: skip
            pause = POLL_FIRST if piece else min(pause * 1.5, POLL_LONGEST)
            if run.taken >= run.size:
                reporter.sleep(pause, "")
            else:
                reporter.check("")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"Interrupted. {run.end()}") from None
    except Cancelled:
        raise Cancelled(f"Cancelled. {run.end()}") from None
    output.end()
    run.discard()
    assert run.exit_code is not None
    return ExecResult(output.text, run.exit_code, bytes(output.kept), output.dropped)


def execute_raw(client: Client, uuid: str, command: str | Sequence[str]) -> ExecResult:
    """Zun's own exec, one request. Raises ExecTimeout (with what was printed) when the site stops waiting,
    ContainerGone. Ctrl-C cannot end the command.
    """
    line = command if isinstance(command, str) else _join(command)
    try:
        with while_there(client, uuid):
            text, exit_code = shell.raw_exec(client, uuid, line)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "Interrupted. The command may go on in the container: nothing there can end it."
        ) from None
    if exit_code is None:
        error = shell.timed_out()
        error.output = text
        raise error
    return ExecResult(text, exit_code, text.encode("utf-8", "surrogateescape"))


@contextmanager
def while_there(client: Client, uuid: str) -> Iterator[None]:
    """Turn what an exec says of a container that is deleted under it into ContainerGone: the site cuts the
    exec off, which looks like its time limit.
    """
    try:
        yield
    except (ExecTimeout, NotFound, InvalidState, ContainerFailed, ServerError) as error:
        if not isinstance(error, NotFound) and not wait.is_going(client, uuid):
            raise
        raise ContainerGone(
            f"Container {uuid} was deleted while a command ran in it.", hint="Its reservation may have ended.",
            request_id=error.request_id,
        ) from error  # fmt: skip


class _Output:
    """The end of an output, bounded, handed on as text in whole characters."""

    def __init__(self, on_output: Callable[[str], None] | None) -> None:
        self._on_output = on_output
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.kept = bytearray()
        self.dropped = 0

    def add(self, piece: bytes) -> None:
        self.kept += piece
        if len(self.kept) > OUTPUT_LIMIT:
            excess = len(self.kept) - OUTPUT_LIMIT
            del self.kept[:excess]
            self.dropped += excess
        if self._on_output is not None and piece:
            text = self._decoder.decode(piece)
            if text:
                self._on_output(text)

    def end(self) -> None:
        rest = self._decoder.decode(b"", final=True)
        if rest and self._on_output is not None:
            self._on_output(rest)

    @property
    def text(self) -> str:
        return self.kept.decode("utf-8", "replace")


def _join(command: Sequence[str]) -> str:
    import shlex

    return shlex.join(validate.argv(command))
