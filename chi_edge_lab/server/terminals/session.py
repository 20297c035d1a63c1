"""One terminal on the server: a shell in a container, what it has shown, and those who look at it.

What comes from the container is taken in the thread of the core's socket, and goes to the loop once for each burst.
Two threads more carry what is typed, and do what must wait: reading on, a new shell (the core is synchronous).
Everything else is on the loop.

With readers, the container is read only while at least one of them keeps up: `yes` stops before a reader that stalls,
and memory stays flat. Without readers what comes is kept as far as the scrollback goes, so that programs go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal, Protocol

from chi_edge_lab import errors
from chi_edge_lab.core.terminal import Terminal
from chi_edge_lab.server.terminals.scrollback import Scrollback

if TYPE_CHECKING:
    from chi_edge_lab.server.limits import EdgeLabLimits
    from chi_edge_lab.server.terminals.recording import Recording

log = logging.getLogger(__name__)

State = Literal["open", "reconnecting", "closed"]
_INPUT = 8 << 20  # bytes typed that wait for the container; more is refused, and said
# what the old shell's programs may have switched on: alternate screen, mouse, bracketed paste, colours
_RESET = "\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?25h\x1b[!p\x1b[0m"
_RECONNECT = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # seconds before each try to reach the site again


class Viewer(Protocol):
    """Who looks at a terminal."""

    @property
    def behind(self) -> int:
        """Bytes shown that it has not got, or not acknowledged."""

    def kick(self) -> None:
        """There may be more to send."""

    def tell_state(self) -> None:
        """The terminal's state, size or recording has changed."""


