"""The output of a long exec as it comes.

Topic `exec` (+`exec_id`): `snapshot` {"running", "exit_code", "problem", "offset", "text", "next"} with what is kept so
far, then `output` {"offset", "text", "next"} (offsets are bytes) and, if it ran, `exit` {"exit_code", "problem"}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.execs import Exec
from chi_edge_lab.server.failures import problem_of
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import TopicRequest, topic
from chi_edge_lab.server.operations import PATTERNS


class ExecOutput(Producer):
    """Publishes what one exec prints, for those who follow it."""

    def __init__(self, one: Exec, *, entries: int, size: int) -> None:
        self._exec = one
        self._next = one.part(one.dropped).next  # published, or in the first snapshot
        self._running = one.is_running()  # as was published
        self.feed = Feed(entries=entries, size=size, snapshot=self._snapshot)

    async def run(self) -> None:
        """Publish until the exec has ended."""
        while self._running:
            changed = self._exec.changed
            part = self._exec.part(self._next)
            if part.text:
                self._next = part.next
                self.feed.publish("output", part._asdict())
            if self._exec.is_running():
                await changed.wait()
            else:
                self._running = False
                self.feed.publish("exit", self._end())

    def _end(self) -> dict[str, Any]:
        error = self._exec.error
        return {
            "exit_code": self._exec.exit_code,
            "problem": problem_of(error).model_dump() if error else None,
        }

    def _snapshot(self) -> Iterable[Mapping[str, Any]]:
        end = {"exit_code": None, "problem": None} if self._running else self._end()
        yield {"running": self._running, **end, **self._exec.part(0, self._next)._asdict()}


class ExecRequest(TopicRequest):
    """A request for the output of an exec."""

    exec_id: str = Field(pattern=f"^{PATTERNS['id']}$")


@topic("exec", "execute")
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
