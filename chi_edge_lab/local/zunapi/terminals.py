"""Which websocket may be connected to what: tokens of attach and of interactive execs, and shells left behind.

One attach token per container, kept in its row: a new `attach` makes the older URL useless, open connections live on.
One token per exec; its process starts with the first connection and cannot be connected to again.
"""

from __future__ import annotations

import hmac
import secrets
import threading
import uuid as uuid_module
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chi_edge_lab.local.zunapi.errors import Conflict, Invalid, ServerFault

if TYPE_CHECKING:
    from chi_edge_lab.local.engines.base import Terminal
    from chi_edge_lab.local.zunapi.model import Container
    from chi_edge_lab.local.zunapi.site import Site


class BadToken(Exception):
    """No such container, exec or token."""


@dataclass
class Exec:
    """An interactive exec, from the call that made it until its process ends."""

    id: str
    container_uuid: str
    token: str = field(repr=False)
    argv: list[str] = field(default_factory=list)
    tty: bool = True
    terminal: Terminal | None = None
    started: bool = False
    ended: bool = False


class Terminals:
    """Tokens and interactive execs. Thread-safe."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._execs: dict[str, Exec] = {}

    # -- attach

    def new_attach(self, row: Container) -> str:
        """The websocket URL of the container; earlier ones are dead from now on."""
        token = str(uuid_module.uuid4())
        self._site.containers.change(row, websocket_token=token)
        return f"{self._site.ws_url}?token={token}&uuid={row.uuid}"

    def check_attach(self, uuid: str, token: str) -> Container:
        """The container whose attach token this is. Raises BadToken."""
        row = self._site.containers.get(uuid)
        if row is None or not row.websocket_token or not _same(token, row.websocket_token):
            raise BadToken
        return row

    # -- execs

    def new_exec(self, row: Container, argv: list[str], *, interactive: bool) -> tuple[str, str]:
        """(exec id, websocket URL) of an exec that starts when somebody connects."""
        made = Exec(secrets.token_hex(32), row.uuid, str(uuid_module.uuid4()), argv, tty=interactive)
        with self._lock:
            mine = [one for one in self._execs.values() if one.container_uuid == row.uuid]
            running = [one for one in mine if one.started and not one.ended]
            if len(running) >= self._site.limits.execs:
                raise Conflict(f"Container {row.uuid} has {len(running)} execs running already")
            spent = [one for one in mine if one not in running]
            for old in spent[: max(0, len(mine) + 1 - self._site.limits.execs)]:
                del self._execs[old.id]  # the oldest that nobody connected to, or that ended
            self._execs[made.id] = made
        return made.id, f"{self._site.ws_url}?token={made.token}&uuid={row.uuid}&exec_id={made.id}"

    def check_exec(self, uuid: str, token: str, exec_id: str) -> Exec:
        """The exec whose token this is. Raises BadToken."""
        with self._lock:
            found = self._execs.get(exec_id)
        if found is None or found.container_uuid != uuid or not _same(token, found.token):
            raise BadToken
        return found

    def start(self, found: Exec) -> Terminal | None:
        """Start its process; None when that was done before. Raises EngineError."""
        with self._lock:
            if found.started:
                return None
            found.started = True
        try:
            terminal = self._site.engine.terminal(found.container_uuid, found.argv, tty=found.tty)
        except BaseException:
            found.ended = True
            raise
        found.terminal = terminal
        return terminal

    def end(self, found: Exec) -> None:
        """Its process has ended."""
        with self._lock:
            found.ended = True
            found.terminal = None

    def resize(self, row: Container, exec_id: str, rows: int, cols: int) -> None:
        """Set the size of an exec's terminal. Raises Invalid for one that is not there, ServerFault before it runs."""
        with self._lock:
            found = self._execs.get(exec_id)
        if found is None or found.container_uuid != row.uuid or found.ended:
            raise Invalid(f"no such exec instance: {exec_id}", remote=True)
        if found.terminal is None:
            raise ServerFault("the exec has not been started")
        found.terminal.resize(rows, cols)

    def forget(self, uuid: str) -> None:
        """The container is gone."""
        with self._lock:
            for exec_id in [one.id for one in self._execs.values() if one.container_uuid == uuid]:
                del self._execs[exec_id]

    def close(self) -> None:
        """The site ends."""
        with self._lock:
            self._execs.clear()


def _same(given: str, right: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), right.encode())
