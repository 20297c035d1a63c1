"""A container's log: a snapshot, and following it with each line exactly once.

Zun has no log stream. `follow` asks again and again for the last lines with timestamps and finds by overlap
which of them are new; `Merger` is that step alone, without requests. A log is never asked for whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from chi_edge_lab.core.progress import Cancel, Reporter
from chi_edge_lab.errors import (
    ContainerGone,
    InvalidState,
    NotFound,
    ServerError,
    TooManyRequests,
    Unreachable,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

SNAPSHOT_LINES = 10_000  # lines of a snapshot where the caller names no number
WINDOW = 200  # lines asked for at each poll of `follow`; grows up to WINDOW_LARGEST when lines come faster
WINDOW_LARGEST = 20_000
POLL_FIRST, POLL_LONGEST = 0.1, 1.0  # seconds
_SICK_POLLS = 30  # polls in a row that may fail before `follow` gives up

# RFC 3339 with up to nine digits of seconds, as docker and Kubernetes write before each line
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?")
_ENDED = frozenset({"Stopped", "Error", "Dead", "Deleted"})


@dataclass(frozen=True)
class LogLine:
    """One line. `stamp` is the site's RFC 3339 text with all its digits ("" where it sent none)."""

    stamp: str
    text: str

    @property
    def time(self) -> datetime | None:
        """`stamp` as an aware datetime (to the microsecond), None where there is none."""
        return parse_stamp(self.stamp)


@dataclass(frozen=True)
class Gap(LogLine):
    """Stands where lines were lost because they came faster than they could be fetched."""


def parse_stamp(stamp: str) -> datetime | None:
    """An aware datetime from an RFC 3339 stamp with any number of digits; None where it is not one."""
    found = re.fullmatch(r"([\d-]{10}T[\d:]{8})(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", stamp)
    if found is None:
        return None
    zone = "+00:00" if found[3] == "Z" else found[3]
    try:
        return datetime.fromisoformat(f"{found[1]}.{(found[2] or '0')[:6]:0<6}{zone}").astimezone(
            timezone.utc
        )
    except ValueError:
        return None


def parse_line(line: str) -> LogLine:
    """Split a line into its timestamp, where it has one, and its text; a carriage return at the end goes."""
    found = _STAMP.match(line)
    stamp, text = (found[1], line[found.end() :]) if found else ("", line)
    return LogLine(stamp, text.removesuffix("\r"))


def split_lines(text: str) -> tuple[list[str], str]:
    """The whole lines of a log (split at newlines only: a progress bar's lone CR stays) and the unfinished
    rest.
    """
    *lines, rest = text.split("\n")
    return lines, rest


def snapshot(
    client: Client,
    uuid: str,
    *,
    stdout: bool = True,
    stderr: bool = True,
    timestamps: bool = False,
    tail: int | None = None,
) -> str:
    """The last `tail` lines (default 10 000) as one text; "" where there is none, or the container is still
    being created.

    The k8s dialect cannot tell stdout from stderr and always gives both.
    """
    try:
        return client.logs(
            uuid,
            stdout=stdout,
            stderr=stderr,
            timestamps=timestamps,
            tail=SNAPSHOT_LINES if tail is None else tail,
        )
    except InvalidState:
        if client.get_container(uuid).status == "Creating":
            return ""
        raise


class Merger:
    """Tells new lines from those seen, given windows of a growing log.

    Each window is the last `asked` lines (with timestamps) as of one moment. The overlap is the longest
    beginning of the window with which the lines seen so far end. Where the window holds the whole log, lines
    are counted instead, so that any number of equal lines with equal timestamps comes out right.
    """

    def __init__(self, keep: int = WINDOW_LARGEST) -> None:
        self._seen: list[str] = []
        self._keep = keep
        self._whole = True  # `_seen` is the log from its beginning

    def new_lines(self, window: Sequence[str], asked: int) -> tuple[list[str], bool]:
        """The lines of `window` not given before, and whether they join on (False: lines between are lost,
        or the log began anew).
        """
        lines = list(window)
        if not self._seen:
            joined, fresh = True, lines
            self._whole = len(lines) < asked
        elif self._whole and len(lines) < asked:
            joined = lines[: len(self._seen)] == self._seen
            fresh = lines[len(self._seen) :] if joined else lines
        else:
            overlap = _align(self._seen, lines)
            joined = overlap > 0 or not lines
            fresh = lines[overlap:]
        if not joined:
            overlap = _align(self._seen, lines)  # a rotated log can overlap though its beginning is gone
            joined, fresh = overlap > 0, lines[overlap:]
            if not joined:
                self._whole = len(lines) < asked
                self._seen = []
        self._seen += fresh
        if len(self._seen) > self._keep:
            self._whole = False
            del self._seen[: len(self._seen) - self._keep]
        return fresh, joined

    def joins(self, window: Sequence[str], asked: int) -> bool:
        """Whether this window overlaps what was seen (asked before `new_lines`, to fetch a larger window
        otherwise).
        """
        return not self._seen or not window or len(window) < asked or _align(self._seen, list(window)) > 0


