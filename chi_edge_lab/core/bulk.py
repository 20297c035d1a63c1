"""Output of a script that may be large or take long: first by one exec, else through a file in the
container.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from chi_edge_lab.core import detached, execute, shell
from chi_edge_lab.core.progress import Cancel, Reporter
from chi_edge_lab.errors import Cancelled, ExecTimeout, NoTemporaryPlace

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

DIRECT = 2 << 20  # bytes of output that are taken from one exec


def pieces(
    client: Client, uuid: str, script: str, *arguments: str | bytes, cancel: Cancel | None = None
) -> Iterator[bytes | int]:
    """Yield the output of `script` in pieces and at last its exit code (an int).

    Nothing is yielded twice: the first way is given up before anything was yielded. Memory is bounded by a
    piece.
    """
    capped = f"{{ (\n{script}\n);printf '\\n%s' $?;}}|head -c {DIRECT + 1}"
    try:
        output = shell.run(client, uuid, capped, *arguments).output
    except ExecTimeout:
        output = b""
    else:
        if len(output) <= DIRECT:
            data, _, code = output.rpartition(b"\n")
            yield data
            yield int(code)
            return
    del output
    yield from _spooled(client, uuid, script, arguments, cancel)


def _spooled(
    client: Client, uuid: str, script: str, arguments: tuple[str | bytes, ...], cancel: Cancel | None
) -> Iterator[bytes | int]:
    reporter = Reporter(None, cancel)
    run = detached.start(client, uuid, ["sh", "-c", script, "sh", *arguments])
    try:
        while True:
            piece = run.read()
            if piece:
                yield piece
            if run.finished:
                break
            reporter.sleep(0.0 if piece else 0.2, "The listing was given up.")
    except (Cancelled, KeyboardInterrupt, GeneratorExit):
        run.kill()
        raise
    finally:
        run.discard()
    assert run.exit_code is not None
    yield run.exit_code


def output(
    client: Client, uuid: str, script: str, *arguments: str | bytes, limit: int, cancel: Cancel | None = None
) -> shell.Reply:
    """The whole output and exit code of `script`; raises ValueError when it is more than `limit` bytes."""
    collected = bytearray()
    for piece in pieces(client, uuid, script, *arguments, cancel=cancel):
        if isinstance(piece, int):
            return shell.Reply(bytes(collected), piece)
        collected += piece
        if len(collected) > limit:
            raise ValueError(f"more than {limit} bytes of output")
    raise AssertionError("pieces ends with the exit code")


def run(
    client: Client, uuid: str, script: str, *arguments: str | bytes, cancel: Cancel | None = None
) -> shell.Reply:
    """Run a script once, to its end, however long it takes: for what must not be run again. Little output.

    Where no file can be written in the container the site's exec limit holds.
    """
    try:
        started = detached.start(client, uuid, ["sh", "-c", "umask 022;" + script, "sh", *arguments])
    except NoTemporaryPlace:
        return shell.run(client, uuid, script, *arguments)
    result = execute.finish(started, cancel=cancel)
    return shell.Reply(result.raw, result.exit_code)
