"""Lines from the records of a log, read forward or backward: see `sandbox.logfile` for what the records are.

Both ways give the same lines in the same (or the opposite) order. A line stands where its last record stands and
has that one's time; a line that is still being written is not shown.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..base import LogLine, Stream

_STREAMS: dict[bytes, Stream] = {b"o": "stdout", b"e": "stderr"}
_ENDS = b"FLEC"  # kinds of records that end a line
_WHOLE = b"FL"  # ... and begin it, too
_NEWLINE = b"FE"


class Record(NamedTuple):
    """One record of a log."""

    time_ns: int
    stream: Stream
    kind: bytes
    data: bytes

    def line(self, before: bytes = b"") -> LogLine:
        newline = b"\n" if self.kind in _NEWLINE else b""
        return LogLine(self.time_ns, self.stream, before + self.data + newline)


def parse(text: bytes) -> Record | None:
    """A record without its final newline; None when it is damaged (the disk was full, say)."""
    head = text.split(b" ", 3)
    if len(head) != 4 or not head[0].isdigit() or head[1] not in _STREAMS or len(head[2]) != 1:
        return None
    if head[2] not in b"FLBMEC":
        return None
    return Record(int(head[0]), _STREAMS[head[1]], head[2], head[3])


def forward(records: Iterable[bytes]) -> Iterator[LogLine]:
    """Lines of records that come oldest first."""
    parts: dict[Stream, list[Record]] = {"stdout": [], "stderr": []}
    for text in records:
        record = parse(text)
        if record is None:
            continue
        begun = parts[record.stream]
        if begun and record.kind in b"FLB":
            yield _join(begun)  # its end was never written: the supervisor was killed
        if record.kind in _WHOLE:
            yield record.line()
        elif record.kind in _ENDS:
            yield _join(begun, record)
        else:
            begun.append(record)


def _join(parts: list[Record], *more: Record) -> LogLine:
    """One line of all parts, which are used up."""
    *begun, last = (*parts, *more)
    parts.clear()
    return last.line(b"".join(part.data for part in begun))


def backward(records: Iterable[bytes]) -> Iterator[LogLine]:
    """Lines of records that come newest first."""
    waiting: deque[list[Record]] = deque()  # lines in order, the parts of each newest first
    is_complete: deque[bool] = deque()
    open_lines: dict[Stream, int | None] = {"stdout": None, "stderr": None}
    seen: set[Stream] = set()
    gone = 0  # lines that were yielded: positions count from the first ever

    def begin(record: Record, *, complete: bool) -> None:
        previous = open_lines[record.stream]
        if previous is not None:
            is_complete[previous - gone] = True
        waiting.append([record])
        is_complete.append(complete)
        open_lines[record.stream] = None if complete else gone + len(waiting) - 1

    for text in records:
        record = parse(text)
        if record is None:
            continue
        position = open_lines[record.stream]
        if record.kind in _ENDS:
            begin(record, complete=record.kind in _WHOLE)
        elif position is not None:
            waiting[position - gone].append(record)
            if record.kind == b"B":
                is_complete[position - gone] = True
                open_lines[record.stream] = None
        elif record.stream in seen:
            begin(record, complete=record.kind == b"B")  # its end was never written, see above
        if record.kind != b"M":
            seen.add(record.stream)
        while waiting and is_complete[0]:
            is_complete.popleft()
            gone += 1
            yield _join(waiting.popleft()[::-1])
    while waiting:
        yield _join(waiting.popleft()[::-1])
