"""What a running site says of itself to others on this machine: runtime.json, and locks.

A site that was killed leaves its runtime.json behind. So the file is believed only while the process it names
is alive and was started when the file says (process ids are used again).
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chi_edge_lab.local.config import SiteProblem, write_private

RUNTIME = "runtime.json"
LOCK_POLL = 0.02  # seconds between two tries to get a lock


@dataclass(frozen=True)
class Runtime:
    """A running site."""

    pid: int
    starttime: (
        int  # of the process, in clock ticks since the machine was started (/proc/<pid>/stat, field 22)
    )
    port: int
    url: str
    auth_url: str
    profile: str
    engine: str
    version: str
    directory: str

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return start_time(self.pid) == self.starttime

    def write(self, directory: Path) -> None:
        """Say that the site runs (file mode 0600)."""
        write_private(directory / RUNTIME, dataclasses.asdict(self))


def find(directory: Path) -> Runtime | None:
    """The site that runs in a directory, None when none does. A stale file is taken for what it is."""
    try:
        data = json.loads((directory / RUNTIME).read_text("utf-8"))
        runtime = Runtime(**data)
    except (OSError, ValueError, TypeError):  # none, or of an older version that cannot run any more
        return None
    return runtime if runtime.alive else None


def forget(directory: Path) -> None:
    """Remove runtime.json."""
    (directory / RUNTIME).unlink(missing_ok=True)


def start_time(pid: int) -> int | None:
    """When a process was started (clock ticks since boot); None when it is not there or only a zombie is."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace")
    except OSError:
        return None
    # the second field is the program's name in parentheses and may hold blanks and parentheses
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else int(fields[19])


@contextmanager
def lock(path: Path, *, timeout: float, busy: str) -> Iterator[None]:
    """Hold an exclusive lock of a file; the kernel lets go of it when the holder dies.

    Raises SiteProblem(busy) when another process holds it for longer than `timeout` seconds.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        end = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise SiteProblem(busy) from None
                time.sleep(LOCK_POLL)
        yield
    finally:
        os.close(handle)
