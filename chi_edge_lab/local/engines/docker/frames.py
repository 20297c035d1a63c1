"""What the daemon's streams are made of: frames of stdout and stderr, log lines with their times."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator

from chi_edge_lab.local.engines.base import LogLine, Stream

HEADER = 8  # bytes: stream number, three zeros, length (big endian)
PARTIAL = 16 * 1024  # Docker's log copier cuts longer lines into messages of this size
_LONGEST_TIME = 36
_TIME = re.compile(rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")


class Demultiplexer:
    """Takes a stream to pieces as it comes; keeps no more than one header in between."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._stream: Stream = "stdout"

    def feed(self, data: bytes) -> Iterator[tuple[Stream, bytes]]:
        """Pieces of stdout and stderr in their order. A piece need not be a whole frame."""
        view = memoryview(data)
        while view:
            if self._left:
                piece = bytes(view[: self._left])
                view = view[len(piece) :]
                self._left -= len(piece)
                yield self._stream, piece
                continue
            missing = HEADER - len(self._header)
            self._header += bytes(view[:missing])
            view = view[missing:]
            if len(self._header) == HEADER:
                self._stream = "stderr" if self._header[0] == 2 else "stdout"
                self._left = int.from_bytes(self._header[4:8], "big")
                self._header = b""


def frames(chunks: Iterable[bytes]) -> Iterator[tuple[Stream, bytes]]:
    """Whole frames of a multiplexed stream (a log's frames are its messages, 16 KiB at most)."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) >= HEADER:
            end = HEADER + int.from_bytes(buffer[4:8], "big")
            if len(buffer) < end:
                break
            yield ("stderr" if buffer[0] == 2 else "stdout"), bytes(buffer[HEADER:end])
            del buffer[:end]


def tty_messages(chunks: Iterable[bytes]) -> Iterator[tuple[Stream, bytes]]:
    """The messages of a tty container's log, which the daemon sends without frames.

    A message ends with its line, or after 16 KiB of it where the next timestamp follows in mid-line.
    """
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while end := _end_of_message(buffer, _LONGEST_TIME):
            yield "stdout", bytes(buffer[:end])
            del buffer[:end]
    while buffer:
        end = _end_of_message(buffer, 0) or len(buffer)
        yield "stdout", bytes(buffer[:end])
        del buffer[:end]


def _end_of_message(buffer: bytearray, more: int) -> int:
    """Where the first message ends; 0 while it may go on (`more` bytes must follow a full one)."""
    stamp = _TIME.match(buffer)
    full = (stamp.end() if stamp else 0) + PARTIAL
    newline = buffer.find(b"\n", 0, full)
    if newline >= 0:
        return newline + 1
    return full if len(buffer) > full + more else 0


def log_lines(messages: Iterable[tuple[Stream, bytes]]) -> Iterator[LogLine]:
    """Lines of a log from its messages, each of which begins with its time.

    A line longer than 16 KiB comes as several messages and is put together again, up to 1 MiB.
    """
    open_lines: dict[Stream, tuple[int, bytearray]] = {}
    for stream, message in messages:
        time_ns, text = parse_message(message)
        begun = open_lines.pop(stream, None)
        if begun:
            begun[1].extend(text)
            time_ns, line = begun
        else:
            line = bytearray(text)
        if line.endswith(b"\n") or len(line) >= 64 * PARTIAL:
            yield LogLine(time_ns, stream, bytes(line))
        else:
            open_lines[stream] = time_ns, line
    for stream, (time_ns, line) in sorted(open_lines.items(), key=lambda item: item[1][0]):
        yield LogLine(time_ns, stream, bytes(line))


def parse_message(message: bytes) -> tuple[int, bytes]:
    """Time (nanoseconds since the epoch, 0 where it has none) and text of one message."""
    stamp = _TIME.match(message)
    if not stamp:
        return 0, message
    return _nanoseconds(stamp), message[stamp.end() :]


def parse_time(text: str) -> int | None:
    """RFC 3339 with up to nine digits, as the daemon writes it, in nanoseconds. None for its zero time."""
    stamp = _TIME.match(text.encode())
    if not stamp or stamp[1] == b"0001":
        return None
    return _nanoseconds(stamp)


def _nanoseconds(stamp: re.Match[bytes]) -> int:
    fields = [int(stamp[number]) for number in range(1, 7)]
    seconds = calendar.timegm((*fields, 0, 0, 0))
    zone = stamp[8].decode()
    if zone != "Z":
        offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
        seconds += offset if zone[0] == "-" else -offset
    return seconds * 10**9 + int((stamp[7] or b"0").ljust(9, b"0"))
