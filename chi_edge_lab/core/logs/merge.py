"""Tells new lines from those seen, given windows of a growing log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

KEEP = (
    5000  # lines remembered (as hashes): a window may begin before them, but must end after their beginning
)


@dataclass(frozen=True)
class Look:
    """How a window joins on to what was seen.

    `overlap`: how many lines at its beginning were seen. `joined` False: lines between are lost, or (`anew`) the log
    began anew. `sure` False: equal lines with equal timestamps leave more than one possibility, and a larger window may
    leave only one.
    """

    overlap: int
    joined: bool = True
    sure: bool = True
    anew: bool = False


class Merger:
    """Finds by overlap which lines of a window are new.

    Each window is the last lines (with timestamps) as of one moment. The overlap is the longest beginning of the
    window with which the lines seen so far end. Where the window holds the whole log, lines are counted instead, so
    that any number of equal lines with equal timestamps comes out right. Neither looks at what the timestamps say:
    clocks may go backwards.
    """

    def __init__(self, keep: int = KEEP) -> None:
        self._seen: list[int] = []  # hashes: a line may be megabytes long
        self._keep = keep
        self._whole = True  # `_seen` is the log from its beginning
        self._started = False

    def look(self, window: Sequence[str], *, full: bool) -> Look:
        """How this window joins on; changes nothing. `full`: the log may reach further back than the window."""
        if not self._started or not window:
            return Look(0)
        if not self._seen:
            return Look(
                0, joined=not full
            )  # it was empty, and this is all or only the end of what came since
        keys = [hash(line) for line in window]
        if self._whole and not full and keys[: len(self._seen)] == self._seen:
            return Look(len(self._seen))
        overlap, sure = _align(self._seen, keys)
        if overlap:
            return Look(overlap, sure=sure)
        if full and len(keys) > 1:
            overlap, sure = _align(self._seen, keys[1:])  # the window may begin in the middle of a line
            if overlap:
                return Look(overlap + 1, sure=sure)
        return Look(0, joined=False, anew=not full)

    def take(self, window: Sequence[str], look: Look, *, full: bool) -> list[str]:
        """The new lines of a window that was looked at; they count as seen from now on."""
        if self._started and not window:
            return []  # for a moment there is no log (a pod is being replaced): what comes next decides
        fresh = list(window[look.overlap :])
        if not full or not look.joined:
            self._seen = [hash(line) for line in window[-self._keep :]]
            self._whole = not full and len(window) <= self._keep
        else:
            self._seen += [hash(line) for line in fresh]
            if not self._started or len(self._seen) > self._keep:
                self._whole = False
                del self._seen[: -self._keep]
        self._started = True
        return fresh

    def new_lines(
        self, window: Sequence[str], asked: int, full: bool | None = None
    ) -> tuple[list[str], bool]:
        """The lines of `window` not given before, and whether they join on (False: lines between are lost,
        or the log began anew). `full` None: it is as long as asked for.
        """
        is_full = len(window) >= asked if full is None else full
        look = self.look(window, full=is_full)
        return self.take(window, look, full=is_full), look.joined


def _align(seen: Sequence[int], window: Sequence[int]) -> tuple[int, bool]:
    """How many lines at the beginning of `window` were seen (0 where the two do not meet), and whether no other
    number is possible.

    Either the window goes further back than `seen`, which then lies in it whole, or it begins within `seen`.
    Where several places fit (equal lines with equal timestamps) the one with the fewest new lines is taken.
    """
    if len(window) >= len(seen):
        inside, sure = _last_end(seen, window)
        if inside:
            return inside, sure
    table = _failures(window)
    k = 0
    for line in seen[-len(window) :]:
        while k and (k == len(window) or line != window[k]):
            k = table[k - 1]
        k += line == window[k]
    return k, not k or not table[k - 1]


def _last_end(part: Sequence[int], whole: Sequence[int]) -> tuple[int, bool]:
    """Where the last occurrence of `part` in `whole` ends (0 where there is none), and whether it is the only one
    (Knuth-Morris-Pratt, linear time).
    """
    table = _failures(part)
    k = end = times = 0
    for position, line in enumerate(whole, 1):
        while k and (k == len(part) or line != part[k]):
            k = table[k - 1]
        k += line == part[k]
        if k == len(part):
            end, times = position, times + 1
    return end, times == 1


def _failures(part: Sequence[int]) -> list[int]:
    table = [0] * len(part)
    k = 0
    for position in range(1, len(part)):
        while k and part[position] != part[k]:
            k = table[k - 1]
        k += part[position] == part[k]
        table[position] = k
    return table
