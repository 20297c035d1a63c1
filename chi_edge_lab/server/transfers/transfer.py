"""One transfer: its state, how far it is, and the files that come from the browser."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from chi_edge_lab.core import paths
from chi_edge_lab.core.progress import Progress
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import Problem
from chi_edge_lab.server.transfers.models import (
    ENDED,
    Direction,
    ReceivedFile,
    State,
    TransferDetail,
    TransferStatus,
    UploadFile,
)  # fmt: skip
from chi_edge_lab.server.transfers.plan import Plan
from chi_edge_lab.zun import Client

_WINDOW = 5.0  # seconds over which the rate is told


class Incoming:
    """A file on its way from the browser. `lock` is held while its bytes are written."""

    def __init__(self, path: bytes, wanted: UploadFile, local: Path) -> None:
        self.path = path
        self.wanted = wanted
        self.local = local
        self.received = 0
        self.writer: object | None = None  # who may write; the last who came
        self.lock = asyncio.Lock()

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self.received == self.wanted.size

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes in their place and drop what follows. Raises OSError."""
        descriptor = os.open(self.local, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.truncate(offset)
            file.seek(offset)
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]


@dataclass(eq=False)
class Transfer:
    """Changed on the loop, but for `count`, which the thread that moves the bytes calls."""

    id: str
    direction: Direction
    call: Call
    client: Client
    site: str  # the site's own name
    path: str
    name: str
    place: Path
    state: State
    sources: list[str] = field(default_factory=list)  # of a download
    incoming: dict[bytes, Incoming] = field(default_factory=dict)  # of an upload
    plan: Plan | None = None
    size: int | None = None
    files: int = 0
    missing: int = 0  # files of which bytes are missing
    problem: Problem | None = None
    notes: list[str] = field(default_factory=list)
    cancel: threading.Event = field(default_factory=threading.Event)
    task: asyncio.Task[None] | None = None
    readers: int = 0  # browsers that fetch it now
    created: float = field(default_factory=time.time)
    ended: float | None = None
    touched: float = field(default_factory=time.monotonic)
    done: int = 0
    total: int | None = None
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself or is awaited."""
        return self.state in ENDED

    @property
    def top(self) -> Path:
        """What is uploaded, in the spool."""
        assert self.plan is not None
        return self.place / paths.local(self.plan.name)

    def restart(self, total: int | None) -> None:
        """Count from 0 again: another state moves the bytes once more."""
        self.total = total
        self._samples.clear()
        self.count(0)

    def count(self, done: int) -> None:
        """`done` bytes are moved in this state."""
        now = time.monotonic()
        self.done = done
        if not self._samples or now - self._samples[-1][0] >= 0.1:
            self._samples.append((now, done))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW:
            self._samples.popleft()

    def hear(self, progress: Progress, before: int = 0) -> None:
        """Take what the core tells of its progress; `before` bytes were moved by earlier calls."""
        if progress.stage in {"verifying", "placing"}:
            self.state = "verifying"
        if progress.done is not None and progress.stage != "done":
            self.count(before + progress.done)

    def rate(self) -> float | None:
        """Bytes a second of late; None where nothing moves."""
        if self.state not in {"receiving", "sending"} or not self._samples:
            return None
        began, first = self._samples[0]
        seconds = time.monotonic() - began
        return max(0.0, self.done - first) / seconds if seconds >= 0.2 else None

    def status(self) -> TransferStatus:
        """How it is now."""
        return TransferStatus(**self._told())

    def detail(self) -> TransferDetail:
        """The same, with each file that comes from the browser."""
        received = [
            ReceivedFile(path=paths.to_text(one.path), size=one.wanted.size, received=one.received)
            for one in self.incoming.values()
        ]
        return TransferDetail(**self._told(), received=received)

    def _told(self) -> dict[str, object]:
        rate = self.rate()
        left = None if self.total is None or not rate else max(0.0, (self.total - self.done) / rate)
        return {
            "id": self.id, "direction": self.direction, "state": self.state, "site": self.site,
            "project": self.call.project, "container": self.call.uuid, "path": self.path, "name": self.name,
            "files": self.files, "size": self.size, "done": self.done, "total": self.total, "rate": rate,
            "seconds_left": left, "cancelling": self.cancel.is_set() and not self.is_over, "created": self.created,
            "ended": self.ended, "problem": self.problem, "notes": self.notes,
        }  # fmt: skip
