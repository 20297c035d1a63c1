"""The docker engine: every container of the site is a container of the daemon, found again by its labels."""

from __future__ import annotations

import contextlib
import math
import pathlib
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal

from chi_edge_lab.local.engines.base import (
    Engine,
    EngineError,
    ExecResult,
    Image,
    LogLine,
    NoSuchContainer,
    NotRunning,
    PathNotFound,
    PathStat,
    Spec,
    State,
    Stats,
    Terminal,
    Words,
)
from chi_edge_lab.local.engines.docker import execs, frames, parse
from chi_edge_lab.local.engines.docker.daemon import find_daemon
from chi_edge_lab.local.engines.docker.images import PROVENANCE, Catalogue, quoted
from chi_edge_lab.local.engines.docker.network import find_or_make_network
from chi_edge_lab.local.engines.docker.terminal import DockerTerminal
from chi_edge_lab.local.engines.docker.watch import Watch

Rows = list[Words]  # inside the class `list` is the method
Images = list[Image]
Documents = list[dict[str, Any]]

SITE_LABEL = "chi-edge-lab.site"
ID_LABEL = "chi-edge-lab.id"
LOGS = {"max-size": "10m", "max-file": "3"}  # what a container may print before its oldest lines go
LEAST_MEMORY = 6  # MiB; Docker refuses less
SECONDS_TO_CONNECT = 5.0
SECONDS_TO_REMOVE = 60.0


