"""Stages of long calls, and how one ends them early."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from chi_edge_lab.errors import Cancelled


@dataclass(frozen=True)
class Progress:
    """Where a long call is.

    `stage` is a word for programs, `message` a phrase for people. `elapsed` and `stage_elapsed` are seconds
    since the call and since the stage began. `done` and `total` are bytes, and None where there is nothing to
    count: Zun gives no percentage of an image pull, so none is made up.
    """

    stage: str
    message: str
    elapsed: float
    stage_elapsed: float
    done: int | None = None
    total: int | None = None


OnProgress = Callable[[Progress], None]
Cancel = Callable[[], bool]


class Reporter:
    """Calls `on_progress` once for each new stage and as often as bytes are counted; keeps the times."""

    def __init__(self, on_progress: OnProgress | None = None, cancel: Cancel | None = None) -> None:
        self._on_progress = on_progress
        self.cancel = cancel
        self._began = time.monotonic()
        self._stage_began = self._began
        self._last: tuple[str, str, int | None] = ("", "", None)
        self.stages: dict[str, float] = {}  # stage -> seconds after the beginning at which it was entered

    @property
    def elapsed(self) -> float:
        """Seconds since the call began."""
        return time.monotonic() - self._began

    def report(self, stage: str, message: str, *, done: int | None = None, total: int | None = None) -> None:
        """Say where the call is; the same stage, message and count again are not repeated."""
        now = time.monotonic()
        if stage != self._last[0]:
            self._stage_began = now
            self.stages.setdefault(stage, now - self._began)
        elif (stage, message, done) == self._last:
            return
        self._last = (stage, message, done)
        if self._on_progress is not None:
            self._on_progress(
                Progress(stage, message, now - self._began, now - self._stage_began, done=done, total=total)
            )

    def check(self, state: str) -> None:
        """Raise `Cancelled` with `state` (a sentence of how things are left) when the caller wants to
        stop.
        """
        if self.cancel is not None and self.cancel():
            raise Cancelled(f"Cancelled. {state}")

    def sleep(self, seconds: float, state: str) -> None:
        """Sleep, looking at `cancel` at least every 0.1 s."""
        until = time.monotonic() + seconds
        while True:
            self.check(state)
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.1))
