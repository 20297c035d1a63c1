"""An interactive shell in a container.

On CHI@Edge every attach is a new `/bin/sh` with a tty; on upstream Zun a new shell is an exec (its attach would be the container's
main process). Which of the two it is, the dialect says.
"""

from __future__ import annotations

import threading
import time

from chi_edge_lab.errors import NotSupported
from chi_edge_lab.zun import Client, Socket

# Zun's websocket proxy breaks the session when it has to hold back input, so pastes go in small frames with pauses
WRITE_PIECE = 4096
_WRITE_PAUSE = 0.005  # seconds between frames
DEFAULT_SHELL = "sh"


class Terminal:
    """A shell in a container: `write` keys, `read` what it shows (raw bytes, cut anywhere), `resize`, `close`.

    A context manager. Thread-safe: one thread may read while another writes.
    """

    def __init__(self, client: Client, uuid: str, *, command: str = DEFAULT_SHELL, rows: int = 24, cols: int = 80) -> None:
        """Open the terminal. Raises NotSupported for a `command` where the site has only its own shell, and the client's errors."""
        self.client = client
        self.uuid = uuid
        self.command = command
        self.rows, self.cols = rows, cols
        self._attaches = not client.dialect.supports("exec_terminal")
        if self._attaches and command not in {"sh", "/bin/sh"}:
            raise NotSupported(client.dialect.reason("exec_terminal"))
        self._write_lock = threading.Lock()
        self._socket = self._open()

    def _open(self) -> Socket:
        if self._attaches:
            socket = self.client.open_attach(self.uuid)
            # there is no way to tell this driver a size or TERM but to type them
            setup = f"stty rows {self.rows} cols {self.cols} 2>/dev/null; export TERM=xterm-256color\n"
            socket.send(setup.encode())
        else:
            socket = self.client.open_exec(self.uuid, self.command)
            socket.resize(self.rows, self.cols)
        return socket

    def read(self, timeout: float | None = None) -> bytes:
        """The next bytes; b"" when the shell has ended. Raises TimeoutError after `timeout` seconds without any."""
        return self._socket.recv(timeout=timeout)

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
        """Type; text is UTF-8. Long pastes go in pieces."""
        raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        with self._write_lock:
            for start in range(0, len(raw), WRITE_PIECE):
                if start:
                    time.sleep(_WRITE_PAUSE)
                self._socket.send(raw[start : start + WRITE_PIECE])

    def resize(self, rows: int, cols: int) -> bool:
        """Tell the shell its window's size. False where the driver cannot (the size set at the beginning stays)."""
        self.rows, self.cols = rows, cols
        if self._attaches:
            return False
        self._socket.resize(rows, cols)
        return True

    def reattach(self) -> None:
        """Open a new shell after the connection was lost; what ran in the old one is gone or goes on unseen."""
        self._socket.close()
        self._socket = self._open()

    @property
    def close_reason(self) -> str:
        """Why it ended, as far as the site says; "" while it is open."""
        return str(self._socket.close_reason or "")

    def close(self) -> None:
        """End the shell and the connection. Closing alone leaves the shell running on both drivers, so it is asked to exit."""
        try:
            self._socket.send(b"\x03\nexit\n")
        except (OSError, RuntimeError):
            pass  # it has ended, which is what was wanted
        self._socket.close()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
