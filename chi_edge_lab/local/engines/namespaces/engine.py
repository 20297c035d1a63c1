"""The engine whose containers are processes in Linux namespaces of their own: no root, no daemon."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ..base import (
    CommandNotFound,
    Engine,
    EngineError,
    ExecResult,
    Image,
    LogLine,
    NoSuchContainer,
    NotRunning,
    PathStat,
    Spec,
    State,
    Stats,
    Stream,
    Terminal,
)
from . import client, execution, files, logs, processes, terminal, trees
from .home import Home, Record, write_json
from .ids import container_ids
from .images import Catalogue, Template, full_name
from .rootfs import PATH, give_to
from .sandbox.build import Plan
from .sandbox.cgroups import Group
from .sandbox.logfile import DIRECTORY as LOG_DIRECTORY
from .watcher import Watcher

_KILL_SECONDS = 10.0
_CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one container from filling the machine."""

    execs: int = 64  # commands running in one container at once
    log_bytes: int = 8 * 2**20  # of one log file
    log_files: int = 3
    archive_members: int = 200_000
    archive_bytes: int = 8 * 2**30  # of all members of one archive
    image_members: int = 2_000_000
    image_bytes: int = 32 * 2**30


class NamespacesEngine(Engine):
    """Containers in user, pid, mount, network, ipc and uts namespaces. See Engine for what each method means.

    `directory` belongs to it; two engines on one directory, one after the other, have the same containers.
    """

    name = "namespaces"

    def __init__(self, directory: Path, *, outbound: bool = False, limits: Limits | None = None) -> None:
        self._directory = directory.absolute()
        self._outbound = outbound
        self._limits = limits or Limits()
        self._ids = container_ids()
        self._homes = self._directory / "containers"
        self._homes.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._catalogue = Catalogue(
            self._directory / "images", self._limits.image_members, self._limits.image_bytes
        )
        self._prefix = hashlib.sha256(os.fsencode(self._directory)).hexdigest()[:8]
        self._locks_lock = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}
        self._callback: Callable[[str], None] | None = None
        self._watcher = Watcher(self._report_end)
        for leftover in self._homes.glob(".*"):
            trees.remove(leftover)
        for identifier in self.list():
            self._adopt(self._home(identifier))

    # -- the end of containers

    @property
    def on_exit(self) -> Callable[[str], None] | None:  # type: ignore[override]
        """See Engine. When it is set, containers that ended while nobody watched are reported at once."""
        return self._callback

    @on_exit.setter
    def on_exit(self, callback: Callable[[str], None] | None) -> None:
        self._callback = callback
        if callback is not None:
            for identifier in self.list():
                if self._unreported(self._home(identifier)) is not None:
                    self._watcher.post(identifier)

    def _adopt(self, home: Home) -> None:
        """Watch a container that runs already; put on record how it ended if it does not."""
        if home.is_live():
            self._watch(home)
        else:
            self._group(home.id).remove()

    def _watch(self, home: Home) -> None:
        try:
            connection = client.connect(home)
            client.send(connection, {"op": "watch"})
        except NotRunning:
            self._watcher.post(home.id)
            return
        self._watcher.add(home.id, connection)

    def _unreported(self, home: Home) -> str | None:
        """The latest run, if it has ended and nobody was told."""
        run = home.run()
        if run is None or home.ended(run) is None:
            return None
        reported = home.path / "reported"
        return (
            None
            if reported.exists() and reported.read_text(encoding="ascii") == run["run"]
            else str(run["run"])
        )

    def _report_end(self, identifier: str) -> None:
        home = self._home(identifier)
        callback = self._callback
        try:
            self._wait_for_end(home, _KILL_SECONDS)  # its connection closes a moment before its shim is gone
            run = self._unreported(home)
            if run is None or callback is None:
                return
            (home.path / "reported").write_text(run, encoding="ascii")
        except FileNotFoundError:
            return  # removed just now, by someone who knows
        callback(identifier)

    # -- images

    def images(self) -> list[Image]:
        return [template.image for template in self._catalogue.all()]

    def add_image(self, name: str, rootfs: BinaryIO) -> Image:
        return self._catalogue.add(name, rootfs)

    def remove_image(self, name: str) -> None:
        self._catalogue.remove(name)

    def image(self, name: str) -> Image:
        return self._catalogue.find(name).image

    # -- life

    def _home(self, identifier: str) -> Home:
        if not identifier or identifier.startswith(".") or "/" in identifier or "\0" in identifier:
            raise NoSuchContainer(f"{identifier!r} is not the id of a container.")
        return Home(self._homes / identifier)

    def _lock(self, identifier: str) -> threading.RLock:
        with self._locks_lock:
            return self._locks.setdefault(identifier, threading.RLock())

    def _group(self, identifier: str) -> Group:
        return Group(f"{self._prefix}-{identifier}")

    def create(self, spec: Spec) -> None:
        template = self._catalogue.find(spec.image)
        home = self._home(spec.id)
        with self._lock(spec.id):
            if home.path.exists():
                raise EngineError(f"There is a container {spec.id} already.")
            record = self._record(spec, template)
            new = Home(self._homes / f".new-{spec.id}")
            trees.remove(new.path)
            new.root.mkdir(mode=0o755, parents=True)
            new.path.chmod(0o700)
            try:
                self._fill(new, record, template, spec)
                new.save(record)
                new.path.rename(home.path)
            except BaseException as error:
                trees.remove(new.path)
                if isinstance(error, OSError):
                    raise EngineError(f"The files of the container could not be made: {error}.") from error
                raise

    def _record(self, spec: Spec, template: Template) -> Record:
        hostname = spec.hostname or spec.id[:12]
        environment = {"PATH": PATH, "HOME": "/root", "HOSTNAME": hostname}
        if spec.tty:
            environment["TERM"] = "xterm"
        return Record(
            id=spec.id,
            image=template.image.name,
            argv=(*spec.entrypoint, *(spec.command or template.image.command)),
            environment={**environment, **template.image.environment, **spec.environment},
            workdir=spec.workdir or "/",
            hostname=hostname,
            interactive=spec.interactive,
            tty=spec.tty,
            ids=self._ids,
            memory_mib=spec.memory_mib,
            cpu=spec.cpu,
            address=spec.address,
            binds=template.binds,
            private=template.private,
            files=tuple(
                (f"mounts/{number}", mount.destination, mount.read_only)
                for number, mount in enumerate(spec.mounts)
            ),
            labels=spec.labels,
            created_at=time.time(),
        )

    def _fill(self, new: Home, record: Record, template: Template, spec: Spec) -> None:
        if record.files:
            (new.path / "mounts").mkdir()
        for (name, _, _), mount in zip(record.files, spec.mounts, strict=True):
            (new.path / name).write_bytes(mount.content)
            (new.path / name).chmod(0o644)
            if os.geteuid() == 0:
                os.chown(new.path / name, record.ids[0], record.ids[0])
        if template.make is not None:
            template.make(new.root)
            give_to(new.root, record.ids)
        elif template.tar is not None:
            give_to(new.root, record.ids)
            with template.tar.open("rb") as tar:
                limits = {"max_members": self._limits.image_members, "max_bytes": self._limits.image_bytes}
                files.unpack_image(limits, self._plan(new, record, shell=False), tar)

    def _plan(self, home: Home, record: Record, *, shell: bool = True) -> dict[str, Any]:
        plan = Plan(
            root=str(home.root),
            ids=record.ids,
            binds=record.binds,
            private=record.private,
            files=tuple(
                (str(home.path / name), inside, read_only) for name, inside, read_only in record.files
            )
            if shell
            else (),
            hostname=record.hostname,
            address=record.address,
            shell=shell,
        )
        return asdict(plan)

    def start(self, id: str) -> None:  # noqa: A002 the interface's name
        home = self._home(id)
        with self._lock(id):
            record = home.record()
            if home.is_live():
                return
            (home.path / "paused").unlink(missing_ok=True)
            (home.path / "failure.json").unlink(missing_ok=True)
            run = uuid.uuid4().hex
            write_json(
                home.path / "run.json",
                {
                    "run": run,
                    "plan": self._plan(home, record),
                    "argv": record.argv,
                    "environment": record.environment,
                    "workdir": record.workdir,
                    "interactive": record.interactive,
                    "tty": record.tty,
                    "memory_mib": record.memory_mib,
                    "cpu": record.cpu,
                    "cgroup": f"{self._prefix}-{id}",
                    "log_bytes": self._limits.log_bytes,
                    "log_files": self._limits.log_files,
                    "max_execs": self._limits.execs,
                },
            )
            try:
                client.start_shim(home)
            except EngineError as error:
                code = 127 if isinstance(error, CommandNotFound) else 128
                write_json(home.path / "failure.json", {"error": str(error), "exit_code": code})
                raise
            self._watch(home)

    def _live(self, id: str, *, paused: bool = False) -> Home:  # noqa: A002
        """Raises NoSuchContainer, NotRunning."""
        home = self._home(id)
        state = home.state()
        if state.status == "running" or (paused and state.status == "paused"):
            return home
        if state.status == "paused":
            raise NotRunning(f"The container {id} is paused: unpause it first.")
        raise NotRunning(f"The container {id} is not running.")

    def stop(self, id: str, timeout: float = 10.0) -> None:  # noqa: A002
        with self._lock(id):
            self._home(id).record()
            self._end(id, [(signal.SIGTERM, timeout), (signal.SIGKILL, _KILL_SECONDS)])

    def _end(self, id: str, steps: list[tuple[signal.Signals, float]]) -> None:  # noqa: A002
        """Send each signal and wait so many seconds after it, until pid 1 has ended."""
        home = self._home(id)
        if not home.is_live():
            return
        is_paused = (home.path / "paused").exists()
        try:
            with client.connection(home) as end:
                client.send(end, {"op": "watch"})
                for number, seconds in steps:
                    self._signal(home, number)
                    if is_paused:
                        self._continue(home)
                    if select.select([end], [], [], max(0.0, seconds))[0]:
                        break
        except NotRunning:
            pass
        if not self._wait_for_end(home, 1.0):
            home.kill_shim()  # it hangs; the kernel kills the container with it
            if not self._wait_for_end(home, _KILL_SECONDS):
                raise EngineError(f"The container {id} does not end, although it was killed.")

    def _signal(self, home: Home, number: signal.Signals) -> None:
        try:
            client.ask(home, {"op": "signal", "signal": int(number)})
        except NotRunning:
            raise
        except EngineError:
            if number != signal.SIGKILL:
                raise
            home.kill_shim()

    def _wait_for_end(self, home: Home, seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while home.is_live():
            if time.monotonic() > limit:
                return False
            time.sleep(0.002)
        return True

    def kill(self, id: str, signal: str | int = "KILL") -> None:  # noqa: A002
        number = _signal_number(signal)
        home = self._live(id, paused=True)
        client.ask(home, {"op": "signal", "signal": number})
        if number == 9 and (home.path / "paused").exists():
            self._continue(home)  # a frozen process takes no signal

    def pause(self, id: str) -> None:  # noqa: A002
        with self._lock(id):
            home = self._live(id)
            (home.path / "paused").touch()
            if not self._group(id).freeze(True):
                processes.signal_all(self._first(home), signal.SIGSTOP)

    def unpause(self, id: str) -> None:  # noqa: A002
        with self._lock(id):
            home = self._live(id, paused=True)
            if not (home.path / "paused").exists():
                raise EngineError(f"The container {id} is not paused.")
            self._continue(home)

    def _continue(self, home: Home) -> None:
        if not self._group(home.id).freeze(False):
            processes.signal_all(self._first(home), signal.SIGCONT)
        (home.path / "paused").unlink(missing_ok=True)

    def _first(self, home: Home) -> int:
        """Pid 1's number on this machine. Raises NotRunning."""
        run = home.run()
        if run is None or home.ended(run) is not None:
            raise NotRunning(f"The container {home.id} is not running.")
        return int(run["pid"])

    def remove(self, id: str) -> None:  # noqa: A002
        home = self._home(id)
        with self._lock(id):
            if not home.path.exists():
                return
            self._end(id, [(signal.SIGKILL, _KILL_SECONDS)])
            self._group(id).remove()
            trash = self._homes / f".trash-{id}-{uuid.uuid4().hex}"
            home.path.rename(trash)
            trees.remove(trash)
        with self._locks_lock:
            self._locks.pop(id, None)

    def inspect(self, id: str) -> State:  # noqa: A002
        return self._home(id).state()

    def list(self) -> list[str]:
        return sorted(
            path.name
            for path in self._homes.iterdir()
            if not path.name.startswith(".") and (path / "container.json").exists()
        )

    def update(self, id: str, *, memory_mib: int | None = None, cpu: float | None = None) -> None:  # noqa: A002
        home = self._home(id)
        with self._lock(id):
            record = home.record()
            record = replace(
                record,
                memory_mib=record.memory_mib if memory_mib is None else memory_mib,
                cpu=record.cpu if cpu is None else cpu,
            )
            home.save(record)
            if home.is_live():
                self._group(id).limit(memory_mib, cpu)

    # -- inside

    def _message(
        self, home: Home, argv: list[str], environment: dict[str, str] | None = None
    ) -> dict[str, Any]:
        record = home.record()
        if not argv:
            raise CommandNotFound("OCI runtime exec failed: exec: no command was given: unknown")
        return {
            "argv": argv,
            "environment": {**record.environment, **(environment or {})},
            "workdir": record.workdir,
        }

    def execute(
        self,
        id: str,  # noqa: A002
        argv: list[str],
        *,
        timeout: float | None = None,
        stdin: bytes | None = None,
        hold_stdin: bool = False,
        stdout: BinaryIO | None = None,
        max_output: int = 16 * 2**20,
    ) -> ExecResult:
        home = self._live(id)
        return execution.execute(
            home,
            self._message(home, argv),
            timeout=timeout,
            stdin=stdin,
            hold_stdin=hold_stdin,
            stdout=stdout,
            max_output=max_output,
        )

    def terminal(
        self,
        id: str,  # noqa: A002
        argv: list[str],
        *,
        tty: bool = True,
        environment: dict[str, str] | None = None,
    ) -> Terminal:
        home = self._live(id)
        base = {"TERM": "xterm"} if tty else {}
        return terminal.open_terminal(
            home, self._message(home, argv, {**base, **(environment or {})}), tty=tty
        )

    def attach(self, id: str) -> Terminal:  # noqa: A002
        home = self._live(id)
        run = home.run()
        return terminal.attach(home, str(run["run"]) if run else "")

    def resize(self, id: str, rows: int, cols: int) -> None:  # noqa: A002
        terminal.resize(self._live(id, paused=True), rows, cols)

    def logs(
        self,
        id: str,  # noqa: A002
        *,
        since_ns: int | None = None,
        tail: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[LogLine]:
        home = self._home(id)
        home.record()
        streams: set[Stream] = set()
        if stdout:
            streams.add("stdout")
        if stderr:
            streams.add("stderr")
        return logs.read(home.path / LOG_DIRECTORY, since_ns=since_ns, tail=tail, streams=frozenset(streams))

    def stats(self, id: str) -> Stats:  # noqa: A002
        home = self._live(id, paused=True)
        record, group, first = home.record(), self._group(id), self._first(home)
        found = list(processes.members(first))
        cpu = group.cpu_seconds()
        if cpu is None:
            reaped = client.ask(home, {"op": "usage"})[0]["reaped_seconds"]
            cpu = reaped + sum(process.cpu_seconds + process.children_cpu_seconds for process in found)
        memory = group.memory_bytes()
        if memory is None:
            memory = sum(processes.memory_bytes(process) for process in found)
        received, sent = processes.network_bytes(first)
        disk = [processes.disk_bytes(process) for process in found]
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Stats(
            cpu_seconds=cpu,
            memory_bytes=memory,
            memory_limit_bytes=machine if record.memory_mib is None else record.memory_mib * 2**20,
            pids=len(found),
            rx_bytes=received,
            tx_bytes=sent,
            read_bytes=sum(read for read, _ in disk),
            write_bytes=sum(written for _, written in disk),
        )

    def top(self, id: str) -> tuple[list[str], list[list[str]]]:  # type: ignore[valid-type]  # noqa: A002
        home = self._live(id, paused=True)
        return processes.table(self._first(home), home.record().ids)

    def _archive_message(self, path: str) -> dict[str, Any]:
        return {
            "path": path,
            "max_members": self._limits.archive_members,
            "max_bytes": self._limits.archive_bytes,
        }

    def get_archive(self, id: str, path: str, out: BinaryIO) -> PathStat:  # noqa: A002
        home = self._home(id)
        return files.get(home, self._archive_message(path), self._plan(home, home.record()), out)

    def put_archive(self, id: str, path: str, tar: BinaryIO) -> None:  # noqa: A002
        home = self._home(id)
        files.put(home, self._archive_message(path), self._plan(home, home.record()), tar)

    def commit(self, id: str, name: str) -> Image:  # noqa: A002
        home = self._home(id)
        with self._lock(id):
            record = home.record()
            was_running = home.state().status == "running"
            if was_running:
                self.pause(id)
            try:
                return self._catalogue.keep(
                    name, self._child(record, name), lambda target: self._pack(home, record, target)
                )
            finally:
                if was_running:
                    with contextlib.suppress(NotRunning):  # it may have been killed meanwhile
                        self.unpause(id)

    def _child(self, record: Record, name: str) -> Template:
        own = {"HOSTNAME": None, "HOME": None, "TERM": None}
        image = Image(
            name=full_name(name),
            id="",
            size=0,
            created=0.0,
            provenance=f"Committed on this site from a container of {record.image}.",
            command=record.argv,
            environment={key: value for key, value in record.environment.items() if key not in own},
        )
        return Template(image, None, None, record.binds, record.private)

    def _pack(self, home: Home, record: Record, target: Path) -> None:
        limits = {"max_members": self._limits.image_members, "max_bytes": self._limits.image_bytes}
        with target.open("wb") as out:
            files.pack_tree(limits, self._plan(home, record, shell=False), out)

    def connect(self, id: str, port: int, protocol: Literal["tcp", "udp"] = "tcp") -> socket.socket:  # noqa: A002
        home = self._live(id)
        _, fds = client.ask(home, {"op": "socket", "protocol": protocol})
        made = socket.socket(fileno=fds[0])
        try:
            made.settimeout(_CONNECT_SECONDS)
            # By its own address where it has one: what listens on 127.0.0.1 only is not reached from outside
            # on a real site either.
            made.connect((home.record().address or "127.0.0.1", port))
            made.settimeout(None)
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        self._watcher.close()


def _signal_number(name: str | int) -> int:
    """9, "9", "KILL" or "SIGKILL". Raises EngineError."""
    text = str(name).upper()
    if text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    try:
        return int(signal.Signals[text if text.startswith("SIG") else f"SIG{text}"])
    except KeyError as error:
        raise EngineError(f"There is no signal {name!r}.") from error
