"""How lines travel: as small arrays, in pages of REST and in messages of the event socket alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import BaseModel

from chi_edge_lab.core.logs import Gap, Incarnation, LogLine
from chi_edge_lab.server.failures import Problem
from chi_edge_lab.server.operations import messages

# number, RFC 3339 time (""), "stdout" or "stderr" where the site tells, text (with its terminal sequences), index of
# the container, and what it is: a level, "gap" (lines are missing here), "incarnation" (the log begins anew) or null
Line = tuple[int, str, str | None, str, int, str | None]

MESSAGE_LINES, MESSAGE_CHARACTERS = 1000, 128 << 10  # of one message: two fit in a frame of the event socket


class LogLines(BaseModel):
    """Message `lines`, and each part of `snapshot` (`more`: another one follows).

    A line is [number, time, stream, text, container, kind]. `container` is an index into the topic's `containers`;
    `kind` is a level, "gap" (lines are missing here), "incarnation" (the log begins anew) or null.
    """

    lines: list[Line]
    more: bool = False


class LogState(BaseModel):
    """Message `state`: the site fails for a container (its index), or works again."""

    container: int
    ok: bool
    problem: Problem | None


messages(LogLines, LogState)


def line_of(line: LogLine, container: int = 0, *, timestamp: bool = True) -> Line:
    """A line as it travels."""
    kind = "gap" if isinstance(line, Gap) else "incarnation" if isinstance(line, Incarnation) else line.level
    return (line.seq, line.stamp if timestamp else "", line.stream, line.text, container, kind)


def parts_of(lines: Iterable[Line]) -> Iterator[list[Line]]:
    """The lines in pieces for a message each."""
    part: list[Line] = []
    size = 0
    for line in lines:
        if part and (len(part) >= MESSAGE_LINES or size + len(line[3]) > MESSAGE_CHARACTERS):
            yield part
            part, size = [], 0
        part.append(line)
        size += len(line[3]) + 64
    if part:
        yield part
