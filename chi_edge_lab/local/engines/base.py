"""What the local site asks of a container engine: one interface, two engines (namespaces, docker).

An engine knows processes, files and sockets of containers on this machine. It knows nothing of Zun: statuses,
quirks and refusals are the business of `local.zunapi` and `local.profiles`. Every method may block and is
called from a thread pool; every method is thread-safe. An engine id is the Zun uuid of the container.
"""

from __future__ import annotations

import abc
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Literal

Stream = Literal["stdout", "stderr"]
Words = list[str]  # inside Engine the name `list` means its method


class EngineError(Exception):
    """The engine could not do it; `str()` is one sentence for a person."""


class EngineUnavailable(EngineError):
    """This engine does not work on this machine; the sentence says what to change."""


class ImageNotFound(EngineError):
    """The image is not in the catalogue."""


class NoSuchContainer(EngineError):
    """The engine has no container of this id."""


class NotRunning(EngineError):
    """The container is not running (or is paused) and this needs it to be."""


class CommandNotFound(EngineError):
    """The program of an exec is not in the container or cannot be executed. `str()` is the OCI-like text."""


class PathNotFound(EngineError):
    """The path of an archive call does not exist in the container (or is not a directory, for put)."""


@dataclass(frozen=True)
class Image:
    """One entry of the local catalogue."""

    name: str  # as a person writes it, tag included: "python:3.11", "busybox:latest"
    id: str  # "sha256:..." or another stable identifier
    size: int  # bytes
    created: float  # seconds since the epoch
    provenance: str  # a sentence: where its files come from
    command: tuple[str, ...] = ()  # what runs when the container names no command
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileMount:
    """A file given at create, readable in the container at `destination`."""

    destination: str
    content: bytes
    read_only: bool = False


