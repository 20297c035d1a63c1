"""A container's log: a snapshot, and following it with each line exactly once.

Zun has no log stream. `Follower` asks again and again for the last lines with timestamps and finds by overlap which
of them are new (`merge`); `Ring` keeps many lines on disk, to page and search them; the parsers (`ansi`, `carriage`,
`fields`, `levels`, `traces`) are functions of text alone. A log is never asked for whole.
"""

from chi_edge_lab.core.logs.fetch import SNAPSHOT_LINES, snapshot
from chi_edge_lab.core.logs.follower import WINDOW, WINDOW_LARGEST, Follower, follow
from chi_edge_lab.core.logs.lines import (
    Gap,
    Incarnation,
    LogLine,
    Stream,
    parse_line,
    parse_stamp,
    split_lines,
    stamp_ns,
)
from chi_edge_lab.core.logs.merge import Merger
from chi_edge_lab.core.logs.stream import LogStream, to_dataframe

__all__ = [
    "SNAPSHOT_LINES",
    "WINDOW",
    "WINDOW_LARGEST",
    "Follower",
    "Gap",
    "Incarnation",
    "LogLine",
    "LogStream",
    "Merger",
    "Stream",
    "follow",
    "parse_line",
    "parse_stamp",
    "snapshot",
    "split_lines",
    "stamp_ns",
    "to_dataframe",
]
