"""The processes of a container, seen from outside through /proc: who they are, what they use."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .sandbox import procs

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAX_ROUNDS = 50
_USERS = {0: "root", 1: "daemon", 33: "www-data", 65534: "nobody"}


@dataclass(frozen=True)
class Process:
    """One process; `pid` as this machine counts, `inner` as the container does."""

    pid: int
    inner: int
    state: str
    parent: int
    terminal: int
    cpu_seconds: float
    children_cpu_seconds: float
    started: float  # seconds since the epoch
    resident: int  # bytes


def members(first: int) -> Iterator[Process]:
    """All processes in the pid namespace of `first`. Empty when that has ended."""
    try:
        namespace = _namespace(first)
    except OSError:
        return
    boot = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for name in os.listdir("/proc"):  # noqa: PTH208 hundreds of Path objects would be most of the cost
        if not name.isdigit():
            continue
        try:
            if _namespace(int(name)) == namespace:
                yield _process(int(name), boot)
        except OSError:
            continue  # it has ended, or is not ours to look at and so not in the container


def _namespace(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 hundreds of Path objects would be most of the cost


def _process(pid: int, boot: float) -> Process:
    fields = procs.stat_fields(pid)
    return Process(
        pid=pid,
        inner=_inner_pid(pid),
        state=fields[0],
        parent=int(fields[1]),
        terminal=int(fields[4]),
        cpu_seconds=(int(fields[11]) + int(fields[12])) / _TICKS,
        children_cpu_seconds=(int(fields[13]) + int(fields[14])) / _TICKS,
        started=boot + int(fields[19]) / _TICKS,
        resident=int(fields[21]) * _PAGE,
    )


def _inner_pid(pid: int) -> int:
    for line in procs.read_text(f"/proc/{pid}/status").splitlines():
        if line.startswith("NSpid:"):
            return int(line.split()[-1])
    return pid


def memory_bytes(process: Process) -> int:
    """What it uses: shared pages in parts, where the kernel tells."""
    try:
        for line in procs.read_text(f"/proc/{process.pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        return process.resident
    return process.resident


def disk_bytes(process: Process) -> tuple[int, int]:
    """Bytes read and written; zeros where it may not be looked at."""
    try:
        lines = dict(line.split(": ") for line in procs.read_text(f"/proc/{process.pid}/io").splitlines())
        return int(lines["read_bytes"]), int(lines["write_bytes"])
    except (OSError, ValueError, KeyError):
        return 0, 0


def network_bytes(first: int) -> tuple[int, int]:
    """Bytes received and sent on all interfaces of the container."""
    received = sent = 0
    try:
        lines = procs.read_text(f"/proc/{first}/net/dev").splitlines()[2:]
    except OSError:
        return 0, 0
    for line in lines:
        numbers = line.rpartition(":")[2].split()
        received += int(numbers[0])
        sent += int(numbers[8])
    return received, sent


def command_line(process: Process) -> str:
    """As ps shows it."""
    try:
        text = procs.read_text(f"/proc/{process.pid}/cmdline").rstrip("\0").replace("\0", " ")
        return text or "[" + procs.read_text(f"/proc/{process.pid}/comm").strip() + "]"
    except OSError:
        return "[ended]"


def table(first: int, ids: tuple[int, int]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows as `ps -ef` inside would have them."""
    titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    found = sorted(members(first), key=lambda process: process.inner)
    inner = {process.pid: process.inner for process in found}
    rows = []
    for process in found:
        age = max(0.001, time.time() - process.started)
        seconds = int(process.cpu_seconds)
        rows.append(
            [
                _user(process.pid, ids),
                str(process.inner),
                str(inner.get(process.parent, 0)),
                str(min(99, int(100 * process.cpu_seconds / age))),
                time.strftime("%H:%M", time.localtime(process.started)),
                _terminal_name(process.terminal),
                f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}",
                command_line(process),
            ]
        )
    return titles, rows


def _user(pid: int, ids: tuple[int, int]) -> str:
    try:
        outer = Path(f"/proc/{pid}").stat().st_uid
        for line in procs.read_text(f"/proc/{pid}/status").splitlines():
            if line.startswith("Uid:"):
                outer = int(line.split()[2])
    except OSError:
        return "?"
    number = outer - ids[0]
    return _USERS.get(number, str(number)) if 0 <= number < ids[1] else "nobody"


def _terminal_name(device: int) -> str:
    if device == 0:
        return "?"
    number = (device & 0xFF) | ((device >> 12) & 0xFFF00)
    return f"pts/{number}"


def signal_all(first: int, number: signal.Signals) -> None:
    """Send to every process, again until no new one appears."""
    done: set[int] = set()
    for _ in range(_MAX_ROUNDS):
        new = [
            process.pid for process in members(first) if process.pid not in done and process.state not in "ZX"
        ]
        if not new:
            return
        for pid in new:
            _send(pid, first, number)
            done.add(pid)


def _send(pid: int, first: int, number: signal.Signals) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        # Looked at again with the process held: its number may have gone to another since the list was made.
        if _namespace(pid) == _namespace(first):
            signal.pidfd_send_signal(handle, number)
    except OSError:
        return
    finally:
        os.close(handle)
