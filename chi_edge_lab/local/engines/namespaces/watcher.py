"""Learning at once that a container has ended: a connection to each shim, which closes with it."""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable

_log = logging.getLogger(__name__)


class Watcher:
    """One thread for all containers. `on_end` is called in it with the id."""

    def __init__(self, on_end: Callable[[str], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        self._new: list[tuple[str, socket.socket | None]] = []
        self._closed = False
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name="containers-watcher", daemon=True)
        self._thread.start()

    def add(self, identifier: str, connection: socket.socket) -> None:
        """Watch a connection, ours from now on."""
        if not self._hand_over(identifier, connection):
            connection.close()

    def post(self, identifier: str) -> None:
        """Call `on_end` for it soon, in the thread."""
        self._hand_over(identifier, None)

    def _hand_over(self, identifier: str, connection: socket.socket | None) -> bool:
        with self._lock:
            if not self._closed:
                self._new.append((identifier, connection))
                os.write(self._wake_write, b".")
            return not self._closed

    def close(self) -> None:
        """End the thread and wait for it."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            os.write(self._wake_write, b".")
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _tell(self, identifier: str) -> None:
        try:
            self._on_end(identifier)
        except Exception:  # noqa: BLE001
            # What goes wrong with one container must not leave the others unwatched.
            _log.exception("the end of container %s could not be handled", identifier)

    def _run(self) -> None:
        while True:
            ready = self._selector.select()
            with self._lock:
                new, self._new = self._new, []
                closed = self._closed
            for identifier, connection in new:
                if connection is not None:
                    self._selector.register(connection, selectors.EVENT_READ, identifier)
            if closed:
                break
            for identifier, connection in new:
                if connection is None:
                    self._tell(identifier)
            for key, _ in ready:
                if key.fd == self._wake_read:
                    os.read(self._wake_read, 4096)
                    continue
                self._selector.unregister(key.fileobj)
                if isinstance(key.fileobj, socket.socket):
                    key.fileobj.close()
                self._tell(key.data)
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)
