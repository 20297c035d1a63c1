"""The life of containers: made, started, stopped, paused, removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..base import CommandNotFound, EngineError, NoSuchContainer, NotRunning, Spec
from . import client, processes, scratch, trees
from .creation import fill, make_plan, make_record
from .ends import Ends
from .home import Home, Record, write_json
from .images import Template
from .limits import Limits
from .sandbox.cgroups import Group

_KILL_SECONDS = 10.0
_SETTLE_SECONDS = 1.0
Step = tuple[signal.Signals, float]  # a signal and how long to wait after it, in seconds


class Containers:
    """All containers of one directory. Thread-safe; changes of one container are made one after the other."""

    look_seconds = 15.0  # how often a shim looks whether its directory is still there

    def __init__(
        self, directory: Path, ids: tuple[int, int], limits: Limits, *, outbound: bool = False
    ) -> None:
        self._directory = directory
        self._ids = ids
        self._limits = limits
        self._outbound = outbound
        self._prefix = hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]
        self._locks_lock = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ends = Ends(self.home)
        scratch.clear(directory)
        for home in self.all():
            if home.is_live():
                self._ends.watch(home)
            else:
                self.group(home.id).remove()

    # -- finding

    def home(self, identifier: str) -> Home:
        """The directory of a container, which need not be there. Raises NoSuchContainer for what is no id."""
        if not identifier or identifier.startswith(".") or "/" in identifier or "\0" in identifier:
            raise NoSuchContainer(f"{identifier!r} is not the id of a container.")
        return Home(self._directory / identifier)

    def all(self) -> list[Home]:
        """Those that are there, by id."""
        paths = sorted(path for path in self._directory.iterdir() if not path.name.startswith("."))
        return [Home(path) for path in paths if (path / "container.json").exists()]

    def live(self, identifier: str, *, paused: bool = False) -> Home:
        """One that runs, or with `paused` one that is paused. Raises NoSuchContainer, NotRunning."""
        home = self.home(identifier)
        state = home.state()
        if state.status == "running" or (paused and state.status == "paused"):
            return home
        if state.status == "paused":
            raise NotRunning(f"The container {identifier} is paused: unpause it first.")
        raise NotRunning(f"The container {identifier} is not running.")

    def first(self, home: Home) -> int:
        """Pid 1's number on this machine. Raises NotRunning."""
        run = home.run()
        if run is None or home.ended(run) is not None:
            raise NotRunning(f"The container {home.id} is not running.")
        return int(run["pid"])

    def group(self, identifier: str) -> Group:
        return Group(self._group_name(identifier))

    def _group_name(self, identifier: str) -> str:
        return f"{self._prefix}-{identifier}"  # two sites may have the same ids

    @contextmanager
    def lock(self, identifier: str) -> Iterator[None]:
        """One change at a time."""
        with self._locks_lock:
            lock = self._locks.setdefault(identifier, threading.RLock())
        with lock:
            yield

    # -- life

    def create(self, spec: Spec, template: Template) -> None:
        """See Engine."""
        home = self.home(spec.id)
        with self.lock(spec.id):
            if home.path.exists():
                raise EngineError(f"There is a container {spec.id} already.")
            record = make_record(spec, template, self._ids, outbound=self._outbound)
            new = Home(scratch.path(self._directory, "new"))
            try:
                new.root.mkdir(mode=0o755, parents=True)
                new.path.chmod(0o700)
                fill(new, record, template, spec, self._limits)
                new.save(record)
                new.path.rename(home.path)
            except BaseException as error:
                trees.remove(new.path)
                if isinstance(error, OSError):
                    raise EngineError(f"The files of the container could not be made: {error}.") from error
                raise

    def start(self, identifier: str) -> None:
        """See Engine."""
        home = self.home(identifier)
        with self.lock(identifier):
            record = home.record()
            if home.is_live():
                return
            (home.path / "paused").unlink(missing_ok=True)
            (home.path / "failure.json").unlink(missing_ok=True)
            self._write_run(home, record)
            try:
                client.start_shim(home)
            except EngineError as error:
                code = 127 if isinstance(error, CommandNotFound) else 128
                write_json(home.path / "failure.json", {"error": str(error), "exit_code": code})
                raise
            self._ends.watch(home)

    def _write_run(self, home: Home, record: Record) -> None:
        write_json(
            home.path / "run.json",
            {
                "run": uuid.uuid4().hex,
                "plan": make_plan(home, record),
                "argv": record.argv,
                "environment": record.environment,
                "workdir": record.workdir,
                "interactive": record.interactive,
                "tty": record.tty,
                "memory_mib": record.memory_mib,
                "cpu": record.cpu,
                "cgroup": self._group_name(record.id),
                "log_bytes": self._limits.log_bytes,
                "log_files": self._limits.log_files,
                "max_execs": self._limits.execs,
                "outbound": record.outbound,
                "look_seconds": self.look_seconds,
            },
        )

    def stop(self, identifier: str, timeout: float) -> None:
        """See Engine."""
        with self.lock(identifier):
            self.home(identifier).record()
            self._end(identifier, [(signal.SIGTERM, timeout), (signal.SIGKILL, _KILL_SECONDS)])

    def _end(self, identifier: str, steps: list[Step]) -> None:
        """Send each signal and wait after it, until pid 1 has ended."""
        home = self.home(identifier)
        if not home.is_live():
            return
        is_paused = (home.path / "paused").exists()
        with contextlib.suppress(NotRunning), client.connection(home) as end:
            client.send(end, {"op": "watch"})
            for number, seconds in steps:
                self._signal(home, number)
                if is_paused:
                    self._continue(home)
                if select.select([end], [], [], max(0.0, seconds))[0]:
                    break
        if not home.wait_for_end(_SETTLE_SECONDS):
            home.kill_shim()  # it hangs; the kernel kills the container with it
            if not home.wait_for_end(_KILL_SECONDS):
                raise EngineError(f"The container {identifier} does not end, although it was killed.")

    def _signal(self, home: Home, number: signal.Signals) -> None:
        try:
            client.ask(home, {"op": "signal", "signal": int(number)})
        except NotRunning:
            raise
        except EngineError:
            if number != signal.SIGKILL:
                raise
            home.kill_shim()

    def kill(self, identifier: str, name: str | int) -> None:
        """See Engine. Not one after the other: it may end a stop that waits."""
        number = signal_number(name)
        home = self.live(identifier, paused=True)
        client.ask(home, {"op": "signal", "signal": number})
        if number == signal.SIGKILL and (home.path / "paused").exists():
            self._continue(home)  # a frozen process takes no signal

    def pause(self, identifier: str) -> None:
        """See Engine."""
        with self.lock(identifier):
            home = self.live(identifier)
            (home.path / "paused").touch()
            if not self.group(identifier).freeze(frozen=True):
                processes.signal_all(self.first(home), signal.SIGSTOP)

    def unpause(self, identifier: str) -> None:
        """See Engine."""
        with self.lock(identifier):
            home = self.live(identifier, paused=True)
            if not (home.path / "paused").exists():
                raise EngineError(f"The container {identifier} is not paused.")
            self._continue(home)

    def _continue(self, home: Home) -> None:
        if not self.group(home.id).freeze(frozen=False):
            processes.signal_all(self.first(home), signal.SIGCONT)
        (home.path / "paused").unlink(missing_ok=True)

    def update(self, identifier: str, memory_mib: int | None, cpu: float | None) -> None:
        """See Engine."""
        home = self.home(identifier)
        with self.lock(identifier):
            record = home.record()
            if memory_mib is not None:
                record = replace(record, memory_mib=memory_mib)
            if cpu is not None:
                record = replace(record, cpu=cpu)
            home.save(record)
            if home.is_live():
                self.group(identifier).limit(memory_mib, cpu)

    def remove(self, identifier: str) -> None:
        """See Engine."""
        home = self.home(identifier)
        with self.lock(identifier):
            if not home.path.exists():
                return
            self._end(identifier, [(signal.SIGKILL, _KILL_SECONDS)])
            self.group(identifier).remove()
            trash = scratch.path(self._directory, "trash")
            home.path.rename(trash)  # gone for all others at once; emptying may take its time
            trees.remove(trash)
        with self._locks_lock:
            self._locks.pop(identifier, None)

    # -- ends

    @property
    def on_exit(self) -> Callable[[str], None] | None:
        return self._ends.callback

    @on_exit.setter
    def on_exit(self, callback: Callable[[str], None] | None) -> None:
        self._ends.tell(callback, self.all())

    def close(self) -> None:
        self._ends.close()


def signal_number(name: str | int) -> int:
    """9, "9", "KILL" or "SIGKILL". Raises EngineError."""
    text = str(name).upper()
    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    try:
        return int(signal.Signals[text if text.startswith("SIG") else f"SIG{text}"])
    except KeyError as error:
        raise EngineError(f"There is no signal {name!r}.") from error
