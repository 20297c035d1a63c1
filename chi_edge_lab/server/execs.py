"""Commands that take longer than a request: started, followed, killed.

A command runs detached in its container (core.detached); here its output is read in steps, each a short exec on the
polling threads, so that none of them holds a thread. The last part of the output is kept, bounded.

When the server stops, the commands that still run are killed and their files removed from their containers, as far as
the sites answer within `STOP_SECONDS`: nobody could get at their output any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from chi_edge_lab import errors
from chi_edge_lab.core.detached import Detached
from chi_edge_lab.server.failures import LimitReached, Missing

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

STOP_SECONDS = 5.0  # a site that is ill must not keep the Jupyter server from stopping
_POLL_FIRST, _POLL_LONGEST, _POLL_GROWTH = 0.2, 2.0, 1.3  # seconds between readings of a quiet command
_SICK_FOR = 120.0  # seconds for which a site that does not answer is asked again
_SICK_PAUSE = 5.0

State = Literal["running", "ended", "lost"]


class Part(NamedTuple):
    """A part of an output: the bytes `offset` to `next`, as text."""

    offset: int
    text: str
    next: int


@dataclass(eq=False)
class Exec:
    """One command. `output` is the last part of what it printed; `dropped` bytes came before that."""

    id: str
    site: str
    project: str | None
    uuid: str
    command: tuple[str, ...]
    run: Detached
    keep: int  # bytes of output kept, at the most
    started: float = field(default_factory=time.time)
    state: State = "running"
    exit_code: int | None = None
    error: errors.EdgeLabError | None = None  # why nothing is known of it
    output: bytearray = field(default_factory=bytearray)
    dropped: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)  # set and replaced at each change
    step: asyncio.Lock = field(default_factory=asyncio.Lock)  # one exec at a time about it

    @property
    def size(self) -> int:
        """Bytes it has printed so far, as far as they were read."""
        return self.dropped + len(self.output)

    def part(self, offset: int, end: int | None = None) -> Part:
        """The output from byte `offset` on (to `end`), as far as it is kept.

        A character that has come in part is left for the next part while the command runs.
        """
        begin = min(max(offset, self.dropped), self.size)
        stop = self.size if end is None else max(begin, min(end, self.size))
        data = bytes(self.output[begin - self.dropped : stop - self.dropped])
        if self.state == "running":
            data = data[: len(data) - _cut_off(data)]
        return Part(begin, data.decode("utf-8", "replace"), begin + len(data))

    def add(self, piece: bytes) -> None:
        """Output that has come."""
        self.output += piece
        excess = len(self.output) - self.keep
        if excess > 0:
            del self.output[:excess]
            self.dropped += excess

    def is_running(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self.state == "running"

    def tell(self) -> None:
        """Wake those who follow it."""
        self.changed.set()
        self.changed = asyncio.Event()

    def finish(self, state: State, error: errors.EdgeLabError | None = None) -> None:
        """It has ended, or nothing is known of it any more."""
        self.state, self.error, self.exit_code = state, error, self.run.exit_code
        self.tell()


def _cut_off(data: bytes) -> int:
    """How many bytes at the end are the beginning of a character."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            return 0
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if back < length else 0
    return 0


class Execs:
    """The long execs of this server. Used on the loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._execs: dict[str, Exec] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starting = 0

    def __len__(self) -> int:
        return len(self._execs)

    def all(self) -> list[Exec]:
        """Those that run and those that are still kept, oldest first."""
        return list(self._execs.values())

    def get(self, id: str) -> Exec:
        """One of them. Raises Missing."""
        found = self._execs.get(id)
        if found is None:
            raise Missing(
                f"There is no exec {id} on this server.",
                hint="It may have ended long ago: they are not kept for ever.",
            )
        return found

    @contextlib.contextmanager
    def room(self) -> Iterator[None]:
        """Hold a place while a command is being started. Raises LimitReached: there is none."""
        limit = self._services.limits.execs
        if len(self._execs) + self._starting >= limit:
            self._drop_ended(len(self._execs) + self._starting - limit + 1)
        if len(self._execs) + self._starting >= limit:
            raise LimitReached(
                f"This server follows {limit} commands already, which is its limit.",
                hint="End one of them, or raise c.EdgeLabLimits.execs.",
            )
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1

    def adopt(
        self, run: Detached, *, site: str, project: str | None, command: Iterable[str], output: bytes = b""
    ) -> Exec:
        """Follow a command that was started; `output` is what was read of it already."""
        made = Exec(
            secrets.token_urlsafe(12), site, project, run.uuid, tuple(command), run, self._services.limits.exec_output
        )  # fmt: skip
        made.add(output)
        self._execs[made.id] = made
        self._tasks[made.id] = asyncio.create_task(self._follow(made))
        return made

    async def end(self, id: str) -> Exec:
        """Kill a command that still runs, remove its files from the container and forget it.

        Raises:
            Missing: there is none. errors.EdgeLabError: it could not be killed; it is kept then.
        """
        found = self.get(id)
        async with found.step:
            if found.state == "running":
                await self._services.calls.run(found.run.kill)
                with contextlib.suppress(errors.EdgeLabError):  # killed; its files go with the container
                    await self._services.calls.run(found.run.discard)
                found.finish("ended")
        self.forget(id)
        return found

    async def stop(self) -> None:
        """Kill those that still run, for at most STOP_SECONDS, and end all that follows them."""
        running = [one.id for one in self._execs.values() if one.state == "running"]
        if running:
            ending = [asyncio.create_task(self.end(id)) for id in running]
            await asyncio.wait(ending, timeout=STOP_SECONDS)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
        tasks = list(self._tasks.values())
        for id in list(self._execs):
            self.forget(id)
        await asyncio.gather(*tasks, return_exceptions=True)

    def forget(self, id: str) -> None:
        """Keep one no longer; what still runs goes on in its container."""
        self._execs.pop(id, None)
        task = self._tasks.pop(id, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def _drop_ended(self, count: int) -> None:
        ended = [one.id for one in self._execs.values() if one.state != "running"]
        for id in ended[:count]:
            self.forget(id)

    async def _follow(self, one: Exec) -> None:
        pause, sick_since = _POLL_FIRST, 0.0
        while one.is_running():
            try:
                async with one.step:
                    if not one.is_running():
                        break
                    piece = await self._services.polls.run(one.run.read)
                    one.add(piece)
                    if one.run.finished:
                        await self._remove_files(one)
                        one.finish("ended")
                        break
                sick_since = 0.0
            except (
                errors.Unreachable,
                errors.ServerError,
                errors.TooManyRequests,
                errors.ExecTimeout,
            ) as error:
                sick_since = sick_since or time.monotonic()
                if time.monotonic() - sick_since > _SICK_FOR:
                    one.finish("lost", error)
                    break
                await asyncio.sleep(_SICK_PAUSE)
                continue
            except errors.EdgeLabError as error:
                one.finish("lost", error)
                break
            if piece:
                one.tell()
            pause = _POLL_FIRST if piece else min(pause * _POLL_GROWTH, _POLL_LONGEST)
            await asyncio.sleep(0.0 if one.run.taken < one.run.size else pause)
        await asyncio.sleep(self._services.limits.exec_keep)
        self.forget(one.id)

    async def _remove_files(self, one: Exec) -> None:
        # its output is here; what is left in a container that cannot be asked goes with it
        with contextlib.suppress(errors.EdgeLabError):
            await self._services.polls.run(one.run.discard)
