"""Upstream's docker driver: everything works, files live as long as the container."""

from __future__ import annotations

import os
import shlex
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from chi_edge_lab.local.engines.base import (
    CommandNotFound,
    EngineError,
    NoSuchContainer,
    NotRunning,
    PathNotFound,
    State,
)
from chi_edge_lab.local.zunapi import states
from chi_edge_lab.local.zunapi.docker_words import docker_stat, signal_number, since_ns, status_of
from chi_edge_lab.local.zunapi.driver import Driver, LogQuery, Refused, decode_strictly, log_bytes
from chi_edge_lab.local.zunapi.errors import Conflict, Invalid, ServerFault
from chi_edge_lab.local.zunapi.model import Container

if TYPE_CHECKING:
    from chi_edge_lab.local.engines.base import Terminal

NOT_EXECUTABLE = 126
"""Exit code that docker gives an exec whose program is not there."""

DELETED_KEPT = 60.0
"""Seconds a container with auto_remove stays listed as Deleted (Zun's periodic sync)."""

_UNDER_WAY = frozenset(
    {states.CREATING, states.RESTARTING, states.REBUILDING, states.DELETING, states.DELETED}
)
"""Statuses that an operation will end; a look does not."""

_RESTART_DELAYS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0)
"""Docker's back-off between restarts by policy, seconds."""


