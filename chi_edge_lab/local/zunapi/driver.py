"""What Zun's compute drivers do with containers, here on top of the site's engine.

Zun has a driver below its API: docker upstream, k8s on CHI@Edge. Nearly all differences between the two clouds are
differences of that driver, so they are in two subclasses (`driver_docker`, `driver_k8s`) and nowhere else. Methods
block and are called from threads: the ones that change a container in its queue, the others from anywhere. What a
driver cannot do raises NotImplementedError, as in Zun: the API turns that into its obfuscated 500, or, where it
had already answered 202, into nothing at all.
"""

from __future__ import annotations

import abc
import base64
import logging
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from chi_edge_lab.local.engines.base import FileMount, ImageNotFound, NoSuchContainer, Spec, State
from chi_edge_lab.local.zunapi.errors import ServerFault
from chi_edge_lab.local.zunapi.model import Container

if TYPE_CHECKING:
    from chi_edge_lab.local.engines.base import LogLine, Terminal
    from chi_edge_lab.local.zunapi.site import Site

_log = logging.getLogger(__name__)

STOP_BEFORE_DELETE = 10.0
"""Seconds that `delete?stop=true` gives the container to end (a constant of Zun's API)."""

ARCHIVE_IN_MEMORY = 4 * 2**20
"""Archives up to this size do not touch the disk on their way."""


