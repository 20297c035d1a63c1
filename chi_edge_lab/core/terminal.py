"""An interactive shell in a container.

On CHI@Edge every attach is a new `/bin/sh` with a tty; on upstream Zun a new shell is an exec (its attach
would be the container's main process). Which of the two it is, the dialect says.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from typing_extensions import Self

from chi_edge_lab.core import shell, terminal_end, ttys
from chi_edge_lab.errors import EdgeLabError, InvalidState, NoShell, NotSupported, ServerError, SiteError

if TYPE_CHECKING:
    from chi_edge_lab.core.ttys import Tty
    from chi_edge_lab.zun import Client, Socket

DEFAULT_SHELL = "sh"
_SHELLS = frozenset({"sh", "/bin/sh"})
_TELL_SECONDS = 5.0  # for a new shell to tell its tty; then it is used without
_TELL_BYTES = 64 * 1024  # of greeting before that


class Terminal:
    """A shell in a container: `write` keys, `read` what it shows (raw bytes, cut anywhere), `resize`,
    `close`.

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
        """Open the terminal; returns when its shell has answered (5 s at the most).

        `user` is whose it is (None: the container's own). Raises NotSupported for a `command` or `user` where the
        site has only its own shell, NoShell, BadInput, and the client's errors.
        """
        self.client = client
        self.uuid = uuid
        self.command = command
        self.user = user
        self.rows, self.cols = ttys.clamp(rows), ttys.clamp(cols)
        self._attaches = not client.dialect.supports("exec_terminal")
        if self._attaches and (command not in _SHELLS or user):
            raise NotSupported(client.dialect.reason("exec_terminal"))
        ttys.split(command)
        if user:
            ttys.check_user(client, uuid, user)
        self._life = threading.Lock()  # opening and closing
        self._closed = False
        self._wake: Callable[[], None] | None = None
        self._tty: Tty | None = None
        self._ahead = b""
        self._open()

    @property
    def tty(self) -> str:
        """The shell's tty in the container, such as /dev/pts/0; "" where it did not tell."""
        return self._tty.path if self._tty else ""

    @property
    def pid(self) -> int:
        """The shell's process in the container; 0 where it did not tell."""
        return self._tty.pid if self._tty else 0

    def read(self, timeout: float | None = None) -> bytes:
        """The next bytes; b"" when the shell has ended. Raises TimeoutError after `timeout` seconds
        without any.
        """
        ahead, self._ahead = self._ahead, b""
        return ahead or self._socket.recv(timeout=timeout)

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake`, in another thread, whenever `read` has something to give; after a `reattach` too."""
        self._wake = wake
        self._socket.listen(wake)
        if self._ahead:
            wake()

    def read_until(self, marker: bytes, timeout: float = 10.0) -> bytes:
        """Everything up to the first reading that holds `marker`. Raises TimeoutError, EOFError (the shell
        ended).
        """
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
        """Type; text is UTF-8. Long pastes go as fast as the site takes them. Raises Unreachable when it
        has ended.
        """
        self._socket.send(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)

    def resize(self, rows: int, cols: int) -> None:
        """Tell the shell its window's size (1 to 9999 each), without disturbing what runs.

        Only where a shell on CHI@Edge has not told its tty a `stty` is typed, which shows. Raises NotSupported (no
        stty in the image), and the client's errors.
        """
        self.rows, self.cols = ttys.clamp(rows), ttys.clamp(cols)
        if self._attaches and self._tty is not None and self._tty.path:
            ttys.resize(self.client, self.uuid, self._tty, self.rows, self.cols)
        else:
            self._socket.resize(self.rows, self.cols)

    def verdict(self) -> str:
        """Why reading has come to its end: a sentence where the shell has ended, "" where only the connection has.

        Asks the site for the container. Raises the client's errors where it does not answer.
        """
        said = terminal_end.of_container(self.client, self.uuid, self.exit_code)
        if said or self.lost:
            return said
        if self._tty is not None and self.exit_code is None and ttys.alive(self.client, self.uuid, self._tty):
            return ""  # a proxy between hung up in all forms, and not the shell
        return terminal_end.sentence(self.close_reason)

    def reattach(self) -> None:
        """Open a new shell after the connection was lost; the old one is ended. Raises as opening does."""
        with self._life:
            self._socket.close(leave_running=self._tty is not None)
            self._end_orphan()
            if self._closed:
                raise InvalidState("The terminal was closed here.")
            self._open()
            if self._wake is not None:
                self.listen(self._wake)

    @property
    def closed(self) -> bool:
        """True once it has ended; `read` still gives what had come before."""
        return self._socket.closed

    @property
    def lost(self) -> bool:
        """True where the connection ended without the site saying that the shell has: it may still run."""
        return self._socket.lost

    @property
    def close_reason(self) -> str:
        """Why it ended, as far as the site says; "" while it is open."""
        return self._socket.close_reason

    @property
    def exit_code(self) -> int | None:
        """The shell's exit code where the site tells (CHI@Edge)."""
        return self._socket.exit_code

    def close(self) -> None:
        """End the shell, what runs in it (but for what was started with nohup), and the connection. Never raises."""
        self._closed = True
        with self._life:
            had_ended = self._socket.closed and not self._socket.lost
            self._socket.close()
            if not had_ended:
                self._end_orphan()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- inside ---------------------------------------------------------------------------------

    def _open(self) -> None:
        self._tty, self._ahead = None, b""
        word = secrets.token_hex(8)
        self._socket = self._dial(word)
        try:
            told = self._told(word)
            if told is None:
                self._no_answer()
        except BaseException:
            self._socket.close()
            raise

    def _dial(self, word: str) -> Socket:
        if self._attaches:
            socket = self.client.open_attach(self.uuid)
            # there is no way to tell this driver a size or TERM but to type them
            socket.send(ttys.typed(word, self.rows, self.cols))
            return socket
        try:
            socket = self.client.open_exec(self.uuid, ttys.wrapped(word, self.command, self.user or ""))
        except ServerError:
            # what a proxy does whose `sh` is not there; a look through the API says whether it is that
            self._check_shell()
            raise
        self._set_size(socket)
        return socket

    def _set_size(self, socket: Socket) -> None:
        with contextlib.suppress(SiteError):  # a command that has ended already has no size
            socket.resize(self.rows, self.cols)

    def _told(self, word: str) -> bytes | None:
        """Wait until the shell has told its tty; None where it ended before."""
        seen = bytearray()
        until = time.monotonic() + _TELL_SECONDS
        while len(seen) < _TELL_BYTES:
            try:
                piece = self._socket.recv(timeout=max(0.0, until - time.monotonic()))
            except TimeoutError:
                break
            if not piece:
                self._ahead = bytes(seen)
                return None
            seen += piece
            found = ttys.find(word, bytes(seen))
            if found is not None:
                self._tty, self._ahead = found
                return self._ahead
        self._ahead = bytes(seen)
        return self._ahead

    def _no_answer(self) -> None:
        """It ended at once: because there is no `sh`, or because a short command did its work."""
        try:
            self._check_shell()
        except NoShell:
            if self._attaches or self.user or self.command in _SHELLS:
                raise
            # an image of one program may be all that the command needs
            self._socket.close()
            self._ahead = b""
            self._socket = self.client.open_exec(self.uuid, self.command)
            self._set_size(self._socket)

    def _check_shell(self) -> None:
        if self._attaches and "no shell" in self.close_reason:
            raise NoShell(
                f"The image of container {self.uuid} has no shell (/bin/sh), so it has no terminal.",
                hint="Use an image with sh (busybox, alpine, python and most others have one).",
            )
        shell.run(self.client, self.uuid, ":")

    def _end_orphan(self) -> None:
        """Where the shell has not ended with its connection, end it."""
        if self._tty is not None and (self.lost or self.close_reason == "closed here"):
            with contextlib.suppress(EdgeLabError):  # the container may be gone, and the shell with it
                ttys.end(self.client, self.uuid, self._tty)
