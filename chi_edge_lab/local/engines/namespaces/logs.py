"""Reading the log of a container, while its shim writes it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from ..base import LogLine, Stream
from . import lines
from .sandbox import logfile

_BLOCK = 65536


def read(
    directory: Path, *, since_ns: int | None, tail: int | None, streams: frozenset[Stream]
) -> Iterator[LogLine]:
    """Lines, oldest first. Memory is bounded by the tail asked for, else by a block."""
    with ExitStack() as stack:
        files = [stack.enter_context(file) for file in _open(directory)]
        if tail is None:
            for line in lines.forward(chain.from_iterable(_forward(file) for file in files)):
                if line.stream in streams and (since_ns is None or line.time_ns >= since_ns):
                    yield line
            return
        last: deque[LogLine] = deque()
        for line in lines.backward(chain.from_iterable(_backward(file) for file in reversed(files))):
            if len(last) >= tail or (since_ns is not None and line.time_ns < since_ns):
                break
            if line.stream in streams:
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
        texts = (file.read(size) + rest).split(b"\n")
        rest = texts[0]
        for line in reversed(texts[1:]):
            if is_last:
                is_last = False  # after the last newline: nothing, or a record that is being written
                continue
            yield line
    if not is_last:
        yield rest
