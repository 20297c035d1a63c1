"""What a site answers when asked for the last lines of a log, made into lines.

Docker keeps a line beyond 16 KiB in records of that size, and the end of a program that wrote no newline in a record
without one. Asked with timestamps it puts one before every record, so that they turn up in the middle of a line; asked
for a tail it counts records. Here the records of one line are joined, and lines that were glued are taken apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

RECORD_BYTES = 16 * 1024  # of a line, in docker's and Kubernetes' logs
_STAMP_SIZE = 30  # of "2026-11-23T12:17:12.123456789Z"; sites write all nine digits before a record
_RECORD = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) ")


@dataclass(frozen=True)
class Window:
    """The last `asked` records of a log as of one moment.

    `lines` are its whole lines with their timestamps, `rest` an unfinished one ("" for none). `full`: the log may
    reach further back.
    """

    lines: list[str]
    rest: str
    asked: int
    full: bool
    size: int  # characters


def window_of(text: str, asked: int) -> Window:
    """The window that a site sent."""
    *whole, rest = text.split("\n")
    records = len(whole) + bool(rest)
    lines: list[str] = []
    for line in whole:
        if line.find("Z ", _STAMP_SIZE + 1) < 0:
            lines.append(line)
        else:
            apart, joins = _apart(line)
            lines += apart
            records += joins
    if rest:
        (*glued, rest), joins = _apart(rest)
        lines += glued
        records += joins
    return Window(lines, rest, asked, records >= asked, len(text))


def _apart(line: str) -> tuple[list[str], int]:
    """The lines that `line` is made of, and how many records more it was than one."""
    first = _RECORD.match(line)
    if first is None:
        return [line], 0
    lines: list[str] = []
    stamp, current, begin, joins = first[1], first[0], first.end(), 0
    for found in _RECORD.finditer(line, begin):
        part = line[begin : found.start()]
        if _is_full_record(part):
            current, begin, joins, stamp = current + part, found.end(), joins + 1, found[1]
        elif part and found[1] > stamp:
            # A program's own stamp is not later than the one that the log puts before the line: this one begins the
            # first line after a restart, and the one before it had no newline.
            lines.append(current + part)
            stamp, current, begin, joins = found[1], found[0], found.end(), joins + 1
    return [*lines, current + line[begin:]], joins


def _is_full_record(part: str) -> bool:
    if len(part) > RECORD_BYTES or len(part) * 4 < RECORD_BYTES:
        return False
    size = len(part.encode("utf-8", "surrogatepass"))
    # each byte that was no UTF-8 (a character that a border divides, say) has become one of these, of three bytes
    return size - 2 * part.count("�") <= RECORD_BYTES <= size
