"""A command that goes on in the container when the exec that started it has ended.

Zun stops waiting for an exec after 5 s and then forgets its output. So the command's output and exit code go
to files in a private directory of the container, and are read from there in bounded pieces. A command that
ends quickly is started, waited for, read and cleaned up by a single exec.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chi_edge_lab.core import shell
from chi_edge_lab.errors import ContainerFailed, EdgeLabError, FileError, NoTemporaryPlace

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

PIECE = (
    1 << 20
)  # bytes of output per reading: 1.4 MB of JSON, well inside the site's 5 s even over a slow uplink
_BLOCK = 4096
_NO_PLACE = 91

# $1: the private directory, $2: the process that the starter waits for, then the command. The subshell keeps
# `exit` and other builtins from ending the job itself. The exit code is there once the file is not empty.
_JOB = (
    'trap "kill \\$c;wait \\$c;echo 143 >\\"\\$t/code\\";exit" TERM;t=$1 s=$2;shift 2;'
    '("$@") >"$t/out" 2>&1 </dev/null & c=$!;'
    'wait $c;echo $? >"$t/code";[ -f "$t/late" ]||kill $s'
)
# $1: name of the directory, $2: seconds to wait, $3: blocks to read, then the command. It waits for a `sleep`
# that the job ends, as POSIX sh has no wait with a time limit.
_START = f"""t=
{shell.FIND_PLACE}mkdir -m 700 "$d/$1" 2>/dev/null&&t=$d/$1&&break;done
[ "$t" ]||exit {_NO_PLACE}
case $t in /*);;*)t=$(pwd)/$t;;esac
w=$2 n=$3 g=;shift 3;command -v setsid >/dev/null&&g=setsid
>"$t/out";sleep $w >/dev/null 2>&1 </dev/null&
s=$!;$g sh -c '{_JOB}' sh "$t" $s "$@" >/dev/null 2>&1 </dev/null&
echo "${{g:+-}}$!" >"$t/pid";wait $s 2>/dev/null
c=-;if [ -s "$t/code" ];then read -r c <"$t/code";else >"$t/late";fi
z=$(($(wc -c <"$t/out")));echo $c $z "$t";dd if="$t/out" bs={_BLOCK} count=$n 2>/dev/null
[ $c != - ]&&[ $z -le $((n*{_BLOCK})) ]&&rm -rf "$t"
exit 0"""
# $1: directory, $2: block to begin at, $3: blocks
_READ = f"""cd "$1"||exit 92
read -r p <pid;c=-;kill -0 "$p" 2>/dev/null||c=x;[ -s code ]&&read -r c <code;echo $c $(wc -c <out) .
dd if=out bs={_BLOCK} skip=$2 count=$3 2>/dev/null;exit 0"""
_KILL = """cd "$1" 2>/dev/null||exit 0
[ -s code ]&&exit 0
read -r p <pid;kill -TERM "$p" 2>/dev/null;i=0
while kill -0 "$p" 2>/dev/null&&[ $i -lt 20 ]&&[ ! -s code ];do
i=$((i+1));sleep 0.1 2>/dev/null||sleep 1;done
kill -KILL "$p" 2>/dev/null;exit 0"""

# Where the starter was given up before it said where the command is: it may just be making its directory ($1)
_ABANDON = f"""n=0;while [ $n -lt 10 ];do {shell.FIND_PLACE}[ -s "$d/$1/pid" ]&&break 2;done
n=$((n+1));sleep 0.1 2>/dev/null||sleep 1;done
[ -d "$d/$1" ]||exit 0
t=$d/$1;(set -- "$t"
{_KILL}
)
rm -rf -- "$t";exit 0"""
ENDED = "The command was ended in the container and its files were removed."
_NOT_ENDED = "The command may go on in the container: it could not be ended"


@dataclass
class Detached:
    """A command in a container: its output so far is read with `read`, `exit_code` is None while it runs."""

    client: Client
    uuid: str
    place: str
    exit_code: int | None = None
    size: int = 0  # bytes of output there are, as of the last reading
    taken: int = 0  # bytes of output read
    kept: bool = True  # its directory is still in the container
    _first: bytes = field(default=b"", repr=False)

    @property
    def finished(self) -> bool:
        """The command has ended and all of its output was read."""
        return self.exit_code is not None and self.taken >= self.size and not self._first

    def read(self, limit: int = PIECE) -> bytes:
        """The next piece of output, at most about `limit` bytes; b"" where there is nothing new.

        Raises ContainerFailed when the output is no longer there (the container was restarted or its files
        were cleaned).
        """
        if self._first:
            piece, self._first = self._first, b""
            return piece
        if self.finished:
            return b""
        block, offset = divmod(self.taken, _BLOCK)
        reply = shell.run(self.client, self.uuid, _READ, self.place, str(block), str(max(1, limit // _BLOCK)))
        if reply.code != 0:
            raise self._lost()
        code, size, _, data = _head(reply.output)
        if code == "x":
            raise self._lost()
        self.exit_code, self.size = (None if code == "-" else int(code)), size
        piece = data[offset:]
        self.taken += len(piece)
        return piece

    def kill(self) -> None:
        """End the command and everything it started in its session: SIGTERM, after 2 s SIGKILL."""
        if self.exit_code is None:
            shell.run(self.client, self.uuid, _KILL, self.place)

    def discard(self) -> None:
        """Remove the command's files from the container."""
        if self.kept:
            self.kept = False
            shell.run(self.client, self.uuid, 'rm -rf -- "$1"', self.place)

    def end(self) -> str:
        """`kill` and `discard` for whoever gives it up; a sentence of how that went. Raises nothing, as
        there is an error on its way already.
        """
        return _ended(self.kill, self.discard)

    def _lost(self) -> ContainerFailed:
        return ContainerFailed(
            f"The command was lost in container {self.uuid}: its process or its files are gone.",
            hint="The container was probably restarted, or the command was killed from outside.",
        )


def start(
    client: Client, uuid: str, argv: Sequence[str | bytes], *, patience: float | None = None
) -> Detached:
    """Start a command and wait for its end for at most `patience` seconds (default: what the site's exec
    limit allows).

    Raises NoShell, FileError (no directory can be written), InvalidState and the client's errors. Ctrl-C
    ends the command.
    """
    allowed = max(
        1.0, client.dialect.exec_seconds - 2.0
    )  # the rest is for starting, reading and the way back
    wait = max(1, round(allowed if patience is None else min(patience, allowed)))
    name = f".chi-edge-lab-run-{secrets.token_hex(6)}"
    try:
        reply = shell.run(client, uuid, _START, name, str(wait), str(PIECE // _BLOCK), *argv)
    except KeyboardInterrupt:
        said = _ended(lambda: shell.run(client, uuid, _ABANDON, name))
        raise KeyboardInterrupt(f"Interrupted. {said}") from None
    if reply.code == _NO_PLACE:
        raise NoTemporaryPlace(shell.NO_PLACE)
    if reply.code != 0:
        raise FileError(f"The command could not be started in the container: {reply.text or reply.code}.")
    code, size, place, data = _head(reply.output)
    run = Detached(client, uuid, place, None if code == "-" else int(code), size, len(data))
    run._first = data
    run.kept = code == "-" or size > PIECE
    return run


def _ended(*steps: Callable[[], object]) -> str:
    try:
        for step in steps:
            step()
    except KeyboardInterrupt:
        return f"{_NOT_ENDED}, as this was interrupted again."
    except EdgeLabError as error:
        return f"{_NOT_ENDED} ({error.message.rstrip('.')})."
    return ENDED


def _head(output: bytes) -> tuple[str, int, str, bytes]:
    """Split `<code> <size> <place>\\n<data>`."""
    line, _, data = output.partition(b"\n")
    code, size, place = line.decode("utf-8", "surrogateescape").split(" ", 2)
    return code, int(size or 0), place, data
