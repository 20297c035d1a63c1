"""A terminal as the API and the feed show it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

if TYPE_CHECKING:
    from chi_edge_lab.server.terminals.session import Session


class TerminalReport(BaseModel):
    """A terminal. `name` is its container's; `message` says why the state is what it is; `readers` look at it now."""

    id: str
    site: str
    project: str | None
    uuid: str
    name: str
    command: str
    user: str | None
    rows: int
    cols: int
    state: Literal["open", "reconnecting", "closed"]
    message: str
    exit_code: int | None
    created: datetime
    readers: int
    recording: bool


def report(session: Session) -> TerminalReport:
    """How a terminal does."""
    terminal = session.terminal
    return TerminalReport(
        id=session.id, site=session.site, project=session.project, uuid=terminal.uuid, name=session.name,
        command=terminal.command, user=terminal.user, rows=terminal.rows, cols=terminal.cols, state=session.state,
        message=session.message, exit_code=session.exit_code, created=session.created,
        readers=len(session.viewers), recording=session.recording is not None,
    )  # fmt: skip
