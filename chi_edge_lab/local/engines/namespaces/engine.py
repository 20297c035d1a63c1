"""The engine whose containers are processes in Linux namespaces of their own: no root, no daemon."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ..base import (
    CommandNotFound,
    Engine,
    ExecResult,
    Image,
    LogLine,
    NotRunning,
    PathStat,
    Spec,
    State,
    Stats,
    Stream,
    Terminal,
    Words,
)
from . import client, execution, files, logs, processes, terminal
from .containers import Containers
from .creation import PROXY_VARIABLES, make_plan
from .home import Home, Record
from .ids import container_ids
from .images import Catalogue, Template, full_name
from .limits import Limits
from .sandbox.logfile import DIRECTORY as LOG_DIRECTORY

_CONNECT_SECONDS = 10.0
_OF_ONE_CONTAINER = ("HOSTNAME", "HOME", "TERM", *PROXY_VARIABLES)  # set by us, so no part of an image


class NamespacesEngine(Engine):
    """Containers in user, pid, mount, network, ipc and uts namespaces. See Engine for what each method means.

    With `outbound` new containers reach other machines over HTTP(S), through a proxy named by the usual
    environment variables; else they have no network but their own.

    `directory` belongs to it; engines on one directory, one after the other, have the same containers.
    Raises EngineUnavailable.
    """

    name = "namespaces"

    def __init__(self, directory: Path, *, outbound: bool = False, limits: Limits | None = None) -> None:
        directory = directory.absolute()
        self._limits = limits or Limits()
        self._containers = Containers(
            directory / "containers", container_ids(), self._limits, outbound=outbound
        )
        self._catalogue = Catalogue(
            directory / "images", self._limits.image_members, self._limits.image_bytes
        )

    @property
    def on_exit(self) -> Callable[[str], None] | None:
        """See Engine. When it is set, containers that ended while nobody watched are reported at once."""
        return self._containers.on_exit

    @on_exit.setter
    def on_exit(self, callback: Callable[[str], None] | None) -> None:
        self._containers.on_exit = callback

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

    def create(self, spec: Spec) -> None:
        self._containers.create(spec, self._catalogue.find(spec.image))

    def start(self, id: str) -> None:
        self._containers.start(id)

    def stop(self, id: str, timeout: float = 10.0) -> None:
        self._containers.stop(id, timeout)

    def kill(self, id: str, signal: str | int = "KILL") -> None:
        self._containers.kill(id, signal)

    def pause(self, id: str) -> None:
        self._containers.pause(id)

    def unpause(self, id: str) -> None:
        self._containers.unpause(id)

    def remove(self, id: str) -> None:
        self._containers.remove(id)

    def inspect(self, id: str) -> State:
        return self._containers.home(id).state()

    def list(self) -> Words:
        return [home.id for home in self._containers.all()]

    def update(self, id: str, *, memory_mib: int | None = None, cpu: float | None = None) -> None:
        self._containers.update(id, memory_mib, cpu)

    # -- inside

    def _command(self, home: Home, argv: Words, environment: dict[str, str]) -> dict[str, Any]:
        if not argv:
            raise CommandNotFound("OCI runtime exec failed: exec: no command was given: unknown")
        record = home.record()
        return {
            "argv": argv,
            "environment": {**record.environment, **environment},
            "workdir": record.workdir,
        }

    def execute(
        self,
        id: str,
        argv: Words,
        *,
        timeout: float | None = None,
        stdin: bytes | None = None,
        hold_stdin: bool = False,
        stdout: BinaryIO | None = None,
        max_output: int = 16 * 2**20,
    ) -> ExecResult:
        home = self._containers.live(id)
        return execution.execute(
            home,
            self._command(home, argv, {}),
            timeout=timeout,
            stdin=stdin,
            hold_stdin=hold_stdin,
            stdout=stdout,
            max_output=max_output,
        )

    def terminal(
        self, id: str, argv: Words, *, tty: bool = True, environment: dict[str, str] | None = None
    ) -> Terminal:
        home = self._containers.live(id)
        added = {**({"TERM": "xterm"} if tty else {}), **(environment or {})}
        return terminal.open_terminal(home, self._command(home, argv, added), tty=tty)

    def attach(self, id: str) -> Terminal:
        home = self._containers.live(id)
        run = home.run()
        return terminal.attach(home, str(run["run"]) if run else "")

    def resize(self, id: str, rows: int, cols: int) -> None:
        terminal.resize(self._containers.live(id, paused=True), rows, cols)

    def logs(
        self,
        id: str,
        *,
        since_ns: int | None = None,
        tail: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[LogLine]:
        home = self._containers.home(id)
        home.record()
        wanted: dict[Stream, bool] = {"stdout": stdout, "stderr": stderr}
        streams = frozenset(stream for stream, is_wanted in wanted.items() if is_wanted)
        return logs.read(home.path / LOG_DIRECTORY, since_ns=since_ns, tail=tail, streams=streams)

    def stats(self, id: str) -> Stats:
        home = self._containers.live(id, paused=True)
        record, group, first = home.record(), self._containers.group(id), self._containers.first(home)
        found = [*processes.members(first)]
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

    def top(self, id: str) -> tuple[Words, Sequence[Words]]:
        home = self._containers.live(id, paused=True)
        return processes.table(self._containers.first(home), home.record().ids)

    def get_archive(self, id: str, path: str, out: BinaryIO) -> PathStat:
        home = self._containers.home(id)
        message = {"path": path, **self._limits.of_archive()}
        return files.get(home, message, make_plan(home, home.record()), out)

    def put_archive(self, id: str, path: str, tar: BinaryIO) -> None:
        home = self._containers.home(id)
        message = {"path": path, **self._limits.of_archive()}
        files.put(home, message, make_plan(home, home.record()), tar)

    def commit(self, id: str, name: str) -> Image:
        home = self._containers.home(id)
        with self._containers.lock(id):
            record = home.record()
            was_running = home.state().status == "running"
            if was_running:
                self.pause(id)  # as Docker does: files of one moment
            try:
                return self._catalogue.keep(
                    name, _child(record, name), lambda target: self._pack(home, record, target)
                )
            finally:
                if was_running:
                    with contextlib.suppress(NotRunning):  # it may have been killed meanwhile
                        self.unpause(id)

    def _pack(self, home: Home, record: Record, target: Path) -> None:
        with target.open("wb") as out:
            files.pack_tree(self._limits.of_image(), make_plan(home, record, shell=False), out)

    def connect(self, id: str, port: int, protocol: Literal["tcp", "udp"] = "tcp") -> socket.socket:
        home = self._containers.live(id)
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
        self._containers.close()


def _child(record: Record, name: str) -> Template:
    """How a committed image is like the one that its container came from."""
    environment = {key: value for key, value in record.environment.items() if key not in _OF_ONE_CONTAINER}
    image = Image(
        name=full_name(name),
        id="",
        size=0,
        created=0.0,
        provenance=f"Committed on this site from a container of {record.image}.",
        command=record.argv,
        environment=environment,
    )
    return Template(image, None, None, record.binds, record.private)
