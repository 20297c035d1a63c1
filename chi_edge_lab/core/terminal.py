"""An interactive shell in a container.

On CHI@Edge every attach is a new `/bin/sh` with a tty; on upstream Zun a new shell is an exec (its attach would be the
container's main process). Which of the two it is, the dialect says. Either way the shell tells us its tty and process
id with its first output (a private mark that nobody sees), so that its size can be set beside it, without typing into
what runs, and so that it can be ended for good.
"""

from __future__ import annotations

import logging
import re
import secrets
import shlex
import time
from typing import TYPE_CHECKING

from typing_extensions import Self

from chi_edge_lab.core import shell
from chi_edge_lab.errors import (
    BadInput,
    EdgeLabError,
    ExecTimeout,
    InvalidState,
    NoShell,
    NotFound,
    NotSupported,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client, Socket

log = logging.getLogger(__name__)

DEFAULT_SHELL = "sh"
LARGEST = 9999  # rows or columns
_MARK_SECONDS = 3.0  # for the mark; then everything is shown as it came, and the tty is unknown
_MARK_BYTES = 64 << 10
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
# $1: tty, $2: rows, $3: columns
_SIZE = 'stty rows "$2" cols "$3" <"$1"'
# $1: process id, $2: tty. Is it there, and still the same?
_ALIVE = '[ "$(readlink "/proc/$1/fd/0")" = "$2" ]'
# $1: the shell's process id, which is its session's too; $2: the number of its tty (0 once it has hung up). All of the
# session is ended, also what does not listen to hang-ups.
_END = """p=$1;t=$2;k(){ f=1;for s in /proc/[0-9]*/stat;do read -r s 2>/dev/null <"$s"||continue
i=${s%% *};set -- "$1" ${s##*) };[ "$5" = "$p" ]||continue
case $6 in "$t"|0)f=0;kill "$1" "$i" 2>/dev/null;;esac;done;return $f;}
n=0;while k -HUP;do n=$((n+1));[ $n -gt 5 ]&&{ k -KILL;exit 0;}
sleep 0.1 2>/dev/null||sleep 1;done;exit 0"""
_PTS = 136 << 8  # the number of /dev/pts/0; Linux numbers the first 256 in a row
_SIGNALLED = 128  # exit codes above: ended by a signal, which is how the container's end looks from inside
_END_SECONDS = (0.0, 0.5, 1.0)  # looks at a container that may be about to stop


class Terminal:
    """A shell in a container: `write` keys, `read` what it shows (raw bytes, cut anywhere), `resize`, `close`.

    A context manager. Thread-safe: one thread may read while another writes.
    """

    def __init__(
        self,
        client: Client,
        uuid: str,
        *,
        command: str = DEFAULT_SHELL,
        user: str | None = None,
        rows: int = 24,
        cols: int = 80,
    ) -> None:
        """Open the terminal. `user` is a name in the container (needs `su` there).

        Raises NotSupported for a `command` or `user` where the site has only its own shell, BadInput, and the client's
        errors.
        """
        self.client = client
        self.uuid = uuid
        self.command = command
        self.user = user
        self.rows, self.cols = _clamped(rows), _clamped(cols)
        self.tty = ""  # the shell's, such as /dev/pts/0; "" while it is not known
        self.pid = 0  # the shell's in the container; 0 while it is not known
        self._attaches = not client.dialect.supports("exec_terminal")
        if self._attaches and (command not in {"sh", "/bin/sh"} or user):
            raise NotSupported(client.dialect.reason("exec_terminal"))
        if user and not _USER.fullmatch(user):
            raise BadInput(f"{user!r} is not the name of a user.")
        if not command.strip() or "\0" in command:
            raise BadInput("The command of a terminal is one line, such as bash or python3.")
        self._rest = b""  # read, and not given yet
        self._plain = False  # the image has no sh to print the mark
        self._socket = self._open()

    def _open(self) -> Socket:
        self.tty, self.pid = "", 0
        self._token = secrets.token_hex(8)
        self._held: bytearray | None = None if self._plain else bytearray()
        self._held_until = time.monotonic() + _MARK_SECONDS
        mark = (
            f"printf '\\033]7717;{self._token};%s;%s\\007' "
            '"$(tty 2>/dev/null||readlink /proc/self/fd/0)" $$'
        )
        if self._attaches:
            socket = self.client.open_attach(self.uuid)
            size = f"stty rows {self.rows} cols {self.cols} 2>/dev/null"
            socket.send(f" {size};export TERM=xterm-256color;{mark}\n".encode())
            return socket
        line = self.command
        if self.user:
            line = (
                f"command -v su >/dev/null||{{ echo 'This image has no su: no terminal as another user.';exit 127;}};"
                f"exec su -s /bin/sh {self.user} -c {shlex.quote('exec ' + self.command)}"
            )
        elif not self._plain:
            line = f"exec {self.command}"
        if not self._plain:
            line = shlex.join(["sh", "-c", f"export TERM=xterm-256color;{mark};{line}"])
        socket = self.client.open_exec(self.uuid, line)
        socket.resize(self.rows, self.cols)
        return socket

    def settle(self) -> None:
        """Wait (some seconds at most) until the shell has told its tty: what is typed from then on shows."""
        while self._held is not None:
            self._rest += self._read_held(None)

    def read(self, timeout: float | None = None) -> bytes:
        """The next bytes; b"" when the shell has ended, or the connection (`verdict` tells which).

        Raises TimeoutError after `timeout` seconds without any.
        """
        if self._rest:
            rest, self._rest = self._rest, b""
            return rest
        until = None if timeout is None else time.monotonic() + timeout
        while self._held is not None:
            shown = self._read_held(until)
            if shown:
                return shown
        left = None if until is None else max(0.0, until - time.monotonic())
        return self._socket.recv(timeout=left)

    def _read_held(self, until: float | None) -> bytes:
        """Take what comes until the mark is there; gives what is to be shown of it, b"" for nothing yet."""
        assert self._held is not None
        now = time.monotonic()
        limit = self._held_until if until is None else min(self._held_until, until)
        try:
            piece = self._socket.recv(timeout=max(0.0, limit - now))
        except TimeoutError:
            if time.monotonic() < self._held_until:
                raise
            return self._release()
        self._held += piece
        found = re.search(rb"\x1b\]7717;%s;([^;\x07]*);(\d+)\x07" % self._token.encode(), bytes(self._held))
        if found is not None:
            self.tty, self.pid = found[1].decode("utf-8", "replace"), int(found[2])
            if not self.tty.startswith("/dev/"):
                self.tty = ""
            rest = bytes(self._held[found.end() :])
            self._held = None
            return rest
        if not piece:
            if not self._attaches and not self.user:
                # the image has no sh, or not that command: once more without the mark, and its own words show
                self._plain = True
                self._socket.close(leave_running=True)
                self._socket = self._open()
                return b""
            return self._release()
        return self._release() if len(self._held) > _MARK_BYTES else b""

    def _release(self) -> bytes:
        held, self._held = bytes(self._held or b""), None
        return held

    def read_until(self, marker: bytes, timeout: float = 10.0) -> bytes:
        """Everything up to the first reading that holds `marker`. Raises TimeoutError, EOFError (the shell ended)."""
        seen = bytearray()
        until = time.monotonic() + timeout
        while marker not in seen:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"The terminal did not show {marker!r} within {timeout:g} s.")
            piece = self.read(timeout=left)
            if not piece:
                raise EOFError(f"The terminal ended before it showed {marker!r} ({self.close_reason}).")
            seen += piece
        return bytes(seen)

    def write(self, data: bytes | str) -> None:
        """Type; text is UTF-8. Long pastes go as fast as the site takes them. Raises Unreachable when it has ended."""
        self._socket.send(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)

    def resize(self, rows: int, cols: int) -> None:
        """Tell the shell its window's size; what runs is not disturbed.

        On CHI@Edge, which has no call for it, an exec beside the shell sets it on its tty; only where that is not known
        a `stty` is typed, which shows.
        """
        self.rows, self.cols = _clamped(rows), _clamped(cols)
        if self._attaches and self.tty:
            done = shell.run(self.client, self.uuid, _SIZE, self.tty, str(self.rows), str(self.cols))
            if done.code == 0:
                return
        self._socket.resize(self.rows, self.cols)

    def verdict(self) -> str:
        """Why reading came to its end: a sentence where the shell has ended, "" where only the connection has.

        Raises the client's errors where the container cannot be asked.
        """
        try:
            container = self.client.get_container(self.uuid)
        except NotFound:
            return "The container was deleted."
        code = self.exit_code
        for pause in _END_SECONDS if code is not None and code > _SIGNALLED else ():
            if container.status != "Running" or container.task_state:
                break
            time.sleep(pause)
            container = self.client.get_container(self.uuid)
        if container.status != "Running" or container.task_state:
            doing = (
                "is being stopped or restarted" if container.status == "Running" else f"is {container.status}"
            )
            return f"The container {doing}."
        if code is not None:
            return f"The shell has ended with exit code {code}."
        if not self.pid or not self.tty:
            return f"The terminal has ended ({self.close_reason})." if not self._attaches else ""
        try:
            alive = shell.run(self.client, self.uuid, _ALIVE, str(self.pid), self.tty).code == 0
        except (InvalidState, NoShell):
            return "The container has stopped."
        return "" if alive else "The shell has ended."

    def reattach(self) -> None:
        """Open a new shell after the connection was lost; the old one is ended."""
        self._socket.close(leave_running=True)
        self._end_shell()
        self._socket = self._open()

    @property
    def close_reason(self) -> str:
        """Why it ended, as far as the site says; "" while it is open."""
        return self._socket.close_reason

    @property
    def exit_code(self) -> int | None:
        """The shell's exit code, where it has ended and the site tells it."""
        return self._socket.exit_code

    def close(self) -> None:
        """End the shell and the connection; nothing of it is left in the container. Never raises."""
        self._socket.close()
        self._end_shell()

    def _end_shell(self) -> None:
        """A closed connection does not end a shell, and what runs in it may not listen to `exit`."""
        if not self.pid or not self.tty:
            return
        number = self.tty.rpartition("/")[2]
        try:
            shell.run(
                self.client,
                self.uuid,
                _END,
                str(self.pid),
                str(_PTS + int(number)) if number.isdecimal() else "-",
            )
        except (EdgeLabError, ExecTimeout) as problem:
            # the container has stopped or gone, and the shell with it; or the site has, and we cannot reach it
            log.info("a shell in container %s could not be looked after: %s", self.uuid, problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _clamped(number: int) -> int:
    return min(max(int(number), 1), LARGEST)