class DockerDriver(Driver):
    """Zun's docker driver."""

    # -- operations

    def create(self, row: Container) -> None:
        """Make it; not started."""
        if row.disk:
            raise Refused("Your host does not support disk quota feature.")
        self.check_image(row)
        port_id, address = self.open_port(row, row.fixed_ip)
        row = self.change(row, port_id=port_id, addresses=self._addresses(port_id, address))
        try:
            self._make(row)
        except EngineError:
            self.site.network.delete_port(port_id)
            self.change(row, port_id=None, addresses={})
            raise

    def start(self, row: Container) -> None:
        """Start pid 1."""
        try:
            self.engine.start(row.uuid)
        except EngineError as error:
            raise Refused(f"Docker internal error: {error}.") from error
        row = self.change(row, wanted=True, restarts=0, status_reason=None)
        self.refresh(row, now=True)

    def stop(self, row: Container, timeout: float) -> None:
        """TERM, wait, KILL."""
        row = self.change(row, wanted=False)
        self.engine.stop(row.uuid, timeout)
        self.refresh(row, now=True)

    def reboot(self, row: Container, timeout: float) -> None:
        """Stop and start; files stay."""
        row = self.change(row, wanted=False)
        self.engine.stop(row.uuid, timeout)
        self.engine.start(row.uuid)
        self.refresh(self.change(row, wanted=True, restarts=0), now=True)

    def delete(self, row: Container) -> None:
        """Remove it and its port."""
        self.change(row, wanted=False)
        self.engine.remove(row.uuid)
        if row.port_id is not None:
            self.site.network.delete_port(row.port_id)

    def rebuild(self, row: Container, *, run: bool) -> None:
        """A new container of the same name, port and settings."""
        self.engine.remove(row.uuid)
        self.check_image(row)
        self._make(row)
        if run:
            self.start(row)

    def pause(self, row: Container) -> None:
        """Freeze it."""
        self.engine.pause(row.uuid)
        self.change(row, status=states.PAUSED)

    def unpause(self, row: Container) -> None:
        """Thaw it."""
        self.engine.unpause(row.uuid)
        self.change(row, status=states.RUNNING)

    def kill(self, row: Container, signal: str | None) -> None:
        """Send a signal; what becomes of it is seen at the next look."""
        self.engine.kill(row.uuid, signal_number(signal))
        self.change(row, wanted=False, status_reason=None)
        if self.engine.inspect(row.uuid).status == "exited":
            self.refresh(row, now=True)

    def update(self, row: Container, *, memory: str | None, cpu: float | None) -> None:
        """Change its limits."""
        self.engine.update(row.uuid, memory_mib=int(memory) if memory is not None else None, cpu=cpu)

    def can_commit(self) -> None:
        """Always."""

    def commit(self, row: Container, name: str) -> None:
        """Keep its files; they hold still meanwhile."""
        running = self.engine.inspect(row.uuid).status == "running"
        if running:
            self.engine.pause(row.uuid)
        try:
            self.engine.commit(row.uuid, name)
        finally:
            if running:
                self.engine.unpause(row.uuid)

    def network_attach(self, row: Container, network_id: str, address: str | None) -> None:  # noqa: ARG002 - one
        """A new port on the network."""
        port_id, address = self.open_port(row, address)
        self.change(row, port_id=port_id, addresses=(row.addresses or {}) | self._addresses(port_id, address))
        self.site.forwarder.update()

    def network_detach(self, row: Container, network_id: str) -> None:
        """The port goes, and floating IPs with it."""
        if row.port_id is not None:
            self.site.network.delete_port(row.port_id)
        left = {key: value for key, value in (row.addresses or {}).items() if key != network_id}
        self.change(row, port_id=None, addresses=left)
        self.site.forwarder.update()

    def exited(self, row: Container) -> None:
        """Restart it where its policy says so, remove it where auto_remove does, else it is Stopped."""
        if row.status in {states.DELETED, states.DELETING, states.CREATING}:
            return
        if row.status == states.ERROR and not row.wanted:
            return  # it never ran; what ends here is being removed
        state = self.state(row)
        if state is None:
            if row.status not in {states.DELETED, states.ERROR, states.STOPPED}:
                reason = f"Docker internal error: No such container: {row.uuid}."
                self.change(row, status=states.ERROR, status_reason=reason, wanted=False)
            return
        if state.status != "exited":
            self.refresh(row, now=True)
            return
        if row.wanted and self._restarts_again(row, state):
            delay = _RESTART_DELAYS[min(row.restarts, len(_RESTART_DELAYS) - 1)]
            self.change(row, status=states.RESTARTING, status_detail="Restarting", restarts=row.restarts + 1)
            self.site.containers.later(delay, row.uuid, self._restart)
        elif row.auto_remove and row.wanted:
            self.engine.remove(row.uuid)
            if row.port_id is not None:
                self.site.network.delete_port(row.port_id)
            self.change(row, status=states.DELETED, wanted=False, port_id=None)
            self.site.containers.later(DELETED_KEPT, row.uuid, self.site.containers.destroy)
        else:
            self.refresh(row, now=True)
        self.site.forwarder.update()

    def _restart(self, row: Container) -> None:
        if not row.wanted or row.status != states.RESTARTING:
            return
        try:
            self.engine.start(row.uuid)
        except EngineError as error:
            self.change(row, status=states.ERROR, status_reason=f"Docker internal error: {error}.")
            raise
        self.refresh(row, now=True)

    @staticmethod
    def _restarts_again(row: Container, state: State) -> bool:
        policy = row.restart_policy or {}
        name = policy.get("Name", "no")
        if name == "on-failure":
            most = int(policy.get("MaximumRetryCount") or 0)
            return state.exit_code != 0 and (most == 0 or row.restarts < most)
        return name in {"always", "unless-stopped"}

    # -- looks

    def refresh(self, row: Container, *, now: bool = False) -> Container:
        """Take over the engine's state, unless an operation is under way (`now`: this is that operation)."""
        if not now and (row.status in _UNDER_WAY or row.task_state is not None):
            return row
        state = self.state(row)
        if state is None:
            return row
        if state.status == "exited" and row.wanted and self._restarts_again(row, state):
            return row  # between two starts by its policy: `exited` will say so
        status, detail = status_of(row, state)
        if (status, detail) != (row.status, row.status_detail):
            changes = {"status": status, "status_detail": detail}
            # a look from outside must not undo what an operation has done since the row was read
            row = self.change(row, **changes) if now else self.site.containers.amend(row, **changes)
        if state.status == "running":
            self.settle_address(row, state.address)
        return row

    def logs(self, row: Container, query: LogQuery) -> str | None:
        """As docker gives them."""
        if not query.stdout and not query.stderr:
            raise ServerFault("docker wants at least one stream")
        tail = int(query.tail) if query.tail.lstrip("-").isdigit() else None
        try:
            lines = self.open_log(
                row, stdout=query.stdout, stderr=query.stderr, since_ns=since_ns(query.since),
                tail=tail if tail is not None and tail >= 0 else None,
            )  # fmt: skip
        except NoSuchContainer as error:
            raise Invalid("Cannot operate an uncreated container.", remote=True) from error
        # docker keeps its logs as JSON, and has replaced by then what was not UTF-8
        return log_bytes(lines, timestamps=query.timestamps).decode("utf-8", "replace")

    def execute(self, row: Container, command: str) -> tuple[str, int | None]:
        """Run it, at most `execute_timeout` seconds; it goes on after that, but the answer is 409."""
        argv = self.prepare_exec(row, command)
        limits = self.site.limits
        try:
            result = self.engine.execute(
                row.uuid, argv, timeout=limits.execute_timeout, max_output=limits.execute_output
            )
        except CommandNotFound as error:
            return f"{error}\r\n", NOT_EXECUTABLE
        except NotRunning as error:
            raise _not_running(row) from error
        if result.exit_code is None:
            raise Conflict(f"Timeout on executing command: {command}", remote=True)
        if result.truncated:
            raise ServerFault("the output is longer than a message may be")
        return decode_strictly(result.output, "the output"), result.exit_code

    def prepare_exec(self, row: Container, command: str) -> list[str]:  # noqa: ARG002
        """The words of the command; no shell."""
        try:
            argv = shlex.split(command)
        except ValueError as error:
            raise ServerFault(f"the command cannot be split: {error}") from error
        if not argv:
            raise ServerFault("No exec command specified")
        return argv

    def get_archive(self, row: Container, path: str, out: BinaryIO) -> dict[str, Any]:
        """Docker's archive: the base name at top level."""
        try:
            found = self.engine.get_archive(row.uuid, path, out)
        except PathNotFound as error:
            raise _missing(path) from error
        return docker_stat(found)

    def put_archive(self, row: Container, path: str, data: bytes) -> None:
        """Extract into a directory that exists."""
        import io

        try:
            self.engine.put_archive(row.uuid, path, io.BytesIO(data))
        except PathNotFound as error:
            raise _missing(path) from error

    def stats(self, row: Container) -> dict[str, Any] | None:
        """With docker's names; "CPU %" is the share of all the host's CPU time since it booted, as Zun computes it."""
        stats = self.engine.stats(row.uuid)
        host_cpu = time.clock_gettime(time.CLOCK_BOOTTIME) * (os.cpu_count() or 1)
        mebi = 2**20
        return {
            "CONTAINER": row.name,
            "CPU %": stats.cpu_seconds / host_cpu * 100,
            "MEM USAGE(MiB)": stats.memory_bytes / mebi,
            "MEM LIMIT(MiB)": stats.memory_limit_bytes / mebi,
            "MEM %": stats.memory_bytes / max(stats.memory_limit_bytes, 1) * 100,
            "BLOCK I/O(B)": f"{stats.read_bytes}/{stats.write_bytes}",
            "NET I/O(B)": f"{stats.rx_bytes}/{stats.tx_bytes}",
        }

    def top(self, row: Container, ps_args: str | None) -> dict[str, Any]:  # noqa: ARG002
        """Its processes; the columns are those of `ps -ef` whatever the arguments."""
        try:
            titles, processes = self.engine.top(row.uuid)
        except NotRunning as error:
            raise _not_running(row) from error
        return {"Processes": processes, "Titles": titles}

    def resize(self, row: Container, rows: int, cols: int) -> None:
        """Also fine without a tty, without effect."""
        self.engine.resize(row.uuid, rows, cols)

    def can_resize_exec(self) -> None:
        """Always."""

    def open_attach(self, row: Container) -> Terminal:
        """Pid 1's stdio, shared by all who attach."""
        return self.engine.attach(row.uuid)

    # -- helpers

    def _make(self, row: Container) -> None:
        address = next(iter((row.addresses or {}).values()))[0]["addr"]
        spec = self.spec(row, address)
        self.engine.create(spec)
        image = self.engine.image(spec.image)
        self.change(
            row,
            status=states.CREATED,
            status_reason=None,
            status_detail="Created",
            host=self.site.containers.host_name,
            hostname=row.hostname or row.uuid.replace("-", "")[:12],
            ports=[number for number, _ in row.port_list()],
            command=row.args or list(image.command),
            environment=row.environment or {},
            labels=row.labels or {},
            restart_policy=row.restart_policy or {},
            healthcheck=row.healthcheck or {},
            entrypoint=row.entrypoint or [],
            security_groups=row.security_groups or self._default_groups(row),
        )

    def _default_groups(self, row: Container) -> list[str]:
        """Exposed ports are opened by a security group."""
        if not row.exposed_ports:
            return []
        group = self.site.network.find_security_group(row.project_id, "default")
        return [group] if group else []

    def _addresses(self, port_id: str, address: str) -> dict[str, list[dict[str, Any]]]:
        network = self.site.network
        entry = {
            "addr": address,
            "version": 4,
            "port": port_id,
            "subnet_id": network.subnet_id,
            "preserve_on_delete": False,
        }
        return {network.network_id: [entry]}


def _missing(path: str) -> Exception:
    """Zun formats docker's message with `%`; an encoded slash in it ("%2F") breaks that, so most paths give 500."""
    if "/" in path:
        return ServerFault(f"no such path: {path}")
    return Invalid(f"Could not find the file {path} in container", remote=True)


def _not_running(row: Container) -> Conflict:
    return Conflict(f"Container {row.uuid} is not running", remote=True)
