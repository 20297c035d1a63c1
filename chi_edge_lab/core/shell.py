"""Small POSIX shell scripts in a container, with exact arguments and exact output.

Zun's exec takes one string, splits it with shlex and gives back text: on upstream Zun a reply that is not
UTF-8 hangs for 60 s and ends in a 500, on CHI@Edge it is a 500. So what a script prints travels as base64 (or
hex, where an image has no base64) between two marks, and arguments travel as printable ASCII. Scripts keep to
what busybox has.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chi_edge_lab.errors import (
    BadInput,
    Conflict,
    ExecTimeout,
    FileError,
    InvalidState,
    NoShell,
    NoTemporaryPlace,
    ServerError,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

# Linux takes 128 KiB for one argument; what is too long for a URL the client sends in the request's body
COMMAND_LIMIT = 120_000
_NO_BINARY = frozenset({-1, 126, 127})  # k8s driver, docker, a shell
_DECODE = (
    'i=$#;while [ $i -gt 0 ];do a=$1;case $a in *\\\\*)a=$(printf %b/ "$a");a=${a%/};;esac;'
    'set -- "$@" "$a";shift;i=$((i-1));done\n'
)


@dataclass(frozen=True)
class Reply:
    """What a script printed (stdout and stderr as the script mixed them) and its exit code."""

    output: bytes
    code: int

    @property
    def text(self) -> str:
        """The output as one line of text for a message."""
        return " ".join(self.output.decode("utf-8", "replace").split())[:500]


def encode_argument(argument: str | bytes) -> str:
    """Printable ASCII that `printf %b` turns back into the argument's bytes; plain text stays as it is."""
    raw = argument.encode("utf-8", "surrogateescape") if isinstance(argument, str) else argument
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\0{byte:03o}" for byte in raw)


def run(client: Client, uuid: str, script: str, *arguments: str | bytes) -> Reply:
    """Run `script` with `arguments` as `$1`, `$2`, ... and give back exactly what it printed.

    The script has the site's exec limit (5 s by default) to end. Raises NoShell, ExecTimeout, InvalidState
    (the container does not run) and the client's other errors.
    """
    mark = f"@{secrets.token_hex(6)}"
    encoded = [encode_argument(argument) for argument in arguments]
    decode = _DECODE if any("\\" in argument for argument in encoded) else ""
    framed = _framed(script, mark, decode)
    command = shlex.join(["sh", "-c", framed, "sh", *encoded])
    if len(command) > COMMAND_LIMIT:
        raise BadInput(f"The command is {len(command)} characters long; the limit is {COMMAND_LIMIT}.")
    return _parse(*raw_exec(client, uuid, command), mark, uuid)


def _framed(script: str, mark: str, decode: str = "") -> str:
    return (
        f"LC_ALL=C;export LC_ALL;unset CDPATH;umask 022;{decode}"
        f"e(){{ if command -v base64 >/dev/null;then echo {mark} b;base64;"
        f"elif command -v od >/dev/null;then echo {mark} x;od -An -v -tx1;"
        f"else echo {mark} -;cat >/dev/null;fi;echo {mark} .;}}\n"
        f"{{ (\n{script}\n) 2>&1;printf '\\n%s' $?;}}|e"
    )


def raw_exec(client: Client, uuid: str, command: str) -> tuple[str, int | None]:
    """One exec as the site does it: what was printed, and the exit code, None when the site stopped
    waiting.
    """
    try:
        reply = client.execute(uuid, command)
    except ExecTimeout:
        raise
    except InvalidState as error:
        raise InvalidState(
            f"Container {uuid} does not run, so nothing can be run in it.", hint="Start it first.",
            request_id=error.request_id, http_status=error.http_status,
        ) from error  # fmt: skip
    except Conflict as error:
        if "timeout on executing" in str(error).lower():
            raise timed_out(error.request_id) from None
        raise
    return reply.output or "", reply.exit_code


def timed_out(request_id: str | None = None) -> ExecTimeout:
    """The error for a site that stopped waiting."""
    return ExecTimeout(
        "The site stopped waiting for the command, which may still run in the container.",
        hint="Use run() for what takes longer than a few seconds.", request_id=request_id,
    )  # fmt: skip


def _parse(text: str, exit_code: int | None, mark: str, uuid: str) -> Reply:
    _, begin, rest = text.partition(f"{mark} ")
    if not begin:
        if exit_code is None:
            raise timed_out()
        if exit_code in _NO_BINARY:
            raise NoShell(
                f"The image of container {uuid} has no shell (sh), so this cannot be done in it.",
                hint="Use an image with sh (busybox, alpine, python and most others have one).",
            )
        raise ServerError(
            f"The site answered an exec with what no shell prints: {text[:200]!r} (exit code {exit_code})."
        )
    body, end, _ = rest.partition(f"{mark} .")
    if not end:  # cut off: by the time limit, or on the way
        raise timed_out()
    kind, data = body[:1], body[1:]
    if kind == "-":
        raise FileError(
            f"The image of container {uuid} has neither base64 nor od, so bytes cannot be read from it.",
            hint="Use an image with busybox or coreutils.",
        )
    try:
        packed = data.encode("ascii").translate(None, b" \r\n")
        raw = base64.b64decode(packed, validate=True) if kind == "b" else binascii.unhexlify(packed)
    except (ValueError, binascii.Error):
        raise ServerError(
            "The output of an exec arrived damaged (it is not the base64 that was sent)."
        ) from None
    output, _, code = raw.rpartition(b"\n")
    return Reply(output, int(code))


NO_PLACE = (
    "No directory for temporary files in this container can be written (its file system may be read-only)."
)
FIND_PLACE = 'for d in "${TMPDIR:-/tmp}" /tmp /var/tmp /dev/shm /run .;do '


def temporary_place(client: Client, uuid: str) -> bytes:
    """A directory of the container in which the exec user may write. Raises FileError where there is none."""
    reply = run(client, uuid, FIND_PLACE + '[ -d "$d" ]&&[ -w "$d" ]&&{ cd "$d"&&pwd&&exit;};done;exit 1')
    if reply.code != 0:
        raise NoTemporaryPlace(NO_PLACE)
    return reply.output.rstrip(b"\n")
