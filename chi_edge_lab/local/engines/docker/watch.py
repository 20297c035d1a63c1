"""Which containers have ended, from the daemon's stream of events."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
from collections.abc import Callable

from chi_edge_lab.local.engines.base import EngineError
from chi_edge_lab.local.engines.docker.daemon import Daemon

_log = logging.getLogger(__name__)
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds between attempts to reach the daemon again


class Watch:
    """One thread that reads the events of one site's containers and connects again when the stream breaks.

    What ended while there was no stream (a restart of the daemon) is found by comparing what ran before
    and what runs after.
    """

    def __init__(
        self,
        daemon: Daemon,
        label: str,
        id_label: str,
        running: Callable[[], set[str]],
        ended: Callable[[str], None],
    ) -> None:
        """`running` asks the daemon which ids run now; `ended` is called with each id that has stopped."""
        self._daemon, self._label, self._id_label = daemon, label, id_label
        self._ask_running, self._ended = running, ended
        self._known: set[str] = set()
        self._stop = threading.Event()
        self._sock: socket.socket | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="docker-events", daemon=True)
        self._thread.start()

    def wait_until_ready(self, timeout: float) -> None:
        """Return when the stream stands (or after `timeout` seconds)."""
        self._ready.wait(timeout)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        sock = self._sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._follow()
                failures = 0
            except (EngineError, OSError, ValueError) as error:
                if self._stop.is_set():
                    return
                _log.warning("The events of the container daemon broke off: %s", error)
                self._ready.set()
                failures += 1
            self._stop.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])

    def _follow(self) -> None:
        # Podman calls the event "die" and wants the filter to say "died"
        filters = {"type": ["container"], "event": ["start", "die", "died"], "label": [self._label]}
        now = time.time_ns()
        # from a moment ago: the daemon begins to collect a little after it has answered
        since = f"{now // 10**9}.{now % 10**9:09d}"
        sock = self._daemon.open("GET", "/events", {"filters": json.dumps(filters), "since": since})
        with contextlib.closing(sock):
            self._sock = sock
            if self._stop.is_set():
                return
            running = self._ask_running()
            for id in self._known - running:
                self._tell(id)
            self._known = running
            self._ready.set()
            with sock.makefile("rb") as lines:
                for line in lines:
                    if line.strip():
                        self._take(json.loads(line))

    def _take(self, event: dict[str, object]) -> None:
        actor = event.get("Actor")
        attributes = actor.get("Attributes") if isinstance(actor, dict) else None
        id = attributes.get(self._id_label) if isinstance(attributes, dict) else None
        if not isinstance(id, str):
            return
        if event.get("Action", event.get("status")) == "start":
            self._known.add(id)
        else:
            self._known.discard(id)
            self._tell(id)

    def _tell(self, id: str) -> None:
        try:
            self._ended(id)
        except Exception:  # noqa: BLE001
            # whatever is wrong with the site's callback, the next container's end must still be told
            _log.exception("on_exit failed for container %s", id)
