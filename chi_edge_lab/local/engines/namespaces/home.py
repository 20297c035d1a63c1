"""The directory of one container: what it is (`container.json`), how it runs, how it ended."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..base import EngineError, NoSuchContainer, State
from .sandbox import procs

_KILLED = 128 + 9
_LOOK = 0.002  # seconds


@dataclass(frozen=True)
class Record:
    """A container as it was created, with everything a start needs. Written once, but for its limits."""

    id: str
    image: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    workdir: str
    hostname: str
    interactive: bool
    tty: bool
    ids: tuple[int, int]
    memory_mib: int | None = None
    cpu: float | None = None
    address: str | None = None
    binds: tuple[tuple[str, str], ...] = ()  # (host, inside)
    private: tuple[str, ...] = ()
    files: tuple[tuple[str, str, bool], ...] = ()  # (name in the directory, inside, read-only)
    outbound: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    created_at: float = 0.0


class Home:
    """Access to the directory.

    Holds no state of its own, so that any process that knows the path may use it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "rootfs"

    @property
    def id(self) -> str:
        return self.path.name

    # -- what it is

    def save(self, record: Record) -> None:
        write_json(self.path / "container.json", asdict(record))

    def record(self) -> Record:
        """Raises NoSuchContainer."""
        data = read_json(self.path / "container.json")
        if data is None:
            raise NoSuchContainer(f"There is no container {self.id} here.")
        for key in ("argv", "private", "ids"):
            data[key] = tuple(data[key])
        for key in ("binds", "files"):
            data[key] = tuple(tuple(item) for item in data[key])
        return Record(**{key.name: data[key.name] for key in fields(Record) if key.name in data})

    # -- how it is

    def run(self) -> dict[str, Any] | None:
        """What its shim wrote when pid 1 started, for the latest start; None before the first."""
        return read_json(self.path / "state.json")

    def state(self) -> State:
        """The truth, also after a crash of the shim or of the machine. Raises NoSuchContainer."""
        record = self.record()
        try:
            state = self._state(record)
        except FileNotFoundError:
            state = None
        if state is None or not self.path.exists():  # removed while we looked
            raise NoSuchContainer(f"There is no container {self.id} here.")
        return state

    def _state(self, record: Record) -> State:
        failure = read_json(self.path / "failure.json")
        run = self.run()
        if run is None:
            if failure is not None:
                return State(
                    "created", exit_code=failure["exit_code"], error=failure["error"], address=record.address
                )
            return State("created", address=record.address)
        ended = self.ended(run)
        if ended is None:
            status = "paused" if (self.path / "paused").exists() else "running"
            return State(
                "paused" if status == "paused" else "running",
                started_at=run["started_at"],
                address=record.address,
            )
        return State(
            "exited",
            exit_code=failure["exit_code"] if failure is not None else ended["exit_code"],
            started_at=run["started_at"],
            finished_at=ended["finished_at"],
            error=failure["error"] if failure is not None else ended["error"],
            address=record.address,
        )

    def ended(self, run: dict[str, Any]) -> dict[str, Any] | None:
        """How this run ended; None while it goes on. A run whose shim was killed is put on record here."""
        ended = self._exit_of(run)
        if ended is not None:
            return ended
        here = run["boot"] == procs.boot_id()
        if here and procs.is_alive(run["shim"], run["shim_started"]):
            return None
        ended = self._exit_of(run)  # it may have come to its end between the two looks
        if ended is not None:
            return ended
        if here and procs.is_alive(run["pid"], run["pid_started"]):
            os.kill(
                run["pid"], 9
            )  # the kernel does this when the shim dies; only a container that undid it comes here
        ended = {
            "run": run["run"],
            "exit_code": _KILLED,
            "finished_at": time.time(),
            "error": "The supervisor of the container was killed." if here else "The host restarted.",
        }
        write_json(self.path / "exit.json", ended)
        return ended

    def _exit_of(self, run: dict[str, Any]) -> dict[str, Any] | None:
        ended = read_json(self.path / "exit.json")
        return ended if ended is not None and ended["run"] == run["run"] else None

    def kill_shim(self) -> None:
        """Kill the supervisor, and so the container. For one that does not answer."""
        run = self.run()
        if run is None or run["boot"] != procs.boot_id():
            return
        try:
            handle = os.pidfd_open(run["shim"])
        except ProcessLookupError:
            return
        try:
            if procs.is_alive(run["shim"], run["shim_started"]):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)

    def wait_for_end(self, seconds: float) -> bool:
        """Whether pid 1 and its shim have ended within so many seconds."""
        limit = time.monotonic() + seconds
        while self.is_live():
            if time.monotonic() > limit:
                return False
            time.sleep(_LOOK)
        return True

    def is_live(self) -> bool:
        """Whether pid 1 runs or is paused."""
        run = self.run()
        return run is not None and self.ended(run) is None


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None when there is no file. Raises EngineError when it holds something else."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise EngineError(f"The file {path} is damaged: {error}.") from error
    if not isinstance(value, dict):
        raise EngineError(f"The file {path} is damaged.")
    return value


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a file, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{time.monotonic_ns()}")
    temporary.write_text(json.dumps(value), encoding="utf-8")
    temporary.chmod(0o600)
    temporary.replace(path)
