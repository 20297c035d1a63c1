"""The output of a long exec as it comes.

Topic `exec` (+`exec_id`): `snapshot` {"exec": {...}, "offset": n, "text": "...", "next": n} with what is kept so far,
then `output` {"offset", "text", "next"} (offsets are bytes) and, when it has ended, `state` {"exec": {...}}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.execs import Exec
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import TopicRequest, topic
from chi_edge_lab.server.operations import PATTERNS


class ExecOutput(Producer):
    """Publishes what one exec prints, for those who follow it."""

    def __init__(self, one: Exec, *, entries: int, size: int) -> None:
        self._exec = one
        self._next = one.part(one.dropped).next  # published, or in the first snapshot
        self._told = one.told()
        self.feed = Feed(entries=entries, size=size, snapshot=self._snapshot)

    async def run(self) -> None:
        """Publish until the exec has ended."""
        while True:
            changed = self._exec.changed
            part = self._exec.part(self._next)
            if part.text:
                self._next = part.next
                self.feed.publish("output", part._asdict())
            if self._exec.state != "running":
                self._told = self._exec.told()
                self.feed.publish("state", {"exec": self._told.model_dump()})
                return
            await changed.wait()

    def _snapshot(self) -> Iterable[Mapping[str, Any]]:
        part = self._exec.part(0, self._next)
        yield {"exec": self._told.model_dump(), **part._asdict()}


class ExecRequest(TopicRequest):
    """A request for the output of an exec."""

    exec_id: str = Field(pattern=f"^{PATTERNS['id']}$")


@topic("exec")
async def open_exec(call: Call, request: ExecRequest) -> Lease:
    """The output of one exec. Raises Missing."""
    services = call.services
    one = services.execs.get(request.exec_id)
    key = ("exec", one.id)
    limits = services.limits
    known = services.hub.known(key)
    return services.hub.acquire(
        key, known or ExecOutput(one, entries=limits.feed_entries, size=limits.exec_output)
    )