@dataclass(frozen=True)
class Spec:
    """What to run."""

    id: str
    name: str
    image: str
    command: tuple[str, ...] = ()  # Docker's CMD; empty: the image's
    entrypoint: tuple[str, ...] = ()  # Docker's ENTRYPOINT; empty: the image's
    workdir: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    hostname: str | None = None
    interactive: bool = False  # stdin of pid 1 is open
    tty: bool = False  # pid 1 has a pty
    memory_mib: int | None = None
    cpu: float | None = None
    address: str | None = None  # IPv4 address that the container should see as its own, where the engine can
    mounts: tuple[FileMount, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class State:
    """How a container is right now."""

    status: Literal["created", "running", "paused", "exited"]
    exit_code: int | None = None  # of pid 1; 128+N after signal N
    started_at: float | None = None  # seconds since the epoch
    finished_at: float | None = None
    error: str = ""  # why it could not start, or "host restarted"
    address: str | None = None  # IPv4 address the container has, if any


@dataclass(frozen=True)
class ExecResult:
    """What a command printed and how it ended."""

    output: bytes  # stdout and stderr in the order they came (stderr alone when stdout went to a file)
    exit_code: int | None  # None: still running when the time was up (it goes on in the container)
    truncated: bool = False  # output was longer than max_output and the rest was dropped


@dataclass(frozen=True)
class LogLine:
    """One line of a container's log, newline included where it had one."""

    time_ns: int
    stream: Stream
    data: bytes


@dataclass(frozen=True)
class Stats:
    """Resource use of all processes of a container."""

    cpu_seconds: float  # since start
    memory_bytes: int
    memory_limit_bytes: int
    pids: int
    rx_bytes: int
    tx_bytes: int
    read_bytes: int
    write_bytes: int


@dataclass(frozen=True)
class PathStat:
    """As Docker's archive calls give it."""

    name: str
    size: int
    mode: int  # st_mode as in POSIX
    mtime: float
    link_target: str = ""


class Terminal(abc.ABC):
    """A process with a pty (or the stdio of pid 1). Non-blocking: wait on `fileno()`."""

    @abc.abstractmethod
    def fileno(self) -> int: ...

    @abc.abstractmethod
    def read(self, size: int = 65536) -> bytes:
        """Bytes of output; b"" at the end. Raises BlockingIOError when there is nothing yet."""

    @abc.abstractmethod
    def write(self, data: bytes) -> int:
        """How many bytes were taken. Raises BlockingIOError when none could be."""

    @abc.abstractmethod
    def resize(self, rows: int, cols: int) -> None:
        """Set the size of the tty; does nothing where there is none."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of it. The process is not killed (Zun's orphans are real); a pty's reader gets SIGHUP."""

    @property
    @abc.abstractmethod
    def exit_code(self) -> int | None:
        """Exit code of the process if it has ended and it is known."""


class Engine(abc.ABC):
    """A way to run containers on this machine."""

    name: str
    on_exit: Callable[[str], None] | None = None
    """Set by the site: called from any thread with the id of a container whose pid 1 has ended."""

    # -- images
    @abc.abstractmethod
    def images(self) -> list[Image]:
        """The catalogue, the default image first."""

    @abc.abstractmethod
    def add_image(self, name: str, rootfs: BinaryIO) -> Image:
        """Add an image from a tar of its root file system (optionally gzipped)."""

    @abc.abstractmethod
    def remove_image(self, name: str) -> None: ...

    @abc.abstractmethod
    def image(self, name: str) -> Image:
        """Find by name; no tag means `latest` where there is one, else the only tag. Raises ImageNotFound."""

    # -- life
    @abc.abstractmethod
    def create(self, spec: Spec) -> None:
        """Make the container, not started. Raises ImageNotFound."""

    @abc.abstractmethod
    def start(self, id: str) -> None:
        """Start pid 1. Raises EngineError when it cannot be executed."""

    @abc.abstractmethod
    def stop(self, id: str, timeout: float = 10.0) -> None:
        """TERM, wait `timeout` seconds, KILL. Returns when it has ended."""

    @abc.abstractmethod
    def kill(self, id: str, signal: str | int = "KILL") -> None: ...

    @abc.abstractmethod
    def pause(self, id: str) -> None: ...

    @abc.abstractmethod
    def unpause(self, id: str) -> None: ...

    @abc.abstractmethod
    def remove(self, id: str) -> None:
        """Kill it if it runs and remove all its files. Nothing happens when it is not there."""

    @abc.abstractmethod
    def inspect(self, id: str) -> State: ...

    @abc.abstractmethod
    def list(self) -> list[str]:
        """Ids of all containers of this site, running or not (also of an earlier site process)."""

    @abc.abstractmethod
    def update(self, id: str, *, memory_mib: int | None = None, cpu: float | None = None) -> None: ...

    # -- inside
    @abc.abstractmethod
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
        """Run a command in a running container and collect what it prints.

        `timeout` is in seconds; when it is over the command goes on and the result has exit_code None.
        `stdin` is fed to it and then closed, unless `hold_stdin` (Kubernetes' exec never signals the end of
        stdin); when the call returns everything is closed either way. With `stdout`, its standard output goes
        there in chunks. Raises CommandNotFound, NotRunning.
        """

    @abc.abstractmethod
    def terminal(
        self, id: str, argv: Words, *, tty: bool = True, environment: dict[str, str] | None = None
    ) -> Terminal:
        """Run a command with a terminal. Raises CommandNotFound, NotRunning."""

    @abc.abstractmethod
    def attach(self, id: str) -> Terminal:
        """The stdio of pid 1, shared by all who attach; nothing of what it printed before."""

    @abc.abstractmethod
    def resize(self, id: str, rows: int, cols: int) -> None:
        """Size of pid 1's tty; nothing happens where it has none."""

    @abc.abstractmethod
    def logs(
        self,
        id: str,
        *,
        since_ns: int | None = None,
        tail: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[LogLine]:
        """What pid 1 printed, oldest first. Memory stays bounded by the tail asked for or one chunk."""

    @abc.abstractmethod
    def stats(self, id: str) -> Stats: ...

    @abc.abstractmethod
    def top(self, id: str) -> tuple[Words, Sequence[Words]]:
        """Titles and rows of the processes: at least UID, PID, PPID, C, STIME, TTY, TIME, CMD."""

    @abc.abstractmethod
    def get_archive(self, id: str, path: str, out: BinaryIO) -> PathStat:
        """Write a tar of `path` to `out`, its base name at top level. Works on stopped containers too."""

    @abc.abstractmethod
    def put_archive(self, id: str, path: str, tar: BinaryIO) -> None:
        """Extract a tar (gzip allowed) into the directory `path`. Works on stopped containers too."""

    @abc.abstractmethod
    def commit(self, id: str, name: str) -> Image:
        """Keep the container's files as a new image of the catalogue."""

    @abc.abstractmethod
    def connect(self, id: str, port: int, protocol: Literal["tcp", "udp"] = "tcp") -> socket.socket:
        """A socket connected to a port inside the container. Raises ConnectionRefusedError, NotRunning."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of everything here; containers go on."""
