"""Following a log: one step at a time, or as an iterator."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from chi_edge_lab.core.logs.fetch import fetch, streams_of
from chi_edge_lab.core.logs.lines import Gap, Incarnation, LogLine, Stream, bounded, split_stamp, stamp_ns
from chi_edge_lab.core.logs.merge import Look, Merger
from chi_edge_lab.core.logs.windows import Window
from chi_edge_lab.core.progress import Cancel, Reporter
from chi_edge_lab.errors import (
    ContainerGone,
    EdgeLabError,
    NotFound,
    ReplyTooLong,
    ServerError,
    TooManyRequests,
    Unreachable,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

WINDOW = 200  # lines asked for at each poll at least
WINDOW_LARGEST = 100_000  # lines asked for when they come faster: a second of the fastest log we know of
_UNSURE_LARGEST = 5000  # lines asked for to tell equal lines with equal timestamps apart
POLL_FIRST, POLL_LONGEST = (
    0.1,
    1.0,
)  # seconds between polls, while lines come and when none have come for long
_STATUS_EVERY = 0.5  # seconds between looks at whether the container has ended, when no lines come
_SICK_POLLS = 30  # polls in a row that may fail before a follower gives up
_SHRINK_AFTER = (
    6  # failures in a row after which less is asked for: maybe the site cannot send one of the lines
)
_SICK_LONGEST = 15.0  # seconds between polls of a site that fails

_ENDED = frozenset({"Stopped", "Error", "Dead", "Deleted"})
LOST = "[lines are missing here: they came faster than they could be fetched]"
UNSENT = "[lines are missing here: the site could not send them]"
ANEW = "[the log begins anew here: the container was started anew, or its log rotated]"


class Follower:
    """A log as it grows: each call of `poll` gives the lines that are new, each exactly once and in order.

    It asks for the last lines with timestamps and finds by overlap which of them are new. `pause` is the number of
    seconds after which the next poll is worthwhile, `ended` whether there will be no more lines (with
    `until_stopped`), `problem` what is wrong while the site fails. For one thread at a time.

    Args:
        tail: lines to begin with; None: all since `since`.
        since: seconds since 1970: earlier lines are left out at the beginning.
        until_stopped: end when the container has stopped and its last line was given.
        patience: polls in a row that may fail before `poll` raises; None: it goes on for ever.
        first_seq: the number of the first line.
    """

    def __init__(
        self,
        client: Client,
        uuid: str,
        *,
        tail: int | None = WINDOW,
        since: float | None = None,
        until_stopped: bool = True,
        patience: int | None = _SICK_POLLS,
        first_seq: int = 0,
    ) -> None:
        self.pause = 0.0
        self.ended = False
        self.problem: EdgeLabError | None = None
        self.next_seq = first_seq
        self._client, self._uuid = client, uuid
        self._tail, self._since_ns = tail, None if since is None else int(since * 1e9)
        self._until_stopped, self._patience = until_stopped, patience
        self._merger = Merger()
        self._asked = max(WINDOW, min(tail or WINDOW, WINDOW_LARGEST))
        self._first = True
        self._stopped = False  # as the site said last
        self._status_at = 0.0
        self._failures = 0
        self._ceiling = (
            WINDOW_LARGEST  # lines that the site can send: one beyond them is too long, or not UTF-8
        )
        self._busy = False  # the last poll gave lines
        self._held = ""  # an unfinished line
        self._given = ""  # an unfinished line that was given, as its container had ended

    def poll(self) -> list[LogLine]:
        """Ask the site once (rarely several times) and return the new lines, among them marks where lines are missing
        (`Gap`) or the log begins anew (`Incarnation`). [] also while the site fails.

        Raises:
            errors.ContainerGone: the container was deleted.
            errors.SiteError: the site refuses (login, rights), or fails for longer than `patience`.
        """
        try:
            self._look_at_status()
            found = self._look_at_log()
        except NotFound as error:
            self.ended = True
            raise ContainerGone(
                f"Container {self._uuid} was deleted while its log was followed.", request_id=error.request_id
            ) from None
        except (Unreachable, ServerError, TooManyRequests) as error:
            self._failed(error)
            return []
        self.problem = None
        self._failures = 0
        if found is None:
            self._wait(lines=0)
            return []
        return self._lines_of(*found)

    def _look_at_status(self) -> None:
        now = time.monotonic()
        if not self._first and (self._busy or now - self._status_at < _STATUS_EVERY):
            return
        # before the log: what a stopped container has printed is then all in it
        self._stopped = self._client.get_container(self._uuid).status in _ENDED
        self._status_at = now

    def _look_at_log(self) -> tuple[Window, list[str], Look] | None:
        # each such try asks several times, and a site that is only ill for a moment must not cost lines
        shrink = self._failures >= _SHRINK_AFTER and self._failures % 3 == 0
        asked = min(self._asked, self._ceiling)
        window = fetch(self._client, self._uuid, asked, shrink=shrink)
        if window is not None and window.asked < asked:
            self._ceiling = window.asked
        while window is not None:
            lines = self._whole_lines(window)
            look = self._merger.look(lines, full=window.full)
            more = self._larger(window, lines, look)
            if more is None or window.asked == self._ceiling:
                return window, lines, look
            try:
                larger = fetch(self._client, self._uuid, more)
            except ReplyTooLong:
                larger = None
            except ServerError:
                if not shrink:
                    raise
                larger, self._ceiling = None, window.asked
            if larger is None or larger.asked <= window.asked:
                return window, lines, look
            window = larger
        return None

    def _larger(self, window: Window, lines: list[str], look: Look) -> int | None:
        """How many lines to ask for instead, where more are needed."""
        most = WINDOW_LARGEST
        if self._first:
            wanted = self._since_ns is not None and self._tail is None and bool(lines)
            if wanted:
                begins = stamp_ns(split_stamp(lines[0])[0])
                wanted = begins is not None and begins >= (self._since_ns or 0)
        else:
            wanted = not look.joined or not look.sure
            most = WINDOW_LARGEST if not look.joined else _UNSURE_LARGEST
        if not wanted or not window.full or window.asked >= most:
            return None
        return min(window.asked * 4, most)

    def _whole_lines(self, window: Window) -> list[str]:
        """The window's lines, with an unfinished one where it will not be finished."""
        lines, rest = window.lines, window.rest
        if rest and (self._stopped or rest == self._given):
            lines = [*lines, rest]
        if self._given and self._given != rest:
            # it was given; what has come behind it (the container was started again) is a line of its own
            for index, line in enumerate(lines):
                if line.startswith(self._given):
                    after = line[len(self._given) :]
                    return [*lines[:index], self._given, *([after] if after else []), *lines[index + 1 :]]
        return lines

    def _lines_of(self, window: Window, lines: list[str], look: Look) -> list[LogLine]:
        held = self._held
        after = lines[look.overlap] if len(lines) > look.overlap else window.rest
        if held and after and look.joined and not after.startswith(held):
            look = replace(
                look, joined=False, anew=True
            )  # all that was seen of that log was an unfinished line
        fresh = self._merger.take(lines, look, full=window.full)
        self._held = window.rest or (held if not lines else "")
        if self._held and self._stopped:
            # with its pod a log may go in mid-line
            fresh = fresh if window.rest else [*fresh, held]
            self._given, self._held = self._held, ""
        if self._first:
            self._first = False
            fresh = self._beginning(fresh)
        found: list[LogLine] = []
        if not look.joined and (lines or window.rest):
            if held and not any(line.startswith(held) for line in (*lines[:1], window.rest)):
                found.append(self._line(held, None))  # its end is not to be had any more
            found.append(self._mark(look))
        labels = streams_of(self._client, self._uuid, fresh)
        found += [self._line(line, label) for line, label in zip(fresh, labels, strict=True)]
        if self._stopped and not found and self._until_stopped:
            self.ended = True
        self._asked = max(WINDOW, min(2 * len(fresh) + WINDOW, WINDOW_LARGEST))
        # what the site cannot send is by so many lines further back now
        self._ceiling = min(self._ceiling + len(fresh), WINDOW_LARGEST)
        self._wait(lines=len(found))
        return found

    def _beginning(self, lines: list[str]) -> list[str]:
        """What of the first window was asked for."""
        if self._since_ns is not None:
            for index, line in enumerate(lines):
                time_ns = stamp_ns(split_stamp(line)[0])
                if time_ns is not None and time_ns >= self._since_ns:
                    lines = lines[index:]
                    break
            else:
                lines = []
        if self._tail is not None:
            lines = lines[-self._tail :] if self._tail else []
        return lines

    def _mark(self, look: Look) -> LogLine:
        if look.anew:
            return Incarnation("", ANEW, self._number())
        return Gap("", UNSENT if self._ceiling < WINDOW_LARGEST else LOST, self._number())

    def _line(self, raw: str, stream: Stream | None) -> LogLine:
        stamp, text = split_stamp(raw)
        return LogLine(stamp, bounded(text), self._number(), stream)

    def _number(self) -> int:
        self.next_seq += 1
        return self.next_seq - 1

    def _wait(self, *, lines: int) -> None:
        self._busy = lines > 0
        if self._busy:
            self.pause = POLL_FIRST
        elif self._stopped and self._until_stopped:
            self.pause = 0.0
        else:
            self.pause = min(max(self.pause, POLL_FIRST) * 1.5, POLL_LONGEST)

    def _failed(self, error: EdgeLabError) -> None:
        self._failures += 1
        self.problem = error
        if self._patience is not None and self._failures > self._patience:
            raise error
        pause = min(0.25 * 2 ** min(self._failures, 10), _SICK_LONGEST) * random.uniform(0.7, 1.0)  # noqa: S311
        if isinstance(error, TooManyRequests) and error.retry_after is not None:
            pause = max(pause, min(error.retry_after, 300.0))
        self.pause = pause


def follow(
    client: Client,
    uuid: str,
    *,
    tail: int | None = WINDOW,
    since: float | None = None,
    cancel: Cancel | None = None,
    until_stopped: bool = True,
) -> Iterator[LogLine]:
    """Yield lines as they come, beginning with the last `tail` ones: each exactly once and in order.

    Ends when the container has stopped and its last line was given (never, with `until_stopped=False`). A
    line that is not finished yet is held back until it is. Where lines were lost a `Gap` stands for them, and an
    `Incarnation` where the log began anew.

    Raises:
        errors.ContainerGone: the container was deleted.
        errors.Cancelled: `cancel` said so.
        errors.SiteError: the site refuses, or stays ill.
    """
    reporter = Reporter(None, cancel)
    follower = Follower(client, uuid, tail=tail, since=since, until_stopped=until_stopped)
    while True:
        yield from follower.poll()
        if follower.ended:
            return
        reporter.sleep(follower.pause, "The log is no longer followed.")
