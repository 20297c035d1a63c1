"""A container's log: pages, search, download."""

from __future__ import annotations

import math
from typing import Annotated

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, Field
from tornado import web
from tornado.iostream import StreamClosedError

from chi_edge_lab.core.logs import LogLine, stamp_ns
from chi_edge_lab.core.logs.ring import Ring
from chi_edge_lab.core.logs.search import QUERY_LONGEST, Query, lines_of, search
from chi_edge_lab.errors import BadInput
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import Problem, problem_of
from chi_edge_lab.server.handler import RESOURCE, EdgeHandler
from chi_edge_lab.server.logs.wire import Line, line_of
from chi_edge_lab.server.operations import CONTAINER, document, operation, route

_PAGE = 10_000  # lines
_REPLY = 4 << 20  # characters of the lines in one reply
_CHUNK = 1 << 20  # characters of a download that are held at a time
Number = Annotated[int, Field(ge=0, le=2**53)]


class PageQuery(BaseModel):
    """Which lines: those before number `before`, or from number `after` on, or from the time `since` on (RFC 3339, or
    seconds since 1970), at most `limit`; else the last `tail` ones. `timestamps` false leaves the times out.
    """

    tail: int = Field(500, ge=0, le=_PAGE)
    before: Number | None = None
    after: Number | None = None
    since: str | None = Field(None, max_length=64)
    limit: int = Field(500, ge=1, le=_PAGE)
    timestamps: bool = True


class LogPage(BaseModel):
    """Lines, as [number, time, stream, text, 0, kind] (kind: a level, "gap", "incarnation" or null).

    The server keeps lines `first` to `next` - 1. `problem` is set while the site fails: the lines are those known.
    """

    lines: list[Line]
    first: int
    next: int
    problem: Problem | None = None


class SearchQuery(BaseModel):
    """What is looked for: `query` as plain text, or `regex`; `case` matters; `word`: not inside of a longer word;
    `inverse`: lines without it; `level`: only these, with commas between. `limit` matches from number `cursor` on are
    returned (`backward`: the last ones before it).
    """

    query: str = Field("", max_length=QUERY_LONGEST)
    case: bool = False
    word: bool = False
    regex: bool = False
    inverse: bool = False
    level: str = Field("", max_length=100)
    limit: int = Field(100, ge=0, le=1000)
    cursor: Number | None = None
    backward: bool = False


class SearchReply(LogPage):
    """Lines that match, and `total`, how many there are in all. `complete` false: the regular expression took too long,
    and lines before number `searched` only were looked at. `cursor` goes on from here, null at the end.
    """

    total: int
    complete: bool
    searched: int
    cursor: int | None


class DownloadQuery(BaseModel):
    """`timestamps`: begin each line with its time."""

    timestamps: bool = False


@operation("GET", CONTAINER + "/logs", "read")
async def get_logs(call: Call, query: PageQuery) -> LogPage:
    """Lines of a container's log, as far back as the server keeps them."""
    log = await call.services.logs.of(call)
    await log.refresh()
    lines = await call.services.calls.run(_page, log.ring, query)
    return LogPage(
        lines=[line_of(line, timestamp=query.timestamps) for line in lines],
        first=log.ring.first,
        next=log.ring.next,
        problem=problem_of(log.problem) if log.problem is not None else None,
    )


def _page(ring: Ring, query: PageQuery) -> list[LogLine]:
    if query.before is not None:
        return ring.before(query.before, query.limit, _REPLY)
    if query.after is not None:
        return ring.page(query.after, query.limit, _REPLY)
    if query.since is not None:
        return ring.page(ring.at_time(_time_ns(query.since)), query.limit, _REPLY)
    return ring.last(query.tail, _REPLY) if query.tail else []


def _time_ns(text: str) -> int:
    found = stamp_ns(text)
    if found is None:
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 <= seconds < 1e10:
            raise BadInput(
                f"{text!r} is not a time.", hint="RFC 3339 (2026-11-23T12:00:00Z), or seconds since 1970."
            )
        found = int(seconds * 1e9)
    return found


@operation("GET", CONTAINER + "/logs/search", "read")
async def search_logs(call: Call, query: SearchQuery) -> SearchReply:
    """Search a container's log, as far back as the server keeps it."""
    wanted = Query(
        query.query,
        case=query.case,
        word=query.word,
        regex=query.regex,
        inverse=query.inverse,
        levels=[level.strip() for level in query.level.split(",") if level.strip()],
    )
    log = await call.services.logs.of(call)
    await log.refresh()

    def look() -> SearchReply:
        ring = log.ring
        found = search(ring, wanted, start=query.cursor, backward=query.backward, limit=query.limit)
        lines = lines_of(ring, found, _REPLY)
        more = len(lines) == query.limit and bool(lines)
        return SearchReply(
            lines=[line_of(line) for line in lines],
            first=ring.first,
            next=ring.next,
            total=found.total,
            complete=found.complete,
            searched=found.searched,
            cursor=(lines[0].seq if query.backward else lines[-1].seq + 1) if more else None,
        )

    return await call.services.calls.run(look)


_DOWNLOAD = document(
    "GET", CONTAINER + "/logs/download", "read", name="download_logs", tag="logs", query=DownloadQuery,
    summary="A container's log as a text file, as far back as the server keeps it.", reply_type="text/plain",
)  # fmt: skip


class LogDownload(EdgeHandler):
    """Streams a ring as text."""

    @web.authenticated
    @authorized("read", resource=RESOURCE)  # type: ignore[untyped-decorator]
    async def get(self, **path: str) -> None:
        """Send the lines that are there now, a piece at a time."""
        try:
            query = self.parse_query(DownloadQuery)
            log = await self.services.logs.of(self.call_for(path))
            await log.refresh()
        except Exception as error:  # noqa: BLE001 - the one place where errors become answers
            self.fail(error)
            return
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Content-Disposition", f'attachment; filename="{log.uuid[:8]}.log"')
        number, end = log.ring.first, log.ring.next
        try:
            while number < end:
                data, number = await self.services.calls.run(
                    _text, log.ring, number, end, timestamps=query.timestamps
                )
                self.write(data)
                await self.flush()  # a slow reader holds us here, with one piece in memory
        except StreamClosedError:
            return
        await self.finish(set_content_type="text/plain; charset=utf-8")


def _text(ring: Ring, number: int, end: int, *, timestamps: bool) -> tuple[bytes, int]:
    """A piece of the ring as text, and the number to go on with."""
    lines = [line for line in ring.page(number, _PAGE, _CHUNK) if line.seq < end]
    if not lines:
        return b"", end
    text = "".join(f"{line.stamp} {line.text}\n" if timestamps else f"{line.text}\n" for line in lines)
    return text.encode("utf-8", "replace"), lines[-1].seq + 1


route(_DOWNLOAD.path, LogDownload)
