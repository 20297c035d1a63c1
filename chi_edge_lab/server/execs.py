"""Commands that take longer than a request: started, followed, killed.

The command runs detached in the container (see `core.detached`); its output is read in steps while it runs, by the
poll threads, and the end of it is kept.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chi_edge_lab import errors
from chi_edge_lab.core import detached
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import LimitReached, Missing, Problem, problem_of
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import TopicRequest, topic

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

log = logging.getLogger(__name__)

_FIRST, _LONGEST = 0.1, 1.0  # seconds between readings of a command that runs


@dataclass(eq=False)
class Exec:
    """One command. `output` is the end of what it printed, `dropped` the characters before it."""

    id: str
    site: str
    project: str | None
    uuid: str
    command: str
    run: detached.Detached
    started: float
    feed: Feed
    output: str = ""
    dropped: int = 0
    exit_code: int | None = None
    problem: Problem | None = None
    ended: float | None = None
    task: asyncio.Task[None] | None = None
    decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), repr=False
    )


class Execs:
    """The long execs of this server. Used on the loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._known: dict[str, Exec] = {}

    def list(self) -> list[Exec]:
        """All that run or have run, oldest first."""
        return list(self._known.values())

    def get(self, id: str) -> Exec:
        """One by id. Raises Missing."""
        try:
            return self._known[id]
        except KeyError:
            raise Missing(f"There is no command {id!r} on this server.", hint="It was forgotten.") from None

    def check_room(self) -> None:
        """Pass if one more may run; those that have ended make room. Raises LimitReached."""
        limit = self._services.limits.execs
        for one in list(self._known.values()):
            if len(self._known) < limit:
                break
            if one.ended is not None:
                del self._known[one.id]
        if len(self._known) >= limit:
            raise LimitReached(
                f"{limit} commands run already, which is this server's limit.",
                hint="Wait for one, or end one.",
            )

    def follow(self, call: Call, command: str, run: detached.Detached, first: bytes = b"") -> Exec:
        """Follow a command that was started; `first` is what was read of it already."""
        limits = self._services.limits
        feed = Feed(entries=limits.feed_entries, size=limits.exec_output)
        one = Exec(
            secrets.token_urlsafe(9), call.site, call.project, call.uuid, command, run, time.time(), feed
        )
        self._known[one.id] = one
        self._add(one, first)
        one.task = asyncio.create_task(self._follow(one))
        return one

    async def _follow(self, one: Exec) -> None:
        pause = _FIRST
        try:
            while True:
                piece = await self._services.polls.run(one.run.read)
                self._add(one, piece)
                if one.run.finished:
                    break
                pause = _FIRST if piece else min(pause * 1.5, _LONGEST)
                if one.run.taken >= one.run.size:
                    await asyncio.sleep(pause)
            self._add(one, b"", final=True)
            await self._services.polls.run(one.run.discard)
        except errors.EdgeLabError as error:
            one.problem = problem_of(error)
        finally:
            one.exit_code = one.run.exit_code
            one.ended = time.time()
            problem = one.problem.model_dump() if one.problem else None
            one.feed.end("exit", {"exit_code": one.exit_code, "problem": problem})

    def _add(self, one: Exec, piece: bytes, *, final: bool = False) -> None:
        text = one.decoder.decode(piece, final)
        if not text:
            return
        one.output += text
        excess = len(one.output) - self._services.limits.exec_output
        if excess > 0:
            one.output = one.output[excess:]
            one.dropped += excess
        one.feed.publish("output", {"text": text})

    async def end(self, id: str) -> None:
        """Kill the command if it runs, remove its files from the container, and forget it.

        Raises:
            Missing, and the client's errors where it could not be killed; then it is still known.
        """
        one = self.get(id)
        if one.ended is None:
            await self._services.calls.run(one.run.kill)
            if one.task is not None:
                one.task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await one.task
            await self._services.calls.run(one.run.discard)
        self._known.pop(id, None)

    async def stop(self) -> None:
        """End all of them, in the containers too; what cannot be ended is told to the log."""
        running = [one for one in self._known.values() if one.ended is None]
        for one in running:
            if one.task is not None:
                one.task.cancel()
        if running:
            endings = [self._services.calls.run(one.run.end) for one in running]
            for said in await asyncio.gather(*endings, return_exceptions=True):
                log.info("a command was given up: %s", said)
        self._known.clear()


class ExecRequest(TopicRequest):
    """Which command."""

    exec_id: str


class _Known(Producer):
    """The feed of a command is filled whether or not somebody reads it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    async def run(self) -> None:
        await asyncio.Event().wait()


@topic("exec", "execute")
async def open_exec(call: Call, request: ExecRequest) -> Lease:
    """The output of a long command: `output` {"text"}, at last `exit` {"exit_code", "problem"}."""
    one = call.services.execs.get(request.exec_id)
    return call.services.hub.acquire(("exec", one.id), _Known(one.feed))
