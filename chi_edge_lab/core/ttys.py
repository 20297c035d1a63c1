"""What a terminal's shell is in its container: tty and process. From them a resize and an end beside the shell.

A shell tells them itself, with a private escape sequence that holds a random word: terminals show nothing of it, and
`find` takes it out of what is read, with everything before it (the line that asked for it).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chi_edge_lab.core import shell
from chi_edge_lab.errors import BadInput, NotSupported

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

LARGEST_SIZE = 9999  # rows or columns
_TERM = "export TERM=xterm-256color"
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
# field 22 of its stat is when the process began; with the pid it names one process for ever
_TELL = (
    "(read -r s </proc/$$/stat;set -- ${{s##*) }};"
    "printf '\\033]7001;{word};%s;%s;%s\\007' \"$(tty||readlink /proc/self/fd/0)\" $$ ${{20}})2>/dev/null"
)
_LOOK = """pid=$1 born=$2
look(){ s=;read -r s <$1/stat||return 1;set -- ${s##*) };state=$1 group=$3 session=$4 front=$6 start=${20}
[ "$state" != Z ];}
here(){ look /proc/$pid&&[ "$start" = "$born" ];}
exec 2>/dev/null
"""
# HUP to the shell and all of its session, as a terminal that is closed does; then KILL to the shell, to what runs in
# front, and to what has not ended, but for what ignores HUP behind: somebody started that with nohup so that it goes on
_END = """here||exit 0
shown=$front
mine(){ for d in /proc/[0-9]*;do
look $d&&{ [ "$session" = $pid ]||[ "$group" = $pid ];}&&echo ${d#/proc/};done;}
stubborn(){ look /proc/$1&&[ "$group" = "$shown" ]&&return 1
while read -r name mask;do [ "$name" = SigIgn: ]&&case $mask in *[13579bdf])return 0;;esac
done </proc/$1/status;return 1;}
all=$(mine);kill -HUP $all;kill -CONT $all
i=0;while here&&[ $i -lt 10 ];do sleep 0.1||sleep 1;i=$((i+1));done
here&&kill -KILL $pid
for p in $all;do case " $(mine|tr '\\n' ' ') " in *" $p "*)[ $p = $pid ]||stubborn $p||kill -KILL $p;;esac;done
i=0;while here&&[ $i -lt 10 ];do sleep 0.1||sleep 1;i=$((i+1));done
here&&exit 1
exit 0"""


@dataclass(frozen=True)
class Tty:
    """Where a shell runs. `path` is "" where only the process is known; `born` in the kernel's ticks."""

    path: str
    pid: int
    born: int


def clamp(size: int) -> int:
    """Rows or columns as a terminal can have them."""
    return min(max(int(size), 1), LARGEST_SIZE)


def typed(word: str, rows: int, cols: int) -> bytes:
    """The line that, typed into a new shell, sets size and TERM and makes it tell its tty."""
    return f" stty rows {rows} cols {cols} 2>/dev/null;{_TERM};{_TELL.format(word=word)}\n".encode()


def wrapped(word: str, command: str, user: str) -> str:
    """The command that tells its tty and then becomes `command`, as `user` ("": the container's).

    Raises:
        BadInput: the command is empty, or its quotes are not closed.
    """
    arguments = split(command)
    if user:
        # arguments of the shell, not su's own -c: that one takes the terminal away (a session of its own)
        arguments = ["su", "-s", "/bin/sh", user, "--", "-c", "exec " + shlex.join(arguments)]
    return shlex.join(["sh", "-c", f'{_TERM};{_TELL.format(word=word)};exec "$@"', "sh", *arguments])


def split(command: str) -> list[str]:
    """The words of a command. Raises BadInput."""
    try:
        words = shlex.split(command)
    except ValueError:
        raise BadInput("The command of the terminal has quotes that are not closed.") from None
    if not words or "\0" in command:
        raise BadInput("The command of the terminal is empty or holds a NUL.")
    return words


def find(word: str, data: bytes) -> tuple[Tty | None, bytes] | None:
    """(what the shell told, what follows); None while it has not told anything."""
    found = re.search(rb"\x1b\]7001;" + word.encode() + rb";([^\x07]*);(\d*);(\d*)\x07", data)
    if found is None:
        return None
    path, pid, born = found.groups()
    known = path.decode("ascii", "replace") if re.fullmatch(rb"/dev/[\w/.-]+", path) else ""
    tty = Tty(known, int(pid), int(born)) if pid and born else None
    return tty, data[found.end() :]


def check_user(client: Client, uuid: str, user: str) -> None:
    """Pass where a terminal can be that user's.

    Raises:
        BadInput: there is no such user in the container.
        NotSupported: its image has no `su`, or the container's own user is not root.
        NoShell, InvalidState, and the client's other errors.
    """
    if not _USER.fullmatch(user):
        raise BadInput(f"{user!r} is not the name of a user.")
    script = 'id -u "$1" >/dev/null||exit 4;command -v su >/dev/null||exit 3;[ "$(id -u)" = 0 ]||exit 5'
    code = shell.run(client, uuid, script, user).code
    if code == 3:
        raise NotSupported(
            "The image of this container has no su, so its terminal cannot be another user's.",
            hint="Open the terminal without a user.",
        )
    if code == 5:
        raise NotSupported(
            "This container does not run as root, so its terminal cannot be another user's.",
            hint="Open the terminal without a user.",
        )
    if code:
        raise BadInput(f"There is no user {user!r} in the container.")


def resize(client: Client, uuid: str, tty: Tty, rows: int, cols: int) -> None:
    """Set a tty's size beside what runs on it, which gets SIGWINCH and is not disturbed otherwise.

    Raises:
        NotSupported: the image has no stty. The client's errors.
    """
    reply = shell.run(client, uuid, 'stty rows "$2" cols "$3" <"$1"', tty.path, str(rows), str(cols))
    if reply.code == 127:
        raise NotSupported(
            "The image of this container has no stty, so its terminal's size cannot be set.",
            hint="Programs take it to have 24 rows and 80 columns.",
        )


def end(client: Client, uuid: str, tty: Tty) -> bool:
    """End a shell that may still be there, and what it runs; what was started with nohup goes on.

    Returns whether it is gone. Raises the client's errors.
    """
    return shell.run(client, uuid, _LOOK + _END, str(tty.pid), str(tty.born)).code == 0


def alive(client: Client, uuid: str, tty: Tty) -> bool:
    """Whether a shell is still there. Raises the client's errors."""
    return shell.run(client, uuid, _LOOK + "here", str(tty.pid), str(tty.born)).code == 0
