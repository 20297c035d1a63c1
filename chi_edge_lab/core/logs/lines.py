"""A line of a log, the marks that stand where lines are missing, and the site's timestamps."""

from __future__ import annotations

import calendar
import functools
import re
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

Stream = Literal["stdout", "stderr"]

# characters of one line that are kept: a line beyond it is data and not text, and every view, ring and message
# that holds a line must be able to hold the longest
LINE_LONGEST = 1 << 20

# RFC 3339 with up to nine digits of seconds, as docker and Kubernetes write before each line
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?")
_PARTS = re.compile(r"([\d-]{10}T[\d:]{8})(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)")
_SECOND = 1_000_000_000  # ns


@dataclass(frozen=True)
class LogLine:
    """One line.

    `stamp` is the site's RFC 3339 text with all its digits ("" where it sent none); `seq` rises by one from line
    to line of one follower (-1: not numbered); `stream` is None where the site does not tell.
    """

    stamp: str
    text: str
    seq: int = -1
    stream: Stream | None = None
    level: str | None = None

    @property
    def time(self) -> datetime | None:
        """`stamp` as an aware datetime (to the microsecond), None where there is none."""
        return parse_stamp(self.stamp)

    @property
    def time_ns(self) -> int | None:
        """`stamp` as nanoseconds since 1970, None where there is none."""
        return stamp_ns(self.stamp)


@dataclass(frozen=True)
class Gap(LogLine):
    """Stands where lines were lost: they came faster than they could be fetched, or the site cannot send them."""


@dataclass(frozen=True)
class Incarnation(LogLine):
    """Stands where the log begins anew: the container was replaced or made anew, or its log was rotated."""


def stamp_ns(stamp: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 stamp; None where it is not one."""
    found = _PARTS.fullmatch(stamp)
    if found is None:
        return None
    seconds = _seconds(found[1])
    if seconds is None:
        return None
    if found[3] != "Z":
        offset = int(found[3][1:3]) * 3600 + int(found[3][4:6]) * 60
        seconds -= -offset if found[3][0] == "-" else offset
    return seconds * _SECOND + int(f"{found[2] or '0':0<9}")


@functools.lru_cache(maxsize=256)  # thousands of lines share a second
def _seconds(text: str) -> int | None:
    try:
        return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return None


def parse_stamp(stamp: str) -> datetime | None:
    """An aware datetime from an RFC 3339 stamp with any number of digits; None where it is not one."""
    nanoseconds = stamp_ns(stamp)
    if nanoseconds is None:
        return None
    seconds, rest = divmod(nanoseconds, _SECOND)
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000)
    except (ValueError, OverflowError, OSError):
        return None


def format_ns(nanoseconds: int) -> str:
    """The RFC 3339 stamp of a time in nanoseconds since 1970, with nine digits."""
    seconds, rest = divmod(nanoseconds, _SECOND)
    return f"{_second_text(seconds)}.{rest:09d}Z"


@functools.lru_cache(maxsize=256)
def _second_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def split_stamp(line: str) -> tuple[str, str]:
    """A raw line as (timestamp or "", text); a carriage return at its end goes, a progress bar's lone ones stay."""
    found = _STAMP.match(line)
    stamp, text = (found[1], line[found.end() :]) if found else ("", line)
    return stamp, text.removesuffix("\r")


def parse_line(line: str) -> LogLine:
    """Split a line into its timestamp, where it has one, and its text; a carriage return at the end goes."""
    return LogLine(*split_stamp(line))


def split_lines(text: str) -> tuple[list[str], str]:
    """The whole lines of a log (split at newlines only: a progress bar's lone CR stays) and the unfinished
    rest.
    """
    *lines, rest = text.split("\n")
    return lines, rest


def bounded(text: str) -> str:
    """The text, cut with a mark where it is longer than a line may be."""
    if len(text) <= LINE_LONGEST:
        return text
    return f"{text[:LINE_LONGEST]}[... {len(text) - LINE_LONGEST} more characters of this line are cut]"
