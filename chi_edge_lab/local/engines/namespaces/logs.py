"""Reading the log of a container, while its shim writes it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from ..base import LogLine, Stream
from .sandbox import logfile

_BLOCK = 65536
_STREAMS: dict[bytes, Stream] = {b"o": "stdout", b"e": "stderr"}


def read(
    directory: Path, *, since_ns: int | None, tail: int | None, streams: frozenset[Stream]
) -> Iterator[LogLine]:
    """Lines, oldest first. Memory is bounded by the tail asked for, else by a block."""
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in _open(directory)]
        if tail is None:
            for file in files:
                yield from _wanted(_forward(file), since_ns, streams)
            return
        last: deque[LogLine] = deque()
        for file in reversed(files):
            for line in _wanted(_backward(file), None, streams):
                if len(last) >= tail or (since_ns is not None and line.time_ns < since_ns):
                    yield from last
                    return
                last.appendleft(line)
        yield from last


def _open(directory: Path) -> list[BinaryIO]:
    """All files, opened at once: one that the shim removes later can be read still, so none is skipped."""
    try:
        numbers = logfile.numbers(str(directory))
    except FileNotFoundError:
        return []
    files: list[BinaryIO] = []
    for number in numbers:
        try:
            files.append((directory / logfile.file_name(number)).open("rb"))
        except FileNotFoundError:
            continue  # rotated away since: it was the oldest
    return files


def _wanted(lines: Iterator[bytes], since_ns: int | None, streams: frozenset[Stream]) -> Iterator[LogLine]:
    for record in lines:
        line = parse(record)
        if line is not None and line.stream in streams and (since_ns is None or line.time_ns >= since_ns):
            yield line


def parse(record: bytes) -> LogLine | None:
    """A record without its final newline; None when it is damaged (the disk was full, say)."""
    head = record.split(b" ", 3)
    if len(head) != 4 or not head[0].isdigit() or head[1] not in _STREAMS or head[2] not in {b"F", b"P"}:
        return None
    newline = b"\n" if head[2] == b"F" else b""
    return LogLine(int(head[0]), _STREAMS[head[1]], head[3] + newline)


def _forward(file: BinaryIO) -> Iterator[bytes]:
    # Only what is there now: a container that prints fast must not keep a reader for ever.
    left = os.fstat(file.fileno()).st_size
    for line in file:
        left -= len(line)
        if line.endswith(b"\n"):
            yield line[:-1]
        if left <= 0:
            return


def _backward(file: BinaryIO) -> Iterator[bytes]:
    """Complete records of a file, the last first."""
    position = file.seek(0, os.SEEK_END)
    rest = b""
    is_last = True
    while position > 0:
        size = min(_BLOCK, position)
        position -= size
        file.seek(position)
        lines = (file.read(size) + rest).split(b"\n")
        rest = lines[0]
        for line in reversed(lines[1:]):
            if is_last:
                is_last = False  # after the last newline: nothing, or a record that is being written
                continue
            yield line
    if not is_last:
        yield rest
