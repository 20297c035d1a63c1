"""One figure: ours, the peer's, and what we promise."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A measured figure. `ratio` is the peer's value over ours (above 1: ours is better, for times)."""

    name: str
    ours: float
    peer: float | None
    peer_name: str
    unit: str
    target: float | None

    @property
    def ratio(self) -> float | None:
        return self.peer / self.ours if self.peer is not None and self.ours else None

    @property
    def met(self) -> bool:
        return self.target is None or self.ours <= self.target


def median_ms(action: Callable[[], object], times: int, warm_up: int = 2) -> float:
    """Median wall time of an action in milliseconds, after some calls that do not count."""
    for _ in range(warm_up):
        action()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken)
