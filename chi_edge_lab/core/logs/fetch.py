"""Asking a site for the last lines of a log, never for more than fits in memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from chi_edge_lab.core.logs.lines import Stream, split_stamp, stamp_ns
from chi_edge_lab.core.logs.windows import Window, window_of
from chi_edge_lab.errors import InvalidState, ReplyTooLong, ServerError, SiteError

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

SNAPSHOT_LINES = 10_000  # lines of a snapshot where the caller names no number
FETCH_BYTES = 32 << 20  # of one answer: three lines of 10 MB, and a process that does not grow beyond 0.2 GiB
_SHRINK = 8  # by which a tail is divided that the site cannot answer
_LABELLED = 2000  # new lines whose streams are asked for; in a faster log nobody reads them one by one


def snapshot(
    client: Client,
    uuid: str,
    *,
    stdout: bool = True,
    stderr: bool = True,
    timestamps: bool = False,
    tail: int | None = None,
) -> str:
    """The last `tail` lines (default 10 000) as one text; "" where there is none, or the container is still
    being created.

    The k8s dialect cannot tell stdout from stderr and always gives both.
    """
    try:
        return client.logs(
            uuid,
            stdout=stdout,
            stderr=stderr,
            timestamps=timestamps,
            tail=SNAPSHOT_LINES if tail is None else tail,
        )
    except InvalidState:
        if client.get_container(uuid).status == "Creating":
            return ""
        raise


def fetch(client: Client, uuid: str, asked: int, *, shrink: bool = False) -> Window | None:
    """The last `asked` records of the log with timestamps; fewer where those are too large for one answer. None: the
    container is between two states, and the site says nothing.

    Args:
        shrink: also ask for fewer where the site answers 5xx: on k8s one line that is not UTF-8 makes the site
            fail for as long as it is among the last ones.

    Raises:
        errors.ReplyTooLong: even the last line alone is too large.
        errors.SiteError: as `Client.logs`.
    """
    wanted, failed = asked, False
    while True:
        try:
            window = window_of(client.logs(uuid, timestamps=True, tail=asked, limit=FETCH_BYTES), asked)
        except InvalidState:  # noqa: PERF203 - a retry loop
            return None
        except (ReplyTooLong, ServerError) as problem:
            failed = isinstance(problem, ServerError)
            if asked == 1 or not (shrink or not failed):
                raise
            asked = max(1, asked // _SHRINK)
        else:
            break
    if failed:  # is it the number of lines, or was the site ill for a moment?
        with contextlib.suppress(ReplyTooLong, ServerError, InvalidState):
            return window_of(client.logs(uuid, timestamps=True, tail=wanted, limit=FETCH_BYTES), wanted)
    return window


def streams_of(client: Client, uuid: str, lines: list[str]) -> list[Stream | None]:
    """On which stream each of these new raw lines came; None where the site does not tell.

    Docker can be asked for stderr alone. What came on both streams, and in which order, is known already from asking
    for both in one; so this second, short answer only has to say which of the lines are stderr's. Two answers merged
    by time would not keep the order of equal timestamps, and are not of one moment.
    """
    unknown: list[Stream | None] = [None] * len(lines)
    if not lines or len(lines) > _LABELLED or not client.dialect.supports("log_streams"):
        return unknown
    times = [time for time in (stamp_ns(split_stamp(line)[0]) for line in lines) if time is not None]
    if not times:
        return unknown
    try:
        text = client.logs(
            uuid,
            stdout=False,
            timestamps=True,
            tail=2 * len(lines) + 50,
            # without it the site goes through the whole log in search of the last lines on stderr
            since=str(min(times) // 1_000_000_000),
            limit=FETCH_BYTES,
        )
    except SiteError:
        return unknown  # a label is not worth an error
    window = window_of(text, 2 * len(lines) + 50)
    if window.full:
        return unknown
    errors = {*window.lines, window.rest}
    return ["stderr" if line in errors else "stdout" for line in lines]