def _align(seen: Sequence[str], window: Sequence[str]) -> int:
    """How many lines at the beginning of `window` were seen; 0 where the two do not meet.

    Either the window goes further back than `seen`, which then lies in it whole, or it begins within `seen`.
    Where several places fit (equal lines with equal timestamps) the one with the fewest new lines is taken.
    """
    if not seen or not window:
        return 0
    if len(window) >= len(seen):
        inside = _last_end(seen, window)
        if inside:
            return inside
    table = _failures(window)
    k = 0
    for line in seen[-len(window) :]:
        while k and (k == len(window) or line != window[k]):
            k = table[k - 1]
        k += line == window[k]
    return k


def _last_end(part: Sequence[str], whole: Sequence[str]) -> int:
    """Where the last occurrence of `part` in `whole` ends; 0 where there is none (Knuth-Morris-Pratt,
    linear time).
    """
    table = _failures(part)
    k = end = 0
    for position, line in enumerate(whole, 1):
        while k and (k == len(part) or line != part[k]):
            k = table[k - 1]
        k += line == part[k]
        if k == len(part):
            end = position
    return end


def _failures(part: Sequence[str]) -> list[int]:
    table = [0] * len(part)
    k = 0
    for position in range(1, len(part)):
        while k and part[position] != part[k]:
            k = table[k - 1]
        k += part[position] == part[k]
        table[position] = k
    return table


def follow(
    client: Client,
    uuid: str,
    *,
    tail: int = WINDOW,
    cancel: Cancel | None = None,
    until_stopped: bool = True,
) -> Iterator[LogLine]:
    """Yield lines as they come, beginning with the last `tail` ones: each exactly once and in order.

    Ends when the container has stopped and its last line was given (never, with `until_stopped=False`). A
    line that is not finished yet is held back until it is. Where lines were lost a `Gap` stands for them.
    Raises ContainerGone when the container is deleted, Cancelled, and the client's errors when the site stays
    ill.
    """
    reporter, merger = Reporter(None, cancel), Merger()
    window, pause, sick = max(tail, WINDOW), POLL_FIRST, 0
    first, ended = True, False
    while True:
        try:
            if until_stopped:
                ended = client.get_container(uuid).status in _ENDED
            lines, rest = _fetch(client, uuid, window)
            while not first and not merger.joins(lines, window) and window < WINDOW_LARGEST:
                window = min(window * 4, WINDOW_LARGEST)
                lines, rest = _fetch(client, uuid, window)
        except NotFound as error:
            raise ContainerGone(
                f"Container {uuid} was deleted while its log was followed.", request_id=error.request_id
            ) from None
        except (Unreachable, ServerError, TooManyRequests):
            sick += 1
            if sick > _SICK_POLLS:
                raise
            reporter.sleep(min(POLL_LONGEST * sick, 5.0), "The log is no longer followed.")
            continue
        sick = 0
        if ended and rest:
            lines, rest = [*lines, rest], ""
        fresh, joined = merger.new_lines(lines, window)
        if not joined and len(lines) >= window:
            yield Gap("", "[lines are missing here: they came faster than they could be fetched]")
        for line in fresh[-tail:] if first and tail else [] if first else fresh:
            yield parse_line(line)
        if ended and not fresh:
            return
        window = WINDOW if first else max(WINDOW, min(window, 4 * len(fresh)))
        first = False
        pause = POLL_FIRST if fresh else min(pause * 1.5, POLL_LONGEST)
        reporter.sleep(0.0 if ended else pause, "The log is no longer followed.")


def _fetch(client: Client, uuid: str, window: int) -> tuple[list[str], str]:
    try:
        return split_lines(client.logs(uuid, timestamps=True, tail=window))
    except InvalidState:  # still Creating, or between two states: there is no log yet
        return [], ""