class Session:
    """A terminal. Made by `Terminals.create`, with a shell that is open already; used on the loop."""

    def __init__(
        self,
        id: str,
        terminal: Terminal,
        limits: EdgeLabLimits,
        *,
        site: str,
        project: str | None,
        name: str,
        on_change: Callable[[Session], None],
    ) -> None:
        self.id = id
        self.terminal = terminal
        self.site, self.project, self.name = site, project, name
        self.state: State = "open"
        self.message = ""  # why the state is what it is
        self.exit_code: int | None = None
        self.created = datetime.now(timezone.utc)
        self.scrollback = Scrollback(limits.terminal_scrollback)
        self.viewers: set[Viewer] = set()
        self.recording: Recording | None = None
        self.last_active = time.monotonic()
        self._high, self._low = limits.terminal_high, limits.terminal_low
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._closing = False
        self._room = True  # for more output; written on the loop only
        self._pulling = threading.Lock()  # what is read stays in order
        self._recovering = False
        self._turn = threading.Event()  # there is something for `_read` to do
        self._arrived: list[bytes] = []
        self._lock = threading.Lock()
        self._typed: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._typed_bytes = 0
        self._size_wanted: tuple[int, int] | None = None
        self._reader = threading.Thread(target=self._read, name=f"terminal {id} out", daemon=True)
        self._writer = threading.Thread(target=self._write, name=f"terminal {id} in", daemon=True)

    def start(self) -> None:
        """Begin to carry bytes."""
        self._reader.start()
        self._writer.start()
        self.terminal.listen(self._come)

    # -- to the container -----------------------------------------------------------------------

    def type(self, data: bytes) -> None:
        """Send what was typed. Raises errors.BadInput where too much waits already, or it is closed."""
        if self.state == "closed":
            raise errors.BadInput(f"The terminal is closed. {self.message}")
        with self._lock:
            if self._typed_bytes + len(data) > _INPUT:
                raise errors.BadInput(
                    f"{len(data)} bytes of input were not taken: what runs in the terminal does not read as fast.",
                    hint="Upload large texts as files.",
                )
            self._typed_bytes += len(data)
        self.last_active = time.monotonic()
        self._typed.put(data)

    def _write(self) -> None:
        while True:
            data = self._typed.get()
            if data is None:
                return
            with contextlib.suppress(errors.EdgeLabError):  # the reader meets the same end, and tells it
                self.terminal.write(data)
            with self._lock:
                self._typed_bytes -= len(data)

    def resize(self, rows: int, cols: int, run: Callable[..., object]) -> asyncio.Task[None] | None:
        """Set the size; of a storm of sizes the last one counts. `run` calls a function in a thread."""
        running = self._size_wanted is not None
        self._size_wanted = (rows, cols)
        return None if running else asyncio.create_task(self._resize(run))

    async def _resize(self, run: Callable[..., object]) -> None:
        done: tuple[int, int] | None = None
        while self._size_wanted != done and self.state != "closed":
            done = self._size_wanted
            assert done is not None
            try:
                await run(self.terminal.resize, *done)  # type: ignore[misc]
            except errors.EdgeLabError as problem:
                log.info("terminal %s could not be given its size: %s", self.id, problem)
        self._size_wanted = None
        if self.recording is not None:
            self.recording.resize(self.terminal.rows, self.terminal.cols)
        self._changed()

    # -- from the container ---------------------------------------------------------------------

    def _read(self) -> None:
        """Read on where there is room again, and do what the end of reading needs."""
        while not self._closing:
            self._turn.wait()
            self._turn.clear()
            if self._pull() and not self._closing:
                self._recovering = True
                if not self._recover():
                    break
                self._recovering = False
                self._turn.set()
        self._call(self._end)

    def _come(self) -> None:
        """In the socket's thread: something came. Taken at once; another thread's turn would cost time."""
        if self._pull():
            self._turn.set()

    def _pull(self) -> bool:
        """Take what is there, as long as there is room; True at the end of it."""
        with self._pulling:
            while self._room and not self._recovering:
                try:
                    data = self.terminal.read(timeout=0)
                except TimeoutError:
                    return False
                if not data:
                    return True
                self._take(data)
            return False

    def _take(self, data: bytes) -> None:
        recording = self.recording
        if recording is not None:
            recording.add(data)
        with self._lock:
            self._arrived.append(data)
            first = len(self._arrived) == 1
        if first:
            self._call(self._drain)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server has stopped
            self._loop.call_soon_threadsafe(function, *arguments)

    def _drain(self) -> None:
        with self._lock:
            data = b"".join(self._arrived)
            self._arrived.clear()
        self.scrollback.add(data)
        self.last_active = time.monotonic()
        for viewer in tuple(self.viewers):
            viewer.kick()
        self.make_room()

    def make_room(self) -> None:
        """Read on, or stop reading, as the quickest reader goes."""
        behind = min((viewer.behind for viewer in self.viewers), default=0)
        if behind > self._high:
            self._room = False
        elif behind <= self._low and not self._room:
            self._room = True
            self._turn.set()

    def _recover(self) -> bool:
        """After the end of reading: False where the shell has ended, else a new one was opened."""
        pauses = iter(_RECONNECT)
        while not self._closing:
            try:
                said = self.terminal.verdict()
                if said:
                    self._call(self._set, "closed", said)
                    return False
                self._call(
                    self._set, "reconnecting", "The connection to the container was lost; trying again."
                )
                self.terminal.reattach()
            except (errors.Unreachable, errors.ServerError, errors.TooManyRequests) as problem:  # noqa: PERF203
                pause = next(pauses, None)
                self._call(
                    self._set, "reconnecting", f"The connection was lost; trying again. {problem.message}"
                )
                if pause is None:
                    self._call(self._set, "closed", problem.message)
                    return False
                until = time.monotonic() + pause
                while not self._closing and time.monotonic() < until:
                    time.sleep(0.05)
            except errors.EdgeLabError as problem:
                self._call(self._set, "closed", problem.message)
                return False
            else:
                said = "The connection was lost. This is a new shell; what ran in the old one was ended."
                self._take(f"{_RESET}\r\n\x1b[7m[{said}]\x1b[0m\r\n".encode())
                self._call(self._set, "open", said)
                return True
        return False

    def _set(self, state: State, message: str) -> None:
        if self.state != "closed" and (self.state, self.message) != (state, message):
            self.state, self.message = state, message
            self.exit_code = self.terminal.exit_code
            self._changed()

    def _changed(self) -> None:
        for viewer in tuple(self.viewers):
            viewer.tell_state()
        self._on_change(self)

    def _end(self) -> None:
        self._set("closed", "It was closed.")
        self._typed.put(None)
        if self.recording is not None:
            self.recording.close()
            self.recording = None

    # -- readers and end ------------------------------------------------------------------------

    def record(self, recording: Recording | None) -> None:
        """Begin or end to record."""
        if self.recording is not None:
            self.recording.close()
        self.recording = recording
        self._changed()

    def join(self, viewer: Viewer) -> None:
        """Somebody looks."""
        self.viewers.add(viewer)
        self.last_active = time.monotonic()
        self.make_room()
        self._on_change(self)

    def leave(self, viewer: Viewer) -> None:
        """Somebody looks no more."""
        self.viewers.discard(viewer)
        self.last_active = time.monotonic()
        self.make_room()
        self._on_change(self)

    def close(self) -> None:
        """End the shell, and wait until it has. Blocks (up to some seconds): call it from a worker."""
        self._closing = True
        self._turn.set()
        self.terminal.close()
        self._reader.join(10.0)
        self._typed.put(None)
