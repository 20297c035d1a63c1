"""How docker says things: statuses, times, signals, modes of files."""

from __future__ import annotations

import datetime as dt
import signal as signals
import stat as stat_module
import time
from typing import Any

from chi_edge_lab.local.engines.base import PathStat, State
from chi_edge_lab.local.zunapi import states
from chi_edge_lab.local.zunapi.errors import ServerFault
from chi_edge_lab.local.zunapi.model import Container


def status_of(row: Container, state: State) -> tuple[str, str | None]:
    """Status and status_detail, in docker's phrases."""
    if state.status == "running":
        return states.RUNNING, _phrase("Up {}", state.started_at)
    if state.status == "paused":
        return states.PAUSED, _phrase("Up {} (paused)", state.started_at)
    if (
        state.status == "created" and state.error
    ):  # it could not be started: upstream's look makes Created of that
        return states.CREATED, f"Exited({state.exit_code or 127})  ago (error)"
    if state.status == "created":
        keeps = {states.CREATED, states.RESTARTING, states.ERROR, states.REBUILDING}
        return (row.status, row.status_detail) if row.status in keeps else (states.CREATED, "Created")
    tail = " (error)" if state.error else " "
    code = state.exit_code if state.exit_code is not None else 137
    return states.STOPPED, f"Exited({code}) {_ago(state.finished_at)} ago{tail}"


def _phrase(text: str, since: float | None) -> str | None:
    ago = _ago(since)
    return text.format(ago) if ago is not None else None


def _ago(since: float | None) -> str | None:
    """ "5 seconds", "3 mins", ...: one unit. None in the first second, as in Zun (which then prints "None")."""
    if since is None:
        return None
    seconds = int(time.time() - since)
    if seconds >= 86400:
        return f"{seconds // 86400} days"
    if seconds >= 3600:
        return f"{seconds // 3600} hours"
    if seconds >= 60:
        return f"{seconds // 60} mins"
    return f"{seconds} seconds" if seconds > 0 else None


def signal_number(signal: str | None) -> int:
    """The number of a signal as the API spells it; KILL when none is named."""
    if signal is None or signal == "None":
        return signals.SIGKILL
    if signal.isdigit():
        return int(signal)
    return signals.Signals["SIG" + signal.upper().removeprefix("SIG")]


def since_ns(since: str | None) -> int | None:
    """Nanoseconds since the epoch. The schema has checked the form."""
    if not since:
        return None
    if since.isdigit():
        return int(since) * 1_000_000_000
    try:
        moment = dt.datetime.strptime(f"{since} +0000", "%Y-%m-%d %H:%M:%S,%f %z")
    except ValueError as error:
        raise ServerFault(f"no such time: {since}") from error
    return int(moment.timestamp()) * 1_000_000_000


_GO_MODES = (
    (stat_module.S_ISDIR, 1 << 31),
    (stat_module.S_ISLNK, 1 << 27),
    (stat_module.S_ISBLK, 1 << 26),
    (stat_module.S_ISFIFO, 1 << 25),
    (stat_module.S_ISSOCK, 1 << 24),
    (stat_module.S_ISCHR, 1 << 26 | 1 << 21),
)


def docker_stat(found: PathStat) -> dict[str, Any]:
    """The stat of an archive, its mode in Go's bits."""
    mode = found.mode & 0o777
    for is_kind, bit in _GO_MODES:
        if is_kind(found.mode):
            mode |= bit
    for posix, go in (
        (stat_module.S_ISUID, 1 << 23),
        (stat_module.S_ISGID, 1 << 22),
        (stat_module.S_ISVTX, 1 << 20),
    ):
        if found.mode & posix:
            mode |= go
    moment = dt.datetime.fromtimestamp(found.mtime, dt.timezone.utc)
    return {
        "name": found.name,
        "size": found.size,
        "mode": mode,
        "mtime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "linkTarget": found.link_target,
    }
