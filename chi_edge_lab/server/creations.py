"""A double click on Create makes one container."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from chi_edge_lab.zun import Container

_SAME = 2.0  # seconds in which the same request means the same container


class Creations:
    """What is being created, and what just was. Blocking and thread-safe: call it from a worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[Hashable, tuple[float, Future[Container]]] = {}

    def once(self, key: Hashable, make: Callable[[], Container]) -> tuple[Container, bool]:
        """The container that `make` makes, or has made for the same key a moment ago; and whether this call made it.

        Raises what `make` raises, to all who asked for the same; then the next call tries again.
        """
        now = time.monotonic()
        with self._lock:
            self._begun = {
                one: (began, made)
                for one, (began, made) in self._begun.items()
                if not made.done() or now - began < _SAME
            }
            known = self._begun.get(key)
            mine: Future[Container] = Future()
            if known is None:
                self._begun[key] = (now, mine)
        if known is not None:
            return known[1].result(), False
        try:
            made = make()
        except BaseException as problem:
            with self._lock:
                self._begun.pop(key, None)
            mine.set_exception(problem)
            raise
        with self._lock:  # from its end: a site may take long to say yes
            self._begun[key] = (time.monotonic(), mine)
        mine.set_result(made)
        return made, True
