"""Writing the log of a container: lines with time and stream, in numbered files of bounded size and number.

A record is `<ns since the epoch> <o|e> <kind> <bytes>\\n`, much as in Kubernetes' container logs. Kinds: F a full
line; L a last line, which had no newline; B, M, E the beginning, the middle and the end of a line beyond 16 KiB
(where Docker splits, too); C an end without newline, because the line goes beyond 1 MiB or its stream ended.
Bytes are kept as they are.
"""

from __future__ import annotations

import os
import time

DIRECTORY = "log"
_PART = 16 * 1024
_MAX_PARTS = 64  # of one line: 1 MiB
_SMALL_STEP = 10**9  # ns


class Splitter:
    """Cuts one stream into records."""

    def __init__(self, stream: str) -> None:
        self._tag = b"e" if stream == "stderr" else b"o"
        self._rest = b""
        self._parts = 0  # records of the current line that are written

    def feed(self, chunk: bytes, clock: Clock) -> bytes:
        """Records of what `chunk` completes: lines, and parts of long ones."""
        lines = chunk.split(b"\n")
        lines[0] = self._rest + lines[0]
        rest = lines.pop()
        records: list[bytes] = []
        for line in lines:
            left = self._cut(line, clock, records)
            records.append(self._record(clock, b"E" if self._parts else b"F", left))
            self._parts = 0
        self._rest = self._cut(rest, clock, records)
        return b"".join(records)

    def _cut(self, line: bytes, clock: Clock, records: list[bytes]) -> bytes:
        """Add a record for each full part; what is left."""
        while len(line) > _PART:
            kind = b"B" if self._parts == 0 else b"M" if self._parts < _MAX_PARTS - 1 else b"C"
            records.append(self._record(clock, kind, line[:_PART]))
            self._parts = 0 if kind == b"C" else self._parts + 1
            line = line[_PART:]
        return line

    def end(self, clock: Clock) -> bytes:
        """A record of what is left at the end of the stream, if any."""
        rest, self._rest = self._rest, b""
        if not rest and not self._parts:
            return b""
        kind = b"C" if self._parts else b"L"
        self._parts = 0
        return self._record(clock, kind, rest)

    def _record(self, clock: Clock, kind: bytes, data: bytes) -> bytes:
        return b"%d %s %s %s\n" % (clock.next(), self._tag, kind, data)


class Clock:
    """Time stamps of one log: each later than the one before, so that lines keep their order when merged by
    time.

    When the machine's clock goes back by more than a second, it is followed.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        now = time.time_ns()
        if now <= self._last < now + _SMALL_STEP:
            now = self._last + 1
        self._last = now
        return now


class LogFile:
    """Appends records; starts a new file when one is full and removes the oldest."""

    def __init__(self, directory: str, max_bytes: int, max_files: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._max_files = max_files
        os.makedirs(directory, exist_ok=True)
        self._number = max(numbers(directory), default=1)
        self._fd = self._open(self._number)
        self._size = os.fstat(self._fd).st_size

    def _open(self, number: int) -> int:
        path = os.path.join(self._directory, file_name(number))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def append(self, records: bytes) -> None:
        """Write whole records. A full disk loses lines, never the container: nothing is raised."""
        try:
            while records:
                room = self._max_bytes - self._size
                # Short lines grow several times: what came in one read may fill more than one file.
                cut = len(records) if len(records) <= room else records.rfind(b"\n", 0, max(0, room)) + 1
                if cut == 0 and self._size:
                    self._rotate()
                    continue
                self._write(memoryview(records)[: cut or len(records)])
                records = records[cut or len(records) :]
        except OSError:
            return

    def _write(self, view: memoryview) -> None:
        while view:
            written = os.write(self._fd, view)
            view = view[written:]
            self._size += written

    def _rotate(self) -> None:
        following = self._open(self._number + 1)
        os.close(self._fd)
        self._fd, self._number, self._size = following, self._number + 1, 0
        for number in numbers(self._directory):
            if number <= self._number - self._max_files:
                os.unlink(os.path.join(self._directory, file_name(number)))

    def close(self) -> None:
        os.close(self._fd)


def file_name(number: int) -> str:
    return f"{number:08d}"


def numbers(directory: str) -> list[int]:
    """The numbers of the files of a log, oldest first."""
    return sorted(int(name) for name in os.listdir(directory) if name.isdigit())
