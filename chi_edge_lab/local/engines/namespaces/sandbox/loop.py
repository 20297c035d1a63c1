"""The shim's event loop: callbacks on descriptors, and children that end."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import sys
from collections.abc import Callable

READ = selectors.EVENT_READ
WRITE = selectors.EVENT_WRITE


class Loop:
    """One thread; a callback gets the events of its descriptor."""

    def __init__(self, on_child: Callable[[], None]) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_read, wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(wake_write, False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._on_child = on_child
        self.watch(self._wake_read, READ, self._woken)

    def _woken(self, _events: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._wake_read, 4096):
                pass
        self._on_child()

    def watch(self, fd: int, events: int, callback: Callable[[int], None]) -> None:
        """Call back on these events from now on; no events: no more."""
        known = fd in self._selector.get_map()
        if events and known:
            self._selector.modify(fd, events, callback)
        elif events:
            self._selector.register(fd, events, callback)
        elif known:
            self._selector.unregister(fd)

    def forget(self, fd: int) -> None:
        """Call before the descriptor is closed."""
        self.watch(fd, 0, lambda _events: None)

    def step(self, timeout: float | None) -> None:
        """Wait for something to happen, `timeout` seconds at most, and call back."""
        for key, events in self._selector.select(timeout):
            if (
                self._selector.get_map().get(key.fd) is key
            ):  # an earlier callback of this round may have dropped it
                self._call(key, events)

    def _call(self, key: selectors.SelectorKey, events: int) -> None:
        try:
            key.data(events)
        except Exception:  # noqa: BLE001
            # One client or stream is given up then; the container and all others go on.
            sys.excepthook(*sys.exc_info())
            self.forget(key.fd)
