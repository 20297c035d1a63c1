"""Terminals: open, list, close; and their recordings."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.core.terminal import DEFAULT_SHELL
from chi_edge_lab.core.ttys import LARGEST_SIZE
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import Missing
from chi_edge_lab.server.operations import CONTAINER, Payload, operation
from chi_edge_lab.server.terminals.models import TerminalReport, report

_NAME = re.compile(r"\d{8}-\d{6}-[A-Za-z0-9_-]{1,64}")


class NewTerminal(BaseModel):
    """`command` and `user` may be chosen where the site can (`exec_terminal` of its capabilities)."""

    model_config = ConfigDict(extra="forbid")

    command: str = Field(DEFAULT_SHELL, max_length=4096)
    user: str | None = Field(None, max_length=32)
    rows: int = Field(24, ge=1, le=LARGEST_SIZE)
    cols: int = Field(80, ge=1, le=LARGEST_SIZE)


class TerminalList(BaseModel):
    """The terminals of this server."""

    terminals: list[TerminalReport]


class Switch(BaseModel):
    """On or off."""

    model_config = ConfigDict(extra="forbid")

    on: bool


class RecordingEntry(BaseModel):
    """A recording; `size` is in bytes."""

    id: str
    size: int
    changed: datetime


class RecordingList(BaseModel):
    """The recordings that are kept."""

    recordings: list[RecordingEntry]


@operation("POST", CONTAINER + "/terminals", "execute", status=201)
async def open_terminal(call: Call, body: NewTerminal) -> TerminalReport:
    """Open a shell in a container; its bytes are at `/terminals/{id}/socket`."""
    session = await call.services.terminals.create(
        call, command=body.command, user=body.user, rows=body.rows, cols=body.cols
    )
    call.audit("terminal-open", terminal=session.id, name=session.name, command=body.command)
    return report(session)


@operation("GET", "/terminals", "read")
async def list_terminals(call: Call) -> TerminalList:
    """The terminals of this server."""
    return TerminalList(terminals=call.services.terminals.list())


@operation("GET", "/terminals/{id}", "read")
async def get_terminal(call: Call, id: str) -> TerminalReport:
    """One terminal."""
    return report(call.services.terminals.get(id))


@operation("DELETE", "/terminals/{id}", "execute")
async def close_terminal(call: Call, id: str) -> None:
    """End a terminal's shell and forget it."""
    await call.services.terminals.close(id)


@operation("PUT", "/terminals/{id}/recording", "execute")
async def record_terminal(call: Call, id: str, body: Switch) -> TerminalReport:
    """Begin or end to record what a terminal shows (never what is typed)."""
    session = call.services.terminals.get(id)
    call.services.terminals.record(session, body.on)
    return report(session)


@operation("GET", "/recordings", "read")
def list_recordings(call: Call) -> RecordingList:
    """The recordings that are kept, newest first."""
    found = sorted(call.services.terminals.recordings.glob("*.cast"), reverse=True)
    return RecordingList(recordings=[_entry(path) for path in found if _NAME.fullmatch(path.stem)])


@operation("GET", "/recordings/{id}", "read", reply_type="application/x-asciicast")
def get_recording(call: Call, id: str) -> Payload:
    """A recording as asciicast v2."""
    path = _path(call, id)
    return Payload(path.read_bytes(), "application/x-asciicast", path.name)


@operation("DELETE", "/recordings/{id}", "write")
def delete_recording(call: Call, id: str) -> None:
    """Delete a recording."""
    _path(call, id).unlink()


def _entry(path: Path) -> RecordingEntry:
    status = path.stat()
    changed = datetime.fromtimestamp(status.st_mtime, timezone.utc)
    return RecordingEntry(id=path.stem, size=status.st_size, changed=changed)


def _path(call: Call, id: str) -> Path:
    path = call.services.terminals.recordings / f"{id}.cast"
    if not _NAME.fullmatch(id) or not path.is_file():
        raise Missing(f"There is no recording {id!r}.")
    return path
