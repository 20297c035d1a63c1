"""The last lines of a log, on disk: to page back in, to jump, to search. Bounded in bytes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable, Iterator
from heapq import merge
from pathlib import Path

from chi_edge_lab.core.logs.levels import level_of
from chi_edge_lab.core.logs.lines import LogLine
from chi_edge_lab.core.logs.segment import NO_TIME, RECORD, Segment
from chi_edge_lab.core.logs.traces import Grouper

RING_BYTES = 128 << 20  # where nobody names a limit: about a million lines
PAGE_BYTES = 8 << 20  # of lines in one page: eight of the longest
_SEGMENTS = 16  # in a full ring: a sixteenth of it falls off at a time
_SEGMENT_LARGEST = (
    4 << 20
)  # bytes; a search holds Python's lock while it goes through one (some milliseconds)
_SEGMENT_SMALLEST = 64 << 10


class Ring:
    """Lines with numbers that rise by one, in segment files (0600) in a directory (0700).

    Thread-safe. A directory that a killed process has left is read as far as it is whole.

    Args:
        limit: bytes of all files; the oldest lines fall off beyond it.
        first: the number of the first line of a ring that is empty.
    """

    def __init__(self, directory: Path, limit: int = RING_BYTES, *, first: int = 0) -> None:
        self._directory = directory
        self._limit = limit
        self._segment_bytes = max(_SEGMENT_SMALLEST, min(limit // _SEGMENTS, _SEGMENT_LARGEST))
        self._lock = threading.Lock()
        self._grouper = Grouper()
        self._level: str | None = None
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        numbers = sorted(int(path.stem) for path in directory.glob("*.text") if path.stem.isdecimal())
        self._segments = [Segment(directory, number) for number in numbers]
        begin = self._segments[-1].end if self._segments else first
        if not self._segments or self._segments[-1].count:
            self._segments.append(Segment(directory, begin, new=True))

    @property
    def first(self) -> int:
        """The number of the oldest line that is kept."""
        return self._segments[0].first

    @property
    def next(self) -> int:
        """The number that the next line gets."""
        return self._segments[-1].end

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def __len__(self) -> int:
        return self.next - self.first

    def append(self, lines: Iterable[LogLine]) -> None:
        """Add lines; they are numbered here, and their levels guessed (a trace's lines have that of its first)."""
        with self._lock:
            batch: list[LogLine] = []
            levels: list[str | None] = []
            size = self._segments[-1].size
            for line in lines:
                batch.append(line)
                levels.append(self._level_of(line))
                size += len(line.text) + RECORD.size
                if size >= self._segment_bytes:
                    self._segments[-1].append(batch, levels)
                    self._rotate()
                    batch, levels, size = [], [], 0
            if batch:
                self._segments[-1].append(batch, levels)

    def _level_of(self, line: LogLine) -> str | None:
        found = line.level or level_of(line.text)
        if self._grouper.continues(line.text):
            found = self._level or found
        self._level = found
        return found

    def _rotate(self) -> None:
        full = self._segments[-1]
        full.close()
        segments = [*self._segments, Segment(self._directory, full.end, new=True)]
        size = sum(segment.size for segment in segments)
        while size > self._limit - self._segment_bytes and len(segments) > 2:  # one full, one new
            oldest = segments.pop(0)
            size -= oldest.size
            oldest.remove()
        self._segments = segments  # whole at once: readers hold no lock

    def page(self, first: int, count: int, size: int = PAGE_BYTES) -> list[LogLine]:
        """At most `count` lines from number `first` on, together about `size` bytes."""
        found: list[LogLine] = []
        for segment in list(self._segments):
            if segment.end > first and len(found) < count and size > 0:
                more = segment.read(max(first, segment.first), count - len(found), size)
                found += more
                size -= sum(len(line.text) for line in more)
                if not more or more[-1].seq + 1 < segment.end:
                    break
        return found

    def before(self, end: int, count: int, size: int = PAGE_BYTES) -> list[LogLine]:
        """At most `count` lines that come before number `end`, oldest first, together about `size` bytes."""
        parts: list[list[LogLine]] = []
        for segment in reversed(self._segments):
            if segment.first < end and count > 0 and size > 0:
                more = segment.read(min(end, segment.end), count, size, backward=True)
                parts.append(more)
                count -= len(more)
                size -= sum(len(line.text) for line in more)
                if not more or more[0].seq > segment.first:
                    break
        return [line for part in reversed(parts) for line in part]

    def last(self, count: int, size: int = PAGE_BYTES) -> list[LogLine]:
        """At most the last `count` lines."""
        return self.before(self.next, count, size)

    def at_time(self, time_ns: int) -> int:
        """The number of the first line of that time (nanoseconds since 1970) or later; `next` where there is none."""
        for segment in list(self._segments):
            if segment.latest >= time_ns and segment.count:
                times = memoryview(segment.index()).cast("q")[1::2]
                for number, found in enumerate(times):  # clocks go backwards: no bisection
                    if found >= time_ns and found != NO_TIME:
                        return segment.first + number
        return self.next

    def segments(self) -> list[Segment]:
        """The segments as of now, oldest first."""
        return list(self._segments)

    def close(self) -> None:
        """Let go of the files; they stay."""
        with self._lock:
            self._segments[-1].close()

    def remove(self) -> None:
        """Delete the ring with its directory."""
        self.close()
        shutil.rmtree(self._directory, ignore_errors=True)


def merged(*logs: Iterable[LogLine]) -> Iterator[tuple[int, LogLine]]:
    """Lines of several logs by time, as (number of the log, line).

    The lines of one log keep their order: one whose clock went back counts as of the time of the one before it.
    """
    yield from (
        (log, line) for _, log, line in merge(*(_timed(number, log) for number, log in enumerate(logs)))
    )


def _timed(number: int, log: Iterable[LogLine]) -> Iterator[tuple[tuple[int, int, int], int, LogLine]]:
    latest = NO_TIME
    for position, line in enumerate(log):
        time_ns = line.time_ns
        latest = max(latest, NO_TIME if time_ns is None else time_ns)
        yield (latest, number, position), number, line
