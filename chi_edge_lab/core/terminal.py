"""An interactive shell in a container.

On CHI@Edge every attach is a new `/bin/sh` with a tty; on upstream Zun a new shell is an exec (its attach
would be the container's main process). Which of the two it is, the dialect says.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from typing_extensions import Self

from chi_edge_lab.errors import NotSupported

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client, Socket

DEFAULT_SHELL = "sh"


class Terminal:
    """A shell in a container: `write` keys, `read` what it shows (raw bytes, cut anywhere), `resize`,
    `close`.

    A context manager. Thread-safe: one thread may read while another writes.
    """

    def __init__(
        self, client: Client, uuid: str, *, command: str = DEFAULT_SHELL, rows: int = 24, cols: int = 80
    ) -> None:
        """Open the terminal. Raises NotSupported for a `command` where the site has only its own shell,
        and the client's errors.
        """
        self.client = client
        self.uuid = uuid
        self.command = command
        self.rows, self.cols = rows, cols
        self._attaches = not client.dialect.supports("exec_terminal")
        if self._attaches and command not in {"sh", "/bin/sh"}:
            raise NotSupported(client.dialect.reason("exec_terminal"))
        self._socket = self._open()

    def _open(self) -> Socket:
        if self._attaches:
            socket = self.client.open_attach(self.uuid)
            # there is no way to tell this driver a size or TERM but to type them
            socket.send(
                f"stty rows {self.rows} cols {self.cols} 2>/dev/null; export TERM=xterm-256color\n".encode()
            )
        else:
            socket = self.client.open_exec(self.uuid, self.command)
            socket.resize(self.rows, self.cols)
        return socket

    def read(self, timeout: float | None = None) -> bytes:
        """The next bytes; b"" when the shell has ended. Raises TimeoutError after `timeout` seconds
        without any.
        """
        return self._socket.recv(timeout=timeout)

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
        """Tell the shell its window's size. On CHI@Edge this types a `stty`, which shows."""
        self.rows, self.cols = rows, cols
        self._socket.resize(rows, cols)

    def reattach(self) -> None:
        """Open a new shell after the connection was lost; what ran in the old one is gone or goes on
        unseen.
        """
        self._socket.close()
        self._socket = self._open()

    @property
    def close_reason(self) -> str:
        """Why it ended, as far as the site says; "" while it is open."""
        return self._socket.close_reason

    def close(self) -> None:
        """End the shell and the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
