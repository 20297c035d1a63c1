"""The daemon's JSON in the words of `base`. Pure functions."""

from __future__ import annotations

import base64
import json
import re
import stat
from typing import Any

from chi_edge_lab.local.engines.base import EngineError, PathStat, State, Stats
from chi_edge_lab.local.engines.docker.frames import parse_time

# Go's os.FileMode bits and what they are in POSIX
_GO_TYPES = {1 << 31: stat.S_IFDIR, 1 << 27: stat.S_IFLNK, 1 << 25: stat.S_IFIFO, 1 << 24: stat.S_IFSOCK}
_GO_DEVICE, _GO_CHARACTER = 1 << 26, 1 << 21
_GO_SPECIAL = {1 << 23: stat.S_ISUID, 1 << 22: stat.S_ISGID, 1 << 20: stat.S_ISVTX}


def state_of(container: dict[str, Any]) -> State:
    """State from a container's inspection."""
    raw = container["State"]
    words = {"running": "running", "restarting": "running", "paused": "paused", "created": "created"}
    words["configured"] = words["initialized"] = "created"  # Podman's
    status: Any = words.get(raw["Status"], "exited")
    error = str(raw.get("Error") or "")
    if not error and raw.get("OOMKilled"):
        error = "Out of memory: the container went over its limit."
    started, finished = parse_time(raw.get("StartedAt") or ""), parse_time(raw.get("FinishedAt") or "")
    ended = status == "exited"
    return State(
        status=status,
        exit_code=int(raw["ExitCode"]) if ended else None,
        started_at=started / 1e9 if started else None,
        finished_at=finished / 1e9 if finished and ended else None,
        error=error,
        address=address_of(container),
    )


def address_of(container: dict[str, Any]) -> str | None:
    """The container's IPv4 address, if it has one now."""
    settings = container.get("NetworkSettings") or {}
    for network in (settings.get("Networks") or {}).values():
        if network.get("IPAddress"):
            return str(network["IPAddress"])
    return str(settings.get("IPAddress") or "") or None


def stats_of(raw: dict[str, Any]) -> Stats:
    """Stats from one sample of the daemon."""
    memory = raw.get("memory_stats") or {}
    details = memory.get("stats") or {}
    # what `docker stats` shows: without the page cache that may be dropped (named so by cgroup v1 and v2)
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    usage = memory.get("usage", 0)
    networks = (raw.get("networks") or {}).values()
    blocks = (raw.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []

    def moved(operation: str) -> int:
        return sum(entry["value"] for entry in blocks if entry["op"].lower() == operation)

    return Stats(
        cpu_seconds=raw["cpu_stats"]["cpu_usage"].get("total_usage", 0) / 1e9,
        memory_bytes=usage - cache if usage > cache else usage,
        memory_limit_bytes=memory.get("limit", 0),
        pids=(raw.get("pids_stats") or {}).get("current", 0),
        rx_bytes=sum(network["rx_bytes"] for network in networks),
        tx_bytes=sum(network["tx_bytes"] for network in networks),
        read_bytes=moved("read"),
        write_bytes=moved("write"),
    )


def path_stat(header: str) -> PathStat:
    """The stat that comes with an archive, in its header X-Docker-Container-Path-Stat."""
    raw = json.loads(base64.b64decode(header))
    mtime = parse_time(raw["mtime"])
    return PathStat(
        name=raw["name"],
        size=raw["size"],
        mode=posix_mode(raw["mode"]),
        mtime=mtime / 1e9 if mtime else 0.0,
        link_target=raw.get("linkTarget") or "",
    )


def posix_mode(go_mode: int) -> int:
    """`st_mode` for Go's `os.FileMode`."""
    kind = stat.S_IFREG
    for bit, posix in _GO_TYPES.items():
        if go_mode & bit:
            kind = posix
    if go_mode & _GO_DEVICE:
        kind = stat.S_IFCHR if go_mode & _GO_CHARACTER else stat.S_IFBLK
    special = sum(posix for bit, posix in _GO_SPECIAL.items() if go_mode & bit)
    return kind | special | (go_mode & 0o777)


def split_name(name: str) -> tuple[str, str]:
    """Repository and tag ("" where there is none) of an image name; a registry's port is not a tag."""
    for prefix in ("docker.io/library/", "docker.io/"):
        name = name.removeprefix(prefix)
    match = re.fullmatch(r"(?P<repository>.+?)(?::(?P<tag>[\w][\w.-]{0,127}))?", name, re.ASCII)
    if not match:
        return name, ""
    return match["repository"], match["tag"] or ""


def as_text(value: str, what: str) -> str:
    """`value` if it can travel in JSON; EngineError for bytes that are not UTF-8 (they would be changed)."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise EngineError(f"Docker cannot take a {what} with bytes that are not UTF-8: {value!r}.") from None
    if "\0" in value:
        raise EngineError(f"A {what} cannot hold a NUL: {value!r}.")
    return value
