"""Which terminals there are, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chi_edge_lab.core.terminal import Terminal
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import LimitReached, Missing
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import TopicRequest, topic
from chi_edge_lab.server.terminals.models import TerminalReport, report
from chi_edge_lab.server.terminals.recording import Recording
from chi_edge_lab.server.terminals.session import Session

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

log = logging.getLogger(__name__)

_LOOK = 15.0  # seconds between the looks for idle terminals


class Terminals(Producer):
    """The terminals of this server. Used on the loop."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._sessions: dict[str, Session] = {}
        self._opening = 0
        self._idle: asyncio.Task[None] | None = None
        self.feed = Feed(entries=500, size=1 << 20, snapshot=self._snapshot)

    def list(self) -> list[TerminalReport]:
        """All of them, oldest first."""
        return [report(session) for session in self._sessions.values()]

    def get(self, id: str) -> Session:
        """One by id. Raises Missing."""
        try:
            return self._sessions[id]
        except KeyError:
            raise Missing(
                f"There is no terminal {id!r} on this server.", hint="It was closed; open a new one."
            ) from None

    async def create(self, call: Call, *, command: str, user: str | None, rows: int, cols: int) -> Session:
        """Open a shell in the call's container.

        Raises LimitReached, and what `core.terminal.Terminal` raises.
        """
        limits = self._services.limits
        if len(self._sessions) + self._opening >= limits.terminals:
            self._forget_ended()
        if len(self._sessions) + self._opening >= limits.terminals:
            raise LimitReached(
                f"{limits.terminals} terminals are open, which is this server's limit.",
                hint="Close one, or raise c.EdgeLabLimits.terminals.",
            )
        self._opening += 1
        try:

            def dial() -> tuple[Terminal, str]:
                client = call.container()
                name = client.get_container(call.uuid).name or call.uuid
                terminal = Terminal(client, call.uuid, command=command, user=user, rows=rows, cols=cols)
                return terminal, name

            terminal, name = await self._services.calls.run(dial)
        finally:
            self._opening -= 1
        session = Session(
            secrets.token_urlsafe(12), terminal, limits, site=call.site, project=call.project, name=name,
            on_change=self._changed,
        )  # fmt: skip
        self._sessions[session.id] = session
        session.start()
        self._changed(session)
        if self._idle is None:
            self._idle = asyncio.create_task(self._watch_idle())
        return session

    async def close(self, id: str) -> None:
        """End a terminal's shell and forget it. Raises Missing."""
        session = self.get(id)
        await self._services.calls.run(session.close)
        self._forget(session)

    def _forget_ended(self) -> None:
        """Shells that have ended and that nobody looks at keep no place."""
        for session in list(self._sessions.values()):
            if session.state == "closed" and not session.viewers:
                self._forget(session)

    def _forget(self, session: Session) -> None:
        if self._sessions.pop(session.id, None) is not None:
            self.feed.publish("diff", {"changed": [], "removed": [session.id]})

    def record(self, session: Session, on: bool) -> None:
        """Begin or end to record a terminal."""
        if not on:
            session.record(None)
        elif session.recording is None and session.state != "closed":
            name = f"{time.strftime('%Y%m%d-%H%M%S')}-{session.id}.cast"
            terminal = session.terminal
            limit = self._services.limits.recording_bytes
            session.record(Recording(self.recordings / name, terminal.rows, terminal.cols, limit=limit))

    @property
    def recordings(self) -> Path:
        """Where recordings are."""
        return self._services.data_dir / "recordings"

    def _changed(self, session: Session) -> None:
        if session.id in self._sessions:
            self.feed.publish("diff", {"changed": [report(session).model_dump(mode="json")], "removed": []})

    def _snapshot(self) -> Iterable[dict[str, Any]]:
        yield {"terminals": [one.model_dump(mode="json") for one in self.list()]}

    async def run(self) -> None:
        """The feed is filled whether or not somebody reads it."""
        await asyncio.Event().wait()

    async def _watch_idle(self) -> None:
        limit = self._services.limits.terminal_idle
        while limit:
            await asyncio.sleep(min(_LOOK, limit / 4))
            now = time.monotonic()
            for session in list(self._sessions.values()):
                if not session.viewers and now - session.last_active > limit:
                    log.info("terminal %s was idle for %d s and is closed", session.id, limit)
                    with contextlib.suppress(Missing):
                        await self.close(session.id)

    async def stop(self) -> None:
        """End all of them; no shell is left behind."""
        if self._idle is not None:
            self._idle.cancel()
        closings = [self._services.calls.run(session.close) for session in self._sessions.values()]
        for failed in await asyncio.gather(*closings, return_exceptions=True):
            if failed is not None:
                log.info("a terminal could not be closed: %r", failed)
        self._sessions.clear()


@topic("terminals", "execute")
async def open_terminals(call: Call, request: TopicRequest) -> Lease:
    """The terminals of this server: `snapshot` {"terminals": [...]}, then `diff` {"changed", "removed"}."""
    return call.services.hub.acquire("terminals", call.services.terminals)
