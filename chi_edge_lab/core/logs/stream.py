"""A followed log for Python: an iterator of lines, for `for` and for `async for`."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from chi_edge_lab.core.logs.fetch import SNAPSHOT_LINES
from chi_edge_lab.core.logs.fields import fields_of
from chi_edge_lab.core.logs.follower import Follower
from chi_edge_lab.core.logs.levels import level_of
from chi_edge_lab.core.logs.lines import LogLine
from chi_edge_lab.core.progress import Cancel, Reporter
from chi_edge_lab.errors import EdgeLabError

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

_LATEST = "The log is no longer followed."


class LogStream:
    """The lines of a log, each once and in order; `close` (or leaving the `with`) ends it from any thread.

    Args:
        follow: go on until the container has stopped; False: only what is there now.
        since: seconds since 1970: earlier lines are left out.
        tail: lines to begin with; None: all since `since`, else the last 10 000.
    """

    def __init__(
        self,
        client: Client,
        uuid: str,
        *,
        follow: bool = True,
        since: float | None = None,
        tail: int | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        if tail is None and since is None:
            tail = SNAPSHOT_LINES
        self._follow = follow
        self._closed = threading.Event()
        self._reporter = Reporter(None, cancel)
        self._follower = Follower(client, uuid, tail=tail, since=since)
        self._lines = self._read()

    def _read(self) -> Iterator[LogLine]:
        while not self._closed.is_set():
            yield from self._follower.poll()
            if self._follower.ended or self._closed.is_set():
                return
            if not self._follow and self._follower.problem is None:
                return
            self._reporter.check(_LATEST)
            self._closed.wait(self._follower.pause)

    def __iter__(self) -> Iterator[LogLine]:
        return self

    def __next__(self) -> LogLine:
        return next(self._lines)

    async def __aiter__(self) -> AsyncIterator[LogLine]:
        """The same without blocking the loop: each poll runs in a thread."""
        import asyncio  # takes as long as all the rest of the package, and few await

        while not self._closed.is_set():
            for line in await asyncio.to_thread(self._follower.poll):
                yield line
            if self._follower.ended or (not self._follow and self._follower.problem is None):
                return
            self._reporter.check(_LATEST)
            await asyncio.sleep(self._follower.pause)

    def close(self) -> None:
        """End the stream; a `next` that waits ends with it."""
        self._closed.set()

    def __enter__(self) -> LogStream:  # noqa: PYI034 - Self is not in Python 3.10
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def to_dataframe(self) -> Any:
        """The lines as a pandas DataFrame (see `to_dataframe`). With `follow` it comes when the container ends."""
        return to_dataframe(self)


def to_dataframe(lines: Iterable[LogLine]) -> Any:
    """A pandas DataFrame with `time` (UTC, to the nanosecond), `stream`, `level`, `text`, and `fields` of lines that
    are JSON objects; its index is the number of the line.

    Raises:
        errors.EdgeLabError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError:
        raise EdgeLabError(
            "A DataFrame needs pandas, which is not installed.",
            hint="`pip install pandas`; without it, iterate over the lines.",
        ) from None
    rows = list(lines)
    return pd.DataFrame(
        {
            "time": pd.to_datetime([line.time_ns for line in rows], unit="ns", utc=True),
            "stream": [line.stream for line in rows],
            "level": [line.level or level_of(line.text) for line in rows],
            "text": [line.text for line in rows],
            "fields": [fields_of(line.text) for line in rows],
        },
        index=pd.Index([line.seq for line in rows], name="seq"),
    )
