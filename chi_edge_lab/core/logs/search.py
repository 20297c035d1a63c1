"""Searching a ring: plain text, whole words, regular expressions; by level, inverse, counted."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import compress

from chi_edge_lab.core.logs.ansi import strip_sequences
from chi_edge_lab.core.logs.levels import LEVELS
from chi_edge_lab.core.logs.lines import LogLine
from chi_edge_lab.core.logs.patterns import REGEX_SECONDS, search_pattern
from chi_edge_lab.core.logs.ring import Ring
from chi_edge_lab.core.logs.segment import LEVEL_AT, RECORD, Segment, level_code
from chi_edge_lab.errors import BadInput

QUERY_LONGEST = 1000  # characters
_DENSE = 1000  # matches in a segment from which on looking at each line is quicker than jumping from match to match


@dataclass(frozen=True)
class Query:
    """What is looked for. An empty `text` is in every line.

    `word`: not inside of a longer word. `inverse`: lines without it. `levels`: only these (of LEVELS), empty: all.
    `seconds`: how long a regular expression may take.
    """

    text: str = ""
    case: bool = False
    word: bool = False
    regex: bool = False
    inverse: bool = False
    levels: Collection[str] = ()
    seconds: float = REGEX_SECONDS

    def __post_init__(self) -> None:
        if len(self.text) > QUERY_LONGEST:
            raise BadInput(
                f"What is searched for has {len(self.text)} characters; {QUERY_LONGEST} is the most."
            )
        unknown = sorted(set(self.levels) - set(LEVELS))
        if unknown:
            raise BadInput(f"{unknown[0]!r} is not a level.", hint=f"Levels are {', '.join(LEVELS)}.")


@dataclass
class Found:
    """What a search found: `numbers` of the lines that were asked for (in order), `total` of all matches.

    `complete` False: the regular expression took too long, and lines before number `searched` only were looked at.
    """

    numbers: list[int] = field(default_factory=list)
    total: int = 0
    complete: bool = True
    searched: int = 0


def search(
    ring: Ring, query: Query, *, start: int | None = None, backward: bool = False, limit: int = 100
) -> Found:
    """Search a whole ring. Of the matches the first `limit` ones from number `start` on are named (backward: the last
    ones before it); None: from the beginning (backward: from the end).

    Raises:
        errors.BadInput: the regular expression is none.
    """
    segments = [segment for segment in ring.segments() if segment.count]
    matches = _all_matches(segments, query)
    found = Found(searched=segments[-1].end if segments else 0)
    kept: deque[int] | list[int] = deque(maxlen=max(limit, 1)) if backward else []
    for segment in segments:
        lines = matches(segment)
        if lines is None:
            found.complete, found.searched = False, segment.first
            break
        found.total += len(lines)
        if backward or len(kept) < limit:
            numbers = [segment.first + line for line in lines]
            if backward and start is not None:
                numbers = [number for number in numbers if number < start]
            elif not backward:
                numbers = [number for number in numbers if start is None or number >= start]
                numbers = numbers[: limit - len(kept)]
            kept.extend(numbers)
    found.numbers = list(kept)[:limit] if limit else []
    return found


def lines_of(ring: Ring, found: Found, size: int) -> list[LogLine]:
    """The lines that a search has named, together about `size` bytes; those that fell off meanwhile are left out."""
    lines: list[LogLine] = []
    for number in found.numbers:
        if size <= 0:
            break
        for line in ring.page(number, 1):
            if line.seq == number:
                lines.append(line)
                size -= len(line.text)
    return lines


def _all_matches(segments: list[Segment], query: Query) -> Callable[[Segment], list[int] | None]:
    """A function that gives the matching lines of each segment, None where there was no time for it."""
    by_segment: dict[int, list[int]] | None = None
    if query.regex and query.text:
        pattern = rf"(?<!\w)(?:{query.text})(?!\w)" if query.word else query.text
        by_segment = search_pattern(segments, pattern, case=query.case, seconds=query.seconds)

    def matches(segment: Segment) -> list[int] | None:
        count = segment.count
        if by_segment is not None:
            found = by_segment.get(segment.first)
            if found is None:
                return None
        elif query.text:
            found = _plain(segment.text(), query, sequences=segment.has_sequences)
        else:
            found = list(range(count))
        if not query.inverse and not query.levels:
            return found
        return _filtered(segment, found, count, query)

    return matches


def _filtered(segment: Segment, found: list[int], count: int, query: Query) -> list[int]:
    wanted = bytearray(count)
    for line in found:
        if line < count:
            wanted[line] = 1
    if query.inverse:
        wanted = wanted.translate(bytes([1, 0, *bytes(254)]))
    if query.levels:
        table = bytearray(256)
        for level in query.levels:
            table[level_code(level)] = 1
        levels = segment.index()[LEVEL_AT :: RECORD.size].translate(table)
        return list(compress(range(count), map(int.__and__, wanted, levels)))
    return list(compress(range(count), wanted))


def _plain(data: bytes, query: Query, *, sequences: bool) -> list[int]:
    """The numbers of the lines of `data` (each with its newline) that hold the text."""
    if "\n" in query.text:
        return []
    if sequences:
        data = strip_sequences(data.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")
    text, verify = query.text, None
    if query.word:
        flags = 0 if query.case else re.IGNORECASE
        verify = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)", flags).search
    if not query.case:
        if not text.isascii():
            lowered = data.decode("utf-8", "surrogatepass").lower().encode("utf-8", "surrogatepass")
            data, text = lowered, text.lower()
        else:
            data, text = data.lower(), text.lower()
    needle = text.encode("utf-8", "surrogatepass")
    found = _lines_with(data, needle)
    if verify is None:
        return found
    lines = data.split(b"\n")
    return [line for line in found if verify(lines[line].decode("utf-8", "surrogatepass"))]


def _lines_with(data: bytes, needle: bytes) -> list[int]:
    found: list[int] = []
    line = counted = 0
    at = data.find(needle)
    while at >= 0:
        line += data.count(b"\n", counted, at)
        found.append(line)
        if len(found) > _DENSE:
            return [number for number, text in enumerate(data.split(b"\n")[:-1]) if needle in text]
        counted = data.find(b"\n", at)
        at = data.find(needle, counted) if counted >= 0 else -1
    return found
