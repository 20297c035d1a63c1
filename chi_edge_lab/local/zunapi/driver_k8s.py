"""CHI@Edge's k8s driver: a container is a Deployment with one pod.

What follows from that: files and logs live as long as the pod, so stop, start and every restart lose them; a command
that ends is started again; `execute` and archives are processes in the pod that get no end of stdin; what Kubernetes
has no word for raises NotImplementedError. Read in zun/container/k8s/driver.py and mapping.py of Chameleon's fork.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any, BinaryIO

from chi_edge_lab.local.engines.base import CommandNotFound, EngineError, NoSuchContainer, NotRunning
from chi_edge_lab.local.zunapi import states
from chi_edge_lab.local.zunapi.driver import Driver, LogQuery, Refused, decode_strictly, log_bytes
from chi_edge_lab.local.zunapi.errors import ContainerNotFound, ServerFault
from chi_edge_lab.local.zunapi.k8s_words import DEVICE_PROFILES, api_error, faults_of
from chi_edge_lab.local.zunapi.model import Container

if TYPE_CHECKING:
    from chi_edge_lab.local.engines.base import Terminal
    from chi_edge_lab.local.zunapi.site import Site

CONFIG_MAP_LIMIT = 2**20
"""Bytes of a file mount: what a Kubernetes ConfigMap holds."""

ERROR_AFTER_RESTARTS = 2
"""Restarts after which an unready pod is reported as Error (a constant of the driver)."""

METRICS_AFTER = 5.0
"""Seconds before a pod has its first metrics sample; until then `stats` is null (metrics-server: up to 60)."""

_NVIDIA = {
    "NVIDIA_REQUIRE_JETPACK": "csv-mounts=all",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "all",
}


class K8sDriver(Driver):
    """Chameleon's k8s driver."""

    clears_task_state = False
    channel_bytes = True

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._samples: dict[str, tuple[float, float]] = {}  # uuid -> (when, CPU seconds until then)
        self._samples_lock = threading.Lock()
        self._due: set[str] = (
            set()
        )  # containers that will be restarted in a moment; touched in their queues only

    # -- operations

    def create(self, row: Container) -> None:
        """Make the Deployment; it starts its pod by itself, whether `run` was asked or not."""
        self._check(row)
        if row.runtime == "nvidia":
            row = self.change(row, environment=(row.environment or {}) | _NVIDIA)
        row = self.change(
            row,
            host=self.site.containers.host_name,
            auto_remove=True,
            interactive=True,
            tty=True,
            wanted=True,
        )
        self._launch(row)

    def start(self, row: Container) -> None:
        """Scale to one: a new pod, unless there is one already."""
        if row.host is None:
            raise Refused(api_error(404, "NotFound", f'deployments.apps "zun-{row.uuid}" not found'))
        if row.wanted and self.state(row) is not None:
            if row.status == states.RUNNING:  # the second half of create and run
                self.change(row, task_state=None)
            return  # replicas is 1 already: nothing changes, and the task_state waits for the pod to be ready
        self._launch(self.change(row, wanted=True))

    def stop(self, row: Container, timeout: float) -> None:  # noqa: ARG002
        """Scale to zero: the pod and its files go. The timeout is ignored."""
        row = self.change(row, wanted=False)
        self._remove_pod(row, self.site.limits.stop_grace)
        self.change(row, status=states.STOPPED, task_state=None)

    def stop_for_delete(self, row: Container) -> None:
        """Scaling down does not wait for the pod, and the Deployment goes right after."""

    def reboot(self, row: Container, timeout: float) -> None:  # noqa: ARG002
        """Scale to zero and to one: a new pod."""
        self._remove_pod(self.change(row, wanted=False), self.site.limits.stop_grace)
        self._launch(self.change(row, wanted=True))

    def delete(self, row: Container) -> None:
        """Remove Deployment, pod and port."""
        self.change(row, wanted=False)
        self.engine.remove(row.uuid)
        with self._samples_lock:
            self._samples.pop(row.uuid, None)
        if row.port_id is not None:
            self.site.network.delete_port(row.port_id)

    def rebuild(self, row: Container, *, run: bool) -> None:
        """The manager asks the driver for a method it does not have, after the API has set Rebuilding."""
        raise NotImplementedError("check_container_exist")

    def exited(self, row: Container) -> None:
        """A Deployment keeps its pod alive: start again, with a growing delay, for ever."""
        if not row.wanted or row.host is None:
            return
        state = self.state(row)
        if state is not None and state.status in {"running", "paused"}:
            if row.status != states.RUNNING:
                self.change(
                    row, status=states.RUNNING, task_state=None, status_reason=None, status_detail=None
                )
            self.settle_address(row, state.address)
        else:
            self._unready(row)
        self.site.forwarder.update()

    def _unready(self, row: Container) -> None:
        if row.restarts > ERROR_AFTER_RESTARTS:
            self.change(
                row,
                status=states.ERROR,
                task_state=None,
                status_reason=f"containers with unready status: [{row.name}]",
                status_detail="ContainersNotReady",
            )
        else:
            self.change(row, status=states.CREATED, task_state="container_starting")
        if row.uuid in self._due:
            return  # both the starter and the engine's watcher have seen it end
        self._due.add(row.uuid)
        delays = self.site.limits.restart_delays
        self.site.containers.later(delays[min(row.restarts, len(delays) - 1)], row.uuid, self._restart)

    def _restart(self, row: Container) -> None:
        self._due.discard(row.uuid)
        state = self.state(row)
        if not row.wanted or (state is not None and state.status in {"running", "paused"}):
            return
        if state is None and not self._scheduled(row):
            return  # there was no pod to begin again: the site ended in the middle of a start
        row = self.change(row, restarts=row.restarts + 1)
        try:
            self.engine.remove(row.uuid)
            self._run(row)
        except EngineError:
            self._unready(row)  # the kubelet never gives up
            raise

    # -- the pod

    def _check(self, row: Container) -> None:
        """What Zun's compute and the Kubernetes API refuse, in their order."""
        for mount in row.mounts or ():
            if len(mount["source"]) * 3 // 4 > CONFIG_MAP_LIMIT:
                raise Refused(api_error(422, "Invalid", f"{CONFIG_MAP_LIMIT} bytes is all a ConfigMap holds"))
        if row.disk:
            raise Refused("Your host does not support disk quota feature.")
        if row.image_driver != "docker":
            raise NotImplementedError
        for profile in row.device_profiles or ():
            if profile not in DEVICE_PROFILES:
                raise Refused(
                    f"Missing mapping for device_profile '{profile}', ensure it has been added "
                    "to device_profile_mappings."
                )
        if not row.reservation_id:
            raise Refused(f"container {row.uuid} has no reservaton ID set.")
        faults = list(faults_of(row))
        if faults:
            text = faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]"
            raise Refused(api_error(422, "Invalid", f'Deployment.apps "zun-{row.uuid}" is invalid: {text}'))

    def _schedule(self, row: Container) -> str | None:
        """Why no node takes the pod, None when one does."""
        nodes = (
            "0/1 nodes are available: 1 {}. preemption: 0/1 nodes are available: "
            "1 Preemption is not helpful for scheduling."
        )
        usable, _ = self.site.reservations.is_usable(row.reservation_id or "", row.project_id)
        if not usable:
            return nodes.format("node(s) didn't match Pod's node affinity/selector")
        devices = [device for profile in row.device_profiles or () for device in DEVICE_PROFILES[profile]]
        return nodes.format(f"Insufficient {devices[0]}") if devices else None

    def _scheduled(self, row: Container) -> bool:
        """Whether a node takes the pod; else the container is in Error, and stays so until somebody starts it."""
        why_not = self._schedule(row)
        if why_not is not None:
            self.change(
                row, status=states.ERROR, task_state=None, status_reason=why_not, status_detail="Unschedulable",
                ports=[number for number, _ in row.port_list()], command=row.entrypoint, wanted=False,
            )  # fmt: skip
        return why_not is None

    def _launch(self, row: Container) -> None:
        """A new pod: scheduled, made, started."""
        if not self._scheduled(row):
            return
        self.check_image(row)
        if row.status not in {states.CREATING, states.RUNNING}:
            row = self.change(row, status=states.CREATING)
        self._run(self.change(row, restarts=0))

    def _run(self, row: Container) -> None:
        port_id = row.port_id
        if port_id is None:
            port_id, address = self.open_port(row)
        else:
            address = self.site.network.free_address()
            self.site.network.update_port(port_id, address)
        entry = {"addr": address, "version": 4, "port": port_id}
        self.engine.create(self.spec(row, address))
        row = self.change(
            row,
            port_id=port_id,
            addresses={self.site.network.network_id: [entry]},
            ports=[number for number, _ in row.port_list()],
            command=row.entrypoint,
        )
        if row.restarts <= ERROR_AFTER_RESTARTS:  # else it stays in Error until it is ready
            row = self.change(
                row,
                status=states.CREATED,
                task_state="container_starting",
                status_reason=None,
                status_detail=None,
            )
        try:
            self.engine.start(row.uuid)
        except EngineError:
            self._unready(row)  # the kubelet cannot start it: it counts as an end, and is tried again
            return
        self.exited(row)  # it runs, or has ended already

    def _remove_pod(self, row: Container, grace: float) -> None:
        with contextlib.suppress(NoSuchContainer, NotRunning):
            self.engine.stop(row.uuid, grace)
        self.engine.remove(row.uuid)

    # -- looks

    def refresh(self, row: Container) -> Container:
        """The driver's `show` answers from the database; events keep that up to date."""
        return row

    def logs(self, row: Container, query: LogQuery) -> str | None:
        """Of this pod only; null without one. The stream flags are ignored, `since` is seconds ago."""
        if self.state(row) is None:
            return None
        tail = None
        if query.tail and query.tail != "all":
            if not query.tail.isdigit():
                raise ServerFault(f"tailLines: Invalid value: {query.tail!r}")
            tail = int(query.tail)
        since_ns = None
        if query.since is not None:
            if not query.since.isdigit() or int(query.since) < 1:
                raise ServerFault(f"sinceSeconds: Invalid value: {query.since!r}")
            since_ns = time.time_ns() - min(int(query.since) * 1_000_000_000, time.time_ns())
        try:
            lines = self.open_log(row, since_ns=since_ns, tail=tail)
        except NoSuchContainer:
            return None
        return decode_strictly(log_bytes(lines, timestamps=query.timestamps), "the log")

    def execute(self, row: Container, command: str) -> tuple[str, int | None]:
        """Run it; after `execute_timeout` seconds what it printed so far and no exit code, while it goes on."""
        limits = self.site.limits
        try:
            result = self.engine.execute(
                row.uuid,
                self._split(command),
                timeout=limits.execute_timeout,
                max_output=limits.execute_output,
            )
        except CommandNotFound:
            return "Malformed command, or binary not found in container", -1
        except NoSuchContainer:
            raise _no_pod() from None
        except NotRunning as error:
            raise ServerFault(f"container not found: {error}") from error
        if result.truncated:
            raise ServerFault("the output is longer than a message may be")
        return result.output.decode("utf-8", "replace"), result.exit_code

    def prepare_exec(self, row: Container, command: str) -> list[str]:
        """There are no interactive execs, but the command has run when that is found out."""
        self.execute(row, command)
        raise ServerFault("exec_id is a dict, not a string")

    def get_archive(self, row: Container, path: str, out: BinaryIO) -> dict[str, Any]:
        """`tar` of a directory's content, or of a file of that name in the working directory."""
        tar = (
            f"tar cf - -C {path} ."
            if self._is_directory(row, path)
            else f"tar cf - {path.rpartition('/')[2]}"
        )
        try:
            result = self.engine.execute(
                row.uuid, self._split(tar), timeout=self.site.limits.archive_timeout, stdout=out
            )
            if result.exit_code is None:
                raise ServerFault("the archive took longer than Zun waits")
        except CommandNotFound:
            pass  # the error is on a channel that the driver does not read: an empty archive
        except (NoSuchContainer, NotRunning):
            raise _no_pod() from None
        return {"name": f"{path}.tar", "size": out.tell()}

    def _is_directory(self, row: Container, path: str) -> bool:
        argv = self._split(f"sh -c 'test -d {path} && echo directory || echo file'")
        try:
            result = self.engine.execute(
                row.uuid, argv, timeout=self.site.limits.execute_timeout, max_output=65536
            )
        except CommandNotFound as error:
            raise ServerFault("no exit code from a container without sh") from error
        except (NoSuchContainer, NotRunning):
            raise _no_pod() from None
        return result.output.strip() == b"directory"

    def put_archive(self, row: Container, path: str, data: bytes) -> None:
        """`tar xmf -` with a stdin that never ends; that it fails is not noticed, only that it does not end."""
        argv = self._split(f"tar xmf - -C {path}")
        try:
            result = self.engine.execute(
                row.uuid, argv, timeout=self.site.limits.archive_timeout, stdin=data, hold_stdin=True,
                max_output=65536,
            )  # fmt: skip
        except CommandNotFound as error:
            raise ServerFault("Failed tar invocation during put_archive") from error
        except (NoSuchContainer, NotRunning):
            raise _no_pod() from None
        if result.exit_code is None:
            raise ServerFault("'<' not supported between instances of 'NoneType' and 'int'")

    def stats(self, row: Container) -> dict[str, Any] | None:
        """metrics.k8s.io's usage, null until there is a sample: CPU in nanocores since the last look, memory in KiB."""
        state = self.state(row)
        if state is None or state.started_at is None or time.time() - state.started_at < METRICS_AFTER:
            return None
        stats = self.engine.stats(row.uuid)
        now = time.time()
        with self._samples_lock:
            then, before = self._samples.get(row.uuid, (state.started_at, 0.0))
            if then < state.started_at or before > stats.cpu_seconds:
                then, before = state.started_at, 0.0  # that was another pod
            if now - then >= 1.0:
                self._samples[row.uuid] = (now, stats.cpu_seconds)
        cores = (stats.cpu_seconds - before) / max(now - then, 1e-3)
        return {"cpu": f"{max(int(cores * 1e9), 0)}n", "memory": f"{stats.memory_bytes // 1024}Ki"}

    def open_attach(self, row: Container) -> Terminal:
        """A new shell for each connection, not pid 1."""
        return self.engine.terminal(row.uuid, ["/bin/sh"], tty=True)

    @staticmethod
    def _split(command: str) -> list[str]:
        try:
            argv = shlex.split(command)
        except ValueError as error:
            raise ServerFault(f"the command cannot be split: {error}") from error
        if not argv:
            raise ServerFault("you must specify at least one command for the container")
        return argv


def _no_pod() -> ContainerNotFound:
    """Raised by the driver without the container's name: the client sees the template itself."""
    error = ContainerNotFound("%(container)s")
    error.remote = True
    return error