class DockerEngine(Engine):
    """Containers in Docker, or in Podman as far as its Docker-like API goes.

    Containers outlive the site's process; the next one finds them by the site's label. Several sites share
    one daemon and do not see each other's containers.
    """

    name = "docker"

    def __init__(self, directory: pathlib.Path, *, outbound: bool = False) -> None:
        """Connect to the daemon. `directory` is the site's place for this engine (made if missing).

        With `outbound` containers reach the world through Docker's default network; without it they reach
        each other and this machine only (Podman has no such network: there they always do). Raises
        EngineUnavailable with a sentence that says what to change.
        """
        self._daemon = find_daemon()
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.site = _site_id(directory)
        self._outbound = outbound
        self._catalogue = Catalogue(self._daemon)
        self._docker_ids: dict[str, str] = {}
        self._watch = Watch(
            self._daemon, f"{SITE_LABEL}={self.site}", ID_LABEL, self._running, self._container_ended
        )
        self._watch.wait_until_ready(SECONDS_TO_CONNECT)

    def close(self) -> None:
        self._watch.close()
        self._daemon.close()

    def description(self) -> str:
        """The daemon and its version, for people."""
        return self._daemon.description

    # -- images

    def images(self) -> Images:
        return self._catalogue.images()

    def add_image(self, name: str, rootfs: BinaryIO) -> Image:
        return self._catalogue.add(name, rootfs, "Added to this site from a tar of its root file system.")

    def remove_image(self, name: str) -> None:
        self._catalogue.remove(name)

    def image(self, name: str) -> Image:
        return self._catalogue.find(name)

    # -- life

    def create(self, spec: Spec) -> None:
        # spec.address is left out: the daemon gives addresses of its own network, see State.address
        image = self._catalogue.find(spec.image)
        client = self._daemon.client
        limits: dict[str, Any] = {}
        if spec.memory_mib:
            limits["mem_limit"] = limits["memswap_limit"] = max(spec.memory_mib, LEAST_MEMORY) * 2**20
        if spec.cpu:
            limits["cpu_shares"] = _shares(spec.cpu)
        with self._daemon.errors():
            host_config = client.create_host_config(
                binds=self._write_mounts(spec),
                network_mode=find_or_make_network(self._daemon, outbound=self._outbound),
                log_config={"Type": "json-file", "Config": LOGS},
                **limits,
            )
            container = client.create_container_config(
                image.id,
                list(spec.command) or None,
                hostname=spec.hostname,
                detach=True,  # else stdin would close when the first who attached goes
                stdin_open=spec.interactive,
                tty=spec.tty,
                environment=dict(spec.environment),
                entrypoint=list(spec.entrypoint) or None,
                working_dir=spec.workdir,
                labels={**spec.labels, SITE_LABEL: self.site, ID_LABEL: spec.id},
                host_config=host_config,
            )
            created = client.create_container_from_config(
                container, name=f"chi-edge-lab-{self.site}-{spec.id}"
            )
        self._docker_ids[spec.id] = created["Id"]

    def start(self, id: str) -> None:
        with self._container(id) as docker_id:
            self._daemon.client.start(docker_id)

    def stop(self, id: str, timeout: float = 10.0) -> None:
        with self._container(id) as docker_id:
            self._daemon.client.stop(docker_id, timeout=math.ceil(timeout))

    def kill(self, id: str, signal: str | int = "KILL") -> None:
        with self._container(id) as docker_id:
            self._daemon.client.kill(docker_id, signal)

    def pause(self, id: str) -> None:
        with self._container(id) as docker_id:
            self._daemon.client.pause(docker_id)

    def unpause(self, id: str) -> None:
        with self._container(id) as docker_id:
            self._daemon.client.unpause(docker_id)

    def remove(self, id: str) -> None:
        deadline = time.monotonic() + SECONDS_TO_REMOVE
        with contextlib.suppress(NoSuchContainer):
            while True:
                try:
                    with self._container(id) as docker_id:
                        self._daemon.client.remove_container(docker_id, force=True, v=True)
                    break
                except EngineError as error:
                    # somebody else removes it just now: it is gone when we return, as we promise
                    if "already in progress" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
        self._docker_ids.pop(id, None)
        shutil.rmtree(self._mounts(id), ignore_errors=True)

    def inspect(self, id: str) -> State:
        return parse.state_of(self._inspect(id))

    def list(self) -> Words:
        return sorted(found["Labels"][ID_LABEL] for found in self._list())

    def update(self, id: str, *, memory_mib: int | None = None, cpu: float | None = None) -> None:
        limits: dict[str, int] = {}
        if memory_mib:
            limits["mem_limit"] = limits["memswap_limit"] = max(memory_mib, LEAST_MEMORY) * 2**20
        if cpu:
            limits["cpu_shares"] = _shares(cpu)
        with self._container(id) as docker_id:
            self._daemon.client.update_container(docker_id, **limits)

    # -- inside

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
        with self._container(id) as docker_id:
            return execs.run(
                self._daemon,
                docker_id,
                argv,
                timeout=timeout,
                stdin=stdin,
                hold_stdin=hold_stdin,
                stdout=stdout,
                max_output=max_output,
            )

    def terminal(
        self, id: str, argv: Words, *, tty: bool = True, environment: dict[str, str] | None = None
    ) -> Terminal:
        with self._container(id) as docker_id:
            return execs.open_terminal(self._daemon, docker_id, argv, tty=tty, environment=environment)

    def attach(self, id: str) -> Terminal:
        tty = self._has_tty(id)
        with self._container(id) as docker_id:
            query = {"stream": "1", "stdin": "1", "stdout": "1", "stderr": "1", "logs": "0"}
            sock = self._daemon.open("POST", f"/containers/{docker_id}/attach", query)
        return DockerTerminal(
            sock,
            tty=tty,
            resize=lambda rows, cols: self.resize(id, rows, cols),
            exit_code=lambda: self.inspect(id).exit_code,
        )

    def resize(self, id: str, rows: int, cols: int) -> None:
        if self._has_tty(id):
            with self._container(id) as docker_id:
                self._daemon.client.resize(docker_id, height=max(rows, 1), width=max(cols, 1))

    def logs(
        self,
        id: str,
        *,
        since_ns: int | None = None,
        tail: int | None = None,
        stdout: bool = True,
        stderr: bool = True,
    ) -> Iterator[LogLine]:
        tty = self._has_tty(id)
        if not stdout and not stderr:
            return
        query: dict[str, str | int] = {"timestamps": 1, "stdout": int(stdout), "stderr": int(stderr)}
        if since_ns is not None:
            query["since"] = f"{since_ns // 10**9}.{since_ns % 10**9:09d}"
        if tail is not None:
            query["tail"] = tail
        with self._container(id) as docker_id:
            response = self._daemon.stream(f"/containers/{docker_id}/logs", **query)
        with response, self._daemon.errors():
            chunks = response.iter_content(65536)
            yield from frames.log_lines(frames.tty_messages(chunks) if tty else frames.frames(chunks))

    def stats(self, id: str) -> Stats:
        self._require_running(id)
        with self._container(id) as docker_id:
            # one-shot: the daemon need not wait for a second sample (20.10 still answers on its next tick, in
            # up to a second, which is what Zun's own stats take)
            query: dict[str, str | int] = {"stream": "false", "one-shot": "true"}
            return parse.stats_of(self._daemon.get(f"/containers/{docker_id}/stats", **query))

    def top(self, id: str) -> tuple[Words, Rows]:
        with self._container(id) as docker_id:
            answer = self._daemon.client.top(docker_id)
        return answer["Titles"], answer["Processes"] or []

    def get_archive(self, id: str, path: str, out: BinaryIO) -> PathStat:
        with self._container(id) as docker_id, _paths(path):
            answer = self._daemon.stream(
                f"/containers/{docker_id}/archive", path=parse.as_text(path, "path") or "/"
            )
        with answer, self._daemon.errors():
            out.writelines(answer.iter_content(256 * 1024))
            return parse.path_stat(answer.headers["X-Docker-Container-Path-Stat"])

    def put_archive(self, id: str, path: str, tar: BinaryIO) -> None:
        with self._container(id) as docker_id, _paths(path):
            self._daemon.send(
                "PUT", f"/containers/{docker_id}/archive", tar, path=parse.as_text(path, "path") or "/"
            )

    def commit(self, id: str, name: str) -> Image:
        repository, tag = parse.split_name(name)
        origin = self._inspect(id)["Config"]["Image"]
        with self._container(id) as docker_id:
            self._daemon.client.commit(
                docker_id,
                repository=repository,
                tag=tag or "latest",
                changes=[f"LABEL {PROVENANCE}={quoted(f'Committed from container {id}, made of {origin}.')}"],
            )
        return self._catalogue.find(f"{repository}:{tag or 'latest'}")

    def connect(self, id: str, port: int, protocol: Literal["tcp", "udp"] = "tcp") -> socket.socket:
        address = self._require_running(id).address
        if address is None:
            raise EngineError("The container has no address of its own.")
        if protocol == "udp":
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect((address, port))
            return sock
        try:
            sock = socket.create_connection((address, port), timeout=SECONDS_TO_CONNECT)
        except ConnectionRefusedError:
            raise
        except OSError as error:
            raise ConnectionRefusedError(f"{address}:{port}/{protocol} cannot be reached: {error}") from error
        sock.settimeout(None)
        return sock

    # -- helpers

    @contextlib.contextmanager
    def _container(self, id: str) -> Iterator[str]:
        """The Docker id of a container; inside, the daemon's errors become ours. Raises NoSuchContainer."""
        docker_id = self._docker_ids.get(id)
        if docker_id is None:
            found = [entry for entry in self._list(f"{ID_LABEL}={id}") if entry["Labels"][ID_LABEL] == id]
            if not found:
                raise NoSuchContainer(f"There is no container {id}.")
            docker_id = self._docker_ids[id] = found[0]["Id"]
        try:
            with self._daemon.errors():
                yield docker_id
        except NoSuchContainer:
            self._docker_ids.pop(id, None)
            raise NoSuchContainer(f"There is no container {id}.") from None

    def _list(self, *labels: str) -> Documents:
        with self._daemon.errors():
            found: Documents = self._daemon.client.containers(
                all=True, filters={"label": [f"{SITE_LABEL}={self.site}", *labels]}
            )
            return found

    def _running(self) -> set[str]:
        return {
            entry["Labels"][ID_LABEL] for entry in self._list() if entry["State"] in ("running", "paused")
        }

    def _container_ended(self, id: str) -> None:
        if self.on_exit is not None:
            self.on_exit(id)

    def _inspect(self, id: str) -> dict[str, Any]:
        with self._container(id) as docker_id:
            return dict(self._daemon.client.inspect_container(docker_id))

    def _has_tty(self, id: str) -> bool:
        return bool(self._inspect(id)["Config"]["Tty"])

    def _require_running(self, id: str) -> State:
        state = self.inspect(id)
        if state.status not in ("running", "paused"):
            raise NotRunning(f"The container is not running ({state.status}).")
        return state

    def _mounts(self, id: str) -> pathlib.Path:
        return self._directory / "mounts" / id

    def _write_mounts(self, spec: Spec) -> dict[str, dict[str, str]] | None:
        """Files given at create, as Zun does it: kept on this machine and bound into the container."""
        if not spec.mounts:
            return None
        directory = self._mounts(spec.id)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        binds = {}
        for number, mount in enumerate(spec.mounts):
            file = directory / str(number)
            file.write_bytes(mount.content)
            mode = "ro" if mount.read_only else "rw"
            binds[str(file.resolve())] = {"bind": mount.destination, "mode": mode}
        return binds


@contextlib.contextmanager
def _paths(path: str) -> Iterator[None]:
    """What the daemon says of a path as PathNotFound, in words that do not show its own files."""
    try:
        yield
    except NoSuchContainer:
        raise
    except EngineError as error:
        low = str(error).lower()
        if "not a directory" in low and "lstat" not in low:
            raise PathNotFound(f"{path} is not a directory in the container.") from error
        if any(text in low for text in ("could not find the file", "no such file", "not a directory")):
            raise PathNotFound(f"There is no {path} in the container.") from error
        raise


def _shares(cpu: float) -> int:
    """Docker's CPU weight, as Zun's docker driver sets it: a share where all want, no ceiling."""
    return max(2, round(1024 * cpu))


def _site_id(directory: pathlib.Path) -> str:
    """A random word kept in the directory: two machines with one daemon may have the same path."""
    file = directory / "site-id"
    with contextlib.suppress(FileExistsError), file.open("x") as new:
        new.write(secrets.token_hex(6))
    return file.read_text().strip()
