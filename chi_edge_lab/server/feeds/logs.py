"""Topic `logs`: the lines of one container, or of several merged by time, as they come.

Request: {"name": "logs", "site", "project", "containers": [uuid, ...], "tail": n}. First `snapshot` with the last
`tail` lines, then `lines` (see `logs.wire.LogLines`), many in one message, and `state` when the site fails for a
container or works again. At the end of the last container `error` with the reason (code container-gone).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from chi_edge_lab.core.logs.ring import merged
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import problem_of
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import TopicRequest, topic
from chi_edge_lab.server.logs import FollowedLog
from chi_edge_lab.server.logs.wire import Line, line_of, parts_of
from chi_edge_lab.server.operations import UUID

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

_BATCH = 5000  # lines of one container that are read from its ring at a time
_PAUSE = 0.05  # seconds between messages: lines that come meanwhile travel together


class LogsRequest(TopicRequest):
    """A request for the lines of some containers."""

    containers: list[Annotated[str, Field(pattern=f"^{UUID}$")]] = Field(min_length=1, max_length=50)
    tail: int = Field(500, ge=0, le=10_000)


class LogFeed(Producer):
    """Publishes what comes into the rings of some containers."""

    def __init__(self, services: Services, logs: list[FollowedLog], tail: int) -> None:
        limits = services.limits
        self.feed = Feed(entries=limits.feed_entries, size=limits.feed_bytes, snapshot=self._snapshot)
        self._services = services
        self._logs = logs
        self._tail = tail
        self._next: list[int | None] = [None] * len(logs)  # of each the first line that is not published
        self._codes: list[str] = [""] * len(logs)  # of the problems that were told

    async def run(self) -> None:
        """Publish until all containers are gone."""
        news = asyncio.Event()
        for log in self._logs:
            log.listen(news.set)
        try:
            while True:
                await news.wait()
                news.clear()
                gone = [log.gone for log in self._logs]  # looked at first: all lines were there then
                await self._publish()
                if gone[0] is not None and all(gone):
                    raise gone[0]
                await asyncio.sleep(_PAUSE)
        finally:
            for log in self._logs:
                log.leave(news.set)

    async def _publish(self) -> None:
        while lines := await self._services.polls.run(self._new_lines):
            for part in parts_of(lines):
                self.feed.publish("lines", {"lines": part, "more": False})
            for number, log in enumerate(self._logs):
                mine = [line[0] for line in lines if line[4] == number]
                if mine:
                    self._next[number] = mine[-1] + 1
                elif self._next[number] is None and log.ready:
                    self._next[number] = log.ring.next
        for number, log in enumerate(self._logs):
            problem = problem_of(log.problem).model_dump() if log.problem is not None else None
            code = problem["code"] if problem else ""
            if code != self._codes[number]:
                self._codes[number] = code
                self.feed.publish("state", {"container": number, "ok": problem is None, "problem": problem})

    def _new_lines(self) -> list[Line]:
        beginning = all(position is None for position in self._next)
        found = []
        for log, position in zip(self._logs, self._next, strict=True):
            if position is not None:
                found.append(log.ring.page(position, _BATCH))
            else:
                found.append(log.ring.last(self._tail) if self._tail and log.ready else [])
        lines = [line_of(line, number) for number, line in merged(*found)]
        return lines[-self._tail :] if beginning and self._tail else lines

    def _snapshot(self) -> Iterable[Mapping[str, Any]]:
        """The last lines that were published."""
        known = [
            log.ring.before(position, self._tail) if position is not None and self._tail else []
            for log, position in zip(self._logs, self._next, strict=True)
        ]
        lines = [line_of(line, number) for number, line in merged(*known)][-self._tail :]
        parts = list(parts_of(lines)) or [[]]
        for number, part in enumerate(parts, 1):
            yield {"lines": part, "more": number < len(parts)}


@topic("logs")
async def open_logs(call: Call, request: LogsRequest) -> Lease:
    """The lines of some containers."""
    uuids = list(dict.fromkeys(uuid.lower() for uuid in request.containers))
    logs = [await call.services.logs.of(call, uuid) for uuid in uuids]
    key = ("logs", request.tail, *(id(log) for log in logs))
    hub = call.services.hub
    return hub.acquire(key, hub.known(key) or LogFeed(call.services, logs, request.tail))
