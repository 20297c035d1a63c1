"""One piece of a ring: a file of text and a file that says where its lines are.

`N.text` holds the lines (UTF-8, a newline behind each), so that it can be searched as it is. `N.index` holds a record
of 16 bytes for each: where it begins, its kind, stream and level, its time. N is the number of the first line. The text
is written first: after a kill -9 the index may know less than the text, never more than is there.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from pathlib import Path

from chi_edge_lab.core.logs.ansi import has_sequences
from chi_edge_lab.core.logs.levels import LEVELS
from chi_edge_lab.core.logs.lines import Gap, Incarnation, LogLine, Stream, format_ns

RECORD = struct.Struct("<IBBBxq")
NO_TIME = -(1 << 63)
_KINDS: tuple[type[LogLine], ...] = (LogLine, Gap, Incarnation)
_KIND_CODES = {kind: code for code, kind in enumerate(_KINDS)}
_STREAMS: tuple[Stream | None, ...] = (None, "stdout", "stderr")
_STREAM_CODES = {stream: code for code, stream in enumerate(_STREAMS)}
_LEVEL_NAMES: tuple[str | None, ...] = (None, *LEVELS)
_LEVEL_CODES = {name: code for code, name in enumerate(_LEVEL_NAMES)}
LEVEL_AT = 6  # byte of a record


def level_code(name: str | None) -> int:
    """The number by which an index knows a level."""
    return _LEVEL_CODES[name]


class Segment:
    """Lines `first` to `end` - 1. Appended to by one thread at a time; reading is safe meanwhile."""

    def __init__(self, directory: Path, first: int, *, new: bool = False) -> None:
        self.first = first
        self.count = 0
        self.text_size = 0
        self.latest = NO_TIME  # the latest time of any line
        self.has_sequences = False  # terminal sequences, which a search does not see
        self.text_path = directory / f"{first:020d}.text"
        self.index_path = directory / f"{first:020d}.index"
        self._files: tuple[int, int] | None = None
        if not new:
            self._recover()

    @property
    def end(self) -> int:
        """The number of the line after the last."""
        return self.first + self.count

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.text_size + self.count * RECORD.size

    def _recover(self) -> None:
        """Find out what is whole: the lines whose text is there with its newline."""
        text_size = self.text_path.stat().st_size
        index = self.index_path.read_bytes() if self.index_path.exists() else b""
        count = len(index) // RECORD.size
        while count and RECORD.unpack_from(index, (count - 1) * RECORD.size)[0] >= text_size:
            count -= 1
        with self.text_path.open("rb") as file:
            while count:
                begin = RECORD.unpack_from(index, (count - 1) * RECORD.size)[0]
                file.seek(begin)
                newline = file.read().find(b"\n")
                if newline >= 0:
                    self.text_size = begin + newline + 1
                    break
                count -= 1
        self.count = count
        times = memoryview(index)[: count * RECORD.size].cast("q")[1::2]
        self.latest = max(times, default=NO_TIME)
        self.has_sequences = has_sequences(self.text())

    def append(self, lines: Sequence[LogLine], levels: Sequence[str | None]) -> None:
        """Write lines, and the level of each, behind the last."""
        if self._files is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            self._files = (os.open(self.text_path, flags, 0o600), os.open(self.index_path, flags, 0o600))
        texts, records, at = [], [], self.text_size
        for line, level in zip(lines, levels, strict=True):
            text = line.text.encode("utf-8", "surrogatepass") + b"\n"
            time_ns = line.time_ns
            time_ns = NO_TIME if time_ns is None else time_ns
            self.latest = max(self.latest, time_ns)
            records.append(
                RECORD.pack(
                    at, _KIND_CODES[type(line)], _STREAM_CODES[line.stream], _LEVEL_CODES[level], time_ns
                )
            )
            texts.append(text)
            at += len(text)
        text_fd, index_fd = self._files
        joined = b"".join(texts)
        self.has_sequences = self.has_sequences or has_sequences(joined)
        _write(text_fd, joined, self.text_size)
        _write(index_fd, b"".join(records), self.count * RECORD.size)
        self.text_size = at
        self.count += len(lines)  # last: a reader sees lines only when both files have them

    def text(self) -> bytes:
        """All of the text; b"" where the segment is gone."""
        return _read(self.text_path, 0, self.text_size)

    def index(self) -> bytes:
        """All records; b"" where the segment is gone."""
        return _read(self.index_path, 0, self.count * RECORD.size)

    def read(self, first: int, count: int, size: int, *, backward: bool = False) -> list[LogLine]:
        """At most `count` lines from number `first` on, together about `size` bytes (one line at least).

        backward: the lines that end before number `first`, the last of them first in line to be taken.
        """
        low, high = (first - count, first) if backward else (first, first + count)
        low, high = max(low, self.first) - self.first, min(high, self.end) - self.first
        if low >= high:
            return []
        begin, more = low * RECORD.size, high < self.count
        index = _read(self.index_path, begin, (high - low + more) * RECORD.size)
        if len(index) < (high - low + more) * RECORD.size:
            return []
        records = list(RECORD.iter_unpack(index))
        ends = [record[0] for record in records[1:]] + ([] if more else [self.text_size])
        records = records[: high - low]
        if backward:
            skip = 0
            while skip < len(records) - 1 and ends[-1] - records[skip][0] > size:
                skip += 1
            records, ends, low = records[skip:], ends[skip:], low + skip
        else:
            taken = len(records)
            while taken > 1 and ends[taken - 1] - records[0][0] > size:
                taken -= 1
            records, ends = records[:taken], ends[:taken]
        start = records[0][0]
        text = _read(self.text_path, start, ends[-1] - start)
        if len(text) < ends[-1] - start:
            return []
        return [
            _KINDS[kind](
                "" if time_ns == NO_TIME else format_ns(time_ns),
                text[at - start : end - start - 1].decode("utf-8", "surrogatepass"),
                self.first + low + number,
                _STREAMS[stream],
                _LEVEL_NAMES[level],
            )
            for number, ((at, kind, stream, level, time_ns), end) in enumerate(
                zip(records, ends, strict=True)
            )
        ]

    def close(self) -> None:
        """Let go of the files."""
        if self._files is not None:
            for file in self._files:
                os.close(file)
            self._files = None

    def remove(self) -> None:
        """Delete the files."""
        self.close()
        self.index_path.unlink(missing_ok=True)
        self.text_path.unlink(missing_ok=True)


def _write(fd: int, data: bytes, at: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, at)
        view, at = view[written:], at + written


def _read(path: Path, at: int, size: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""  # it has fallen off the ring meanwhile
    try:
        parts = []
        while size > 0:
            part = os.pread(fd, size, at)
            if not part:
                break
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(fd)