class Refused(Exception):
    """The container cannot be made: it goes to Error with this as status_reason, `detail` as status_detail."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True)
class LogQuery:
    """What `logs` was asked, as it came over HTTP."""

    stdout: bool = True
    stderr: bool = True
    timestamps: bool = False
    tail: str = "all"
    since: str | None = None


class Driver(abc.ABC):
    """One of Zun's drivers."""

    clears_task_state = True
    """Whether the compute manager forgets the task_state when an operation ends (else the driver does, if at all)."""

    channel_bytes = False
    """Whether websocket frames to the client begin with a Kubernetes channel byte."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.engine = site.engine
        self._address_lock = threading.Lock()

    # -- the row

    def change(self, row: Container, **changes: Any) -> Container:
        """Save columns and return the row as it is now; the same row when it is gone meanwhile."""
        return self.site.containers.change(row, **changes)

    # -- operations, in the container's queue

    @abc.abstractmethod
    def create(self, row: Container) -> None:
        """Make it. Raises Refused, EngineError."""

    @abc.abstractmethod
    def start(self, row: Container) -> None: ...

    @abc.abstractmethod
    def stop(self, row: Container, timeout: float) -> None: ...

    def stop_for_delete(self, row: Container) -> None:
        """What happens to a running container that is to be stopped and deleted."""
        self.stop(row, STOP_BEFORE_DELETE)

    @abc.abstractmethod
    def reboot(self, row: Container, timeout: float) -> None: ...

    @abc.abstractmethod
    def delete(self, row: Container) -> None:
        """Remove all traces but the row."""

    @abc.abstractmethod
    def rebuild(self, row: Container, *, run: bool) -> None:
        """Make it anew from `row.image`."""

    def pause(self, row: Container) -> None:
        """Stop its processes without ending them."""
        raise NotImplementedError

    def unpause(self, row: Container) -> None:
        """Let its processes go on."""
        raise NotImplementedError

    def kill(self, row: Container, signal: str | None) -> None:
        """Send a signal to pid 1."""
        raise NotImplementedError

    def update(self, row: Container, *, memory: str | None, cpu: float | None) -> None:
        """Change its limits."""
        raise NotImplementedError

    def commit(self, row: Container, name: str) -> None:
        """Keep its files as an image."""
        raise NotImplementedError

    def can_commit(self) -> None:
        """Raise NotImplementedError where there are no snapshots: asked before 202 is answered."""
        raise NotImplementedError

    def network_attach(self, row: Container, network_id: str, address: str | None) -> None:
        """Give it a port on a network."""
        raise NotImplementedError

    def network_detach(self, row: Container, network_id: str) -> None:
        """Take its port on a network away."""
        raise NotImplementedError

    @abc.abstractmethod
    def exited(self, row: Container) -> None:
        """Pid 1 has ended (or may have: this is also called after a restart of the site)."""

    # -- looks, from any thread

    @abc.abstractmethod
    def refresh(self, row: Container) -> Container:
        """The row with what the engine knows better, saved."""

    @abc.abstractmethod
    def logs(self, row: Container, query: LogQuery) -> str | None: ...

    @abc.abstractmethod
    def execute(self, row: Container, command: str) -> tuple[str, int | None]:
        """Output and exit code of a command."""

    @abc.abstractmethod
    def prepare_exec(self, row: Container, command: str) -> list[str]:
        """The argv of an interactive exec. Raises where there is none."""

    @abc.abstractmethod
    def get_archive(self, row: Container, path: str, out: BinaryIO) -> dict[str, Any]:
        """Write a tar of the path to `out`; the "stat" of the answer."""

    @abc.abstractmethod
    def put_archive(self, row: Container, path: str, data: bytes) -> None: ...

    @abc.abstractmethod
    def stats(self, row: Container) -> dict[str, Any] | None: ...

    def top(self, row: Container, ps_args: str | None) -> dict[str, Any]:
        """Its processes."""
        raise NotImplementedError

    def resize(self, row: Container, rows: int, cols: int) -> None:
        """Size of pid 1's terminal."""
        raise NotImplementedError

    def can_resize_exec(self) -> None:
        """Raise NotImplementedError where an exec's terminal has no size."""
        raise NotImplementedError

    @abc.abstractmethod
    def open_attach(self, row: Container) -> Terminal:
        """What the websocket of `attach` is connected to. Raises EngineError."""

    # -- shared

    def state(self, row: Container) -> State | None:
        """What the engine says; None when it has no such container."""
        try:
            return self.engine.inspect(row.uuid)
        except NoSuchContainer:
            return None

    def spec(self, row: Container, address: str) -> Spec:
        """The row in the engine's terms."""
        memory = int(row.memory)
        return Spec(
            id=row.uuid,
            name=row.name,
            image=self.site.containers.image_name(row.image),
            command=tuple(str(word) for word in row.args or ()),
            entrypoint=tuple(str(word) for word in row.entrypoint or ()),
            workdir=row.workdir,
            environment=dict(row.environment or {}),
            hostname=row.hostname,
            interactive=row.pid1_stdin,
            tty=row.pid1_tty,
            memory_mib=memory or None,
            cpu=row.cpu or None,
            address=address,
            mounts=tuple(
                FileMount(mount["destination"], base64.b64decode(mount["source"]))
                for mount in row.mounts or ()
            ),
            labels={key: str(value) for key, value in (row.labels or {}).items()},
        )

    def check_image(self, row: Container) -> None:
        """Raise Refused with the catalogue when there is no such image."""
        try:
            self.engine.image(self.site.containers.image_name(row.image))
        except ImageNotFound:
            names = ", ".join(image.name for image in self.engine.images()) or "nothing"
            raise Refused(
                f"Image {row.image} could not be found. The catalogue of this local site has: {names}."
            ) from None

    def open_port(self, row: Container, wanted: str | None = None) -> tuple[str, str]:
        """A new port for the container: (port id, address)."""
        with self._address_lock:  # between looking for a free address and taking it
            address = wanted or self.site.network.free_address()
            return self.site.network.create_port(row.uuid, row.project_id, address), address

    def settle_address(self, row: Container, address: str | None) -> None:
        """The engine gave the running container another address than its port has: follow it."""
        if address is None or row.port_id is None:
            return
        entries = [dict(entry) for entry in (row.addresses or {}).get(self.site.network.network_id, [])]
        if entries and entries[0].get("addr") != address:
            entries[0]["addr"] = address
            self.site.network.update_port(row.port_id, address)
            self.change(row, addresses={self.site.network.network_id: entries})

    def open_log(self, row: Container, **query: Any) -> list[LogLine]:
        """Lines of the log, together no longer than one message may be."""
        lines, size = [], 0
        for line in self.engine.logs(row.uuid, **query):
            size += len(line.data) + 40
            if size > self.site.limits.log_bytes:
                raise ServerFault(f"the log of {row.uuid} is longer than a message may be")
            lines.append(line)
        return lines


def scratch() -> BinaryIO:
    """A temporary file for an archive: in memory while it is small."""
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=ARCHIVE_IN_MEMORY))


def decode_strictly(data: bytes, what: str) -> str:
    """Text of bytes that must be UTF-8: what is not cannot travel as JSON. Raises ServerFault (Zun hangs, then 500)."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ServerFault(f"{what} is not UTF-8") from error


def stamp(time_ns: int) -> bytes:
    """ "2026-11-23T12:17:12.123456789Z ", before each line of a log with timestamps."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode() + b".%09dZ " % rest


def log_bytes(lines: list[LogLine], *, timestamps: bool) -> bytes:
    """The lines as the one piece that Zun answers."""
    return b"".join(stamp(line.time_ns) + line.data if timestamps else line.data for line in lines)
