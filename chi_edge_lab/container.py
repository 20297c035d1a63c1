"""Edge containers with the interface of python-chi's `chi.container`, of both its generations (1.0 and 1.2).

`from chi_edge_lab import container` stands in for `from chi import container`. What is called the same means
the same; where python-chi does something wrong (a wait that ignores an error, a download that leaves its
folder, ...) this does not. Every long call also takes `on_progress` and `cancel` (see `chi_edge_lab.core`),
and Ctrl-C ends it with a sentence of what state things are in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chi_edge_lab import core, display
from chi_edge_lab.core.progress import Cancel, OnProgress
from chi_edge_lab.errors import BadInput, Conflict, ContainerGone, ExecTimeout, NotFound
from chi_edge_lab.exitcode import ExitCode
from chi_edge_lab.twins import AsyncTwins

if TYPE_CHECKING:
    from chi_edge_lab.core.logs import LogStream
    from chi_edge_lab.core.terminal import Terminal
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun import models as zun

__all__ = [
    "DEFAULT_IMAGE_DRIVER",
    "DEFAULT_NETWORK",
    "Container",
    "ExitCode",
    "associate_floating_ip",
    "create_container",
    "destroy_container",
    "download",
    "execute",
    "get_container",
    "get_logs",
    "list_containers",
    "snapshot_container",
    "upload",
    "wait_for_active",
]

DEFAULT_IMAGE_DRIVER = "docker"
DEFAULT_NETWORK = "containernet1"
# seconds; an image may have to be pulled over an edge device's uplink (python-chi's number)
DEFAULT_START_TIMEOUT = 30 * 60
SHOWS = ("text", "widget")


def _client() -> Client:
    """The client of the site and project that are chosen now (`use_site`, `use_project`, python-chi's
    context, ...).
    """
    from chi_edge_lab import sites
    from chi_edge_lab.zun import client_for

    return client_for(sites.current())


class Container(AsyncTwins):
    """A container, described by its arguments and, once submitted, there on the site.

    Attributes: `name, image_ref, exposed_ports, reservation_id, start, start_timeout, runtime, command,
    workdir, environment, device_profiles` as given; `id` (and `uuid`, the same), None until the site has it;
    `status`, `addresses`, `zun_container` asked of the site each time; `created_at`. `start_timeout` is in
    seconds, 0 means half an hour. A Container keeps to the site and project that it was first used on.
    """

    def __init__(
        self,
        name: str,
        image_ref: str,
        exposed_ports: Sequence[str | int] | Mapping[str, Any] | None = None,
        reservation_id: str | None = None,
        start: bool = True,
        start_timeout: int = 0,
        runtime: str | None = None,
        command: Sequence[str] | str | None = None,
        workdir: str | None = None,
        environment: Mapping[str, str] | None = None,
        device_profiles: Sequence[str] | None = None,
    ) -> None:
        self.name = name
        self.image_ref = image_ref
        self.exposed_ports = exposed_ports
        self.reservation_id = reservation_id
        self.start = start
        self.start_timeout = start_timeout
        self.runtime = runtime
        self.command = command
        self.workdir = workdir
        self.environment = dict(environment) if environment else {}
        self.device_profiles = list(device_profiles) if device_profiles else []
        self.id: str | None = None
        self._status: str | None = None
        self._created_at: datetime | None = None
        self._site: Client | None = None
        self._deleted: str | None = None  # the id that it had

    @classmethod
    def from_zun_container(cls, zun_container: Any) -> Container:
        """A Container for one that the site has (python-zunclient's object or ours)."""
        return cls._of(zun_container, None)

    @classmethod
    def _of(cls, found: Any, client: Client | None) -> Container:
        made = cls(
            name=found.name,
            image_ref=found.image,
            exposed_ports=list(found.ports or []),
            runtime=getattr(found, "runtime", None),
            command=list(getattr(found, "command", None) or []) or None,
            workdir=getattr(found, "workdir", None),
            environment=getattr(found, "environment", None),
        )
        made.id, made._status, made._site = found.uuid, found.status, client
        created = getattr(found, "created_at", None)
        made._created_at = created if isinstance(created, datetime) else None
        return made

    # -- what it is ------------------------------------------------------------------------------

    @property
    def uuid(self) -> str | None:
        """The same as `id`."""
        return self.id

    @property
    def client(self) -> Client:
        """The client of the site that it is on."""
        if self._site is None:
            self._site = _client()
        return self._site

    @property
    def status(self) -> str | None:
        """The status now ("Running", ...), asked of the site; None before it is submitted, "Deleted" when
        it is gone.
        """
        if self.id:
            try:
                self._status = self.client.get_container(self.id).status
            except NotFound:
                self._status = "Deleted"
        return self._status

    @property
    def zun_container(self) -> zun.Container:
        """All that the site says of it now."""
        return self.client.get_container(self._there())

    @property
    def addresses(self) -> dict[str, list[dict[str, Any]]]:
        """Networks and addresses as Zun has them: `{network id: [{"addr", "version", "port"}]}`."""
        if self.id is None:
            return {}
        return {
            network: [address.model_dump() for address in listed]
            for network, listed in self.zun_container.addresses.items()
        }

    @property
    def created_at(self) -> datetime | None:
        """When it was created (UTC); None before. CHI@Edge tells it only in the history of actions."""
        if self._created_at is None and self.id:
            self._created_at = core.actions.created_at(self.client, self.zun_container)
        return self._created_at

    def __repr__(self) -> str:
        return f"<Container {self.name!r} {self._status or self._absent}{f' {self.id}' if self.id else ''}>"

    @property
    def _absent(self) -> str:
        return "deleted" if self._deleted else "not submitted"

    def _repr_mimebundle_(self, **_kwargs: Any) -> dict[str, str]:
        """The last known state, for a saved notebook: static, and without environment variables."""
        return {"text/plain": repr(self), "text/html": display.table(self._rows(self._status))}

    def _rows(self, status: str | None, reason: str | None = None) -> dict[str, Any]:
        rows = {
            "Container": self.name,
            "ID": self.id or self._absent,
            "Status": status or self._absent,
            "Reason": reason,
            "Image": self.image_ref,
            "Created at": self._created_at,
            "Exposed ports": ", ".join(str(port) for port in self.exposed_ports or []),
            "Reservation ID": self.reservation_id,
            "Runtime": self.runtime,
        }
        return {name: value for name, value in rows.items() if value not in (None, "")}

    def _there(self) -> str:
        if self._deleted:
            raise ContainerGone(
                f"Container {self.name!r} was deleted (it was {self._deleted}).",
                hint="submit() makes a new one.",
            )
        if self.id is None:
            raise BadInput(f"Container {self.name!r} is not on the site yet.", hint="Call submit() first.")
        return self.id

    # -- creating and deleting --------------------------------------------------------------------

    def submit(
        self,
        wait_for_active: bool = True,
        wait_timeout: float | None = None,
        show: str | None = "widget",
        idempotent: bool = False,
        *,
        on_progress: OnProgress | None = None,
        cancel: Cancel | None = None,
    ) -> Container | None:
        """Create it on the site and, with `wait_for_active`, wait until it runs (`wait_timeout` seconds;
        None: `start_timeout`).

        With `idempotent` a container of this name that is there already is taken over (this object becomes
        it, and it is returned); one in Error raises. Raises what `core.create.create` does: BadInput before
        anything is sent, ContainerFailed with the site's reason. `id` is set as soon as the site has the
        container, so that `delete()` works whatever comes after.
        """
        _known_show(show)
        limit = (
            _limit(wait_timeout, "wait_timeout")
            or _limit(self.start_timeout, "start_timeout")
            or DEFAULT_START_TIMEOUT
        )
        existing = self._existing() if idempotent else None
        if existing is not None:
            self._become(existing)
            if wait_for_active:
                self.wait("Running", limit, cancel=cancel, on_progress=on_progress)
        else:
            if self.id is not None and self.status != "Deleted":
                raise Conflict(
                    f"Container {self.name!r} was submitted already ({self.id}).",
                    hint="Delete it first, or make another.",
                )
            self.id = None
            with display.stages(self.name) as shown:
                found = core.create.create(
                    self.client,
                    name=self.name,
                    image=self.image_ref,
                    command=self.command,
                    environment=self.environment,
                    exposed_ports=self.exposed_ports,
                    reservation_id=self.reservation_id,
                    start=self.start,
                    timeout=limit,
                    wait_until_running=wait_for_active,
                    runtime=self.runtime,
                    workdir=self.workdir,
                    interactive=self.command in (None, "", []) or None,
                    device_profiles=self.device_profiles or None,
                    on_progress=on_progress or shown,
                    cancel=cancel,
                    on_created=self._become,
                )
            self._become(found)
        if show:
            self.show(show)
        return self if existing is not None else None

    def _existing(self) -> zun.Container | None:
        core.names.check_name(self.client.dialect, self.name)
        try:
            return _find(self.client, self.name)
        except NotFound:
            return None

    def _become(self, found: zun.Container) -> None:
        self.id, self._status, self._deleted = found.uuid, found.status, None
        if found.created_at is not None:
            self._created_at = found.created_at

    def delete(self, *, cancel: Cancel | None = None) -> None:
        """Delete it, in whatever state it is, and wait until it is gone. Its floating IPs stay the
        project's. Nothing to do when it is gone.
        """
        if self.id is None:
            return
        if not core.lifecycle.delete(self.client, self.id, cancel=cancel):
            display.say(f"Container {self.name} was deleted already.")
        self._deleted = self.id
        self.id = self._status = self._created_at = None

    def wait(
        self, status: str = "Running", *args: Any, timeout: float | None = None, show: str | None = None,
        on_progress: OnProgress | None = None, cancel: Cancel | None = None,
    ) -> None:  # fmt: skip
        """Wait until it has `status`, for at most `timeout` seconds (None: no end).

        The second positional argument is `timeout` as in python-chi 1.0, or `show` as in 1.2 (then the third
        is `timeout`). Raises ContainerFailed with the site's reason when it goes to Error, ContainerGone,
        WaitTimeout.
        """
        show, timeout = _wait_arguments(args, show, timeout)
        _known_show(show)
        with display.stages(self.name) as shown:
            found = core.wait.wait(
                self.client, self._there(), status, timeout=_limit(timeout, "timeout"),
                on_progress=on_progress or shown, cancel=cancel,
            )  # fmt: skip
        self._status = found.status

    def show(self, type: str = "text", wait_for_active: bool = False) -> None:  # noqa: A002
        """Show its state: "text" prints it, "widget" shows a table in a notebook. Before `submit` what is
        known of it.
        """
        _known_show(type)
        if wait_for_active and self.id:
            self.wait("Running")
        status, reason = self._status, None
        if self.id:
            try:
                found = self.client.get_container(self.id)
                status, reason = found.status, found.status_reason
                self._status = status
                _ = self.created_at
            except NotFound:
                status = self._status = "Deleted"
        display.show(self._rows(status, reason), type)

    # -- working in it ----------------------------------------------------------------------------

    def execute(
        self, command: str | Sequence[str], timeout: float | None = None, *,
        on_output: Callable[[str], None] | None = None, cancel: Cancel | None = None,
    ) -> tuple[str, ExitCode]:  # fmt: skip
        """Run one command (no shell: `sh -c '...'` for pipes) and give its output and exit code.

        Without `timeout` a command that takes longer than the site waits (5 s) goes on in the container; then
        a warning says so, the output is what there was, and the exit code is "None", as on CHI@Edge with
        python-chi. With `timeout` in seconds (`math.inf`: to the end) it is waited for, and ExecTimeout is
        raised when it takes longer still. `run` is the same to the end.
        """
        result = _run(self.client, self._there(), command, timeout, on_output, cancel)
        return result["output"], ExitCode(str(result["exit_code"]))

    def run(
        self, command: str | Sequence[str], timeout: float | None = None, *,
        on_output: Callable[[str], None] | None = None, cancel: Cancel | None = None,
    ) -> tuple[str, ExitCode]:  # fmt: skip
        """As `execute`, but to the command's end however long it takes (or `timeout` seconds, then
        ExecTimeout). Ctrl-C ends the command.
        """
        return self.execute(
            command, math.inf if timeout is None else timeout, on_output=on_output, cancel=cancel
        )

    def upload(
        self,
        source: str,
        remote_dest: str,
        *,
        on_progress: OnProgress | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """Upload a local file or folder into the existing folder `remote_dest`, under its own name: whole
        and verified, or not at all.
        """
        uuid = self._there()
        with display.transfer("Uploading", source) as shown:
            core.transfer.upload(
                self.client, uuid, source, remote_dest, on_progress=on_progress or shown, cancel=cancel
            )

    def download(
        self,
        remote_source: str,
        dest: str,
        *,
        on_progress: OnProgress | None = None,
        cancel: Cancel | None = None,
    ) -> None:
        """Download into the local folder `dest`: a file under its own name, of a folder what is in it (as
        on CHI@Edge). Whole and verified, or not at all.
        """
        uuid = self._there()
        with display.transfer("Downloading", remote_source) as shown:
            core.transfer.download(
                self.client,
                uuid,
                remote_source,
                dest,
                content_only=True,
                on_progress=on_progress or shown,
                cancel=cancel,
            )

    def logs(self, stdout: bool = True, stderr: bool = True, *, tail: int | None = None) -> str:
        """What it has printed, the last `tail` lines (default 10 000). CHI@Edge cannot tell stdout from
        stderr.
        """
        return core.logs.snapshot(self.client, self._there(), stdout=stdout, stderr=stderr, tail=tail)

    def log_stream(
        self,
        follow: bool = True,
        since: float | datetime | None = None,
        tail: int | None = None,
        *,
        cancel: Cancel | None = None,
    ) -> LogStream:
        """Its log line by line, each once and in order (`for` and `async for`), until it has stopped; with
        `follow=False` only what is there. `since`: a datetime, or seconds since 1970; `tail`: lines to begin with.

        `.to_dataframe()` of it is a pandas DataFrame.
        """
        if isinstance(since, datetime):
            since = since.timestamp()
        return core.logs.LogStream(
            self.client, self._there(), follow=follow, since=since, tail=tail, cancel=cancel
        )

    def terminal(self, command: str = "sh") -> Terminal:
        """Open an interactive shell in it."""
        return core.terminal.Terminal(self.client, self._there(), command=command)

    def associate_floating_ip(self, fip: str | None = None, *, cancel: Cancel | None = None) -> str:
        """Bind the floating IP `fip`, else the one that it has, else a new one; returns the address."""
        return core.floating_ips.attach(self.client, self._there(), fip, cancel=cancel)

    def detach_floating_ip(self, fip: str) -> None:
        """Unbind `fip` and give it back to the site."""
        core.floating_ips.release(self.client, fip)


# -- the functions ------------------------------------------------------------------------------------


def create_container(
    name: str,
    image: str | None = None,
    exposed_ports: Sequence[str | int] | Mapping[str, Any] | None = None,
    reservation_id: str | None = None,
    start: bool = True,
    start_timeout: float | None = None,
    platform_version: int | None = 2,
    **kwargs: Any,
) -> Container:
    """Create a container, wait until it runs (`start_timeout` seconds, default half an hour) and return it.

    `kwargs` are more of Zun's create fields (`command`, `environment`, `workdir`, `interactive`, `hints`,
    `device_profiles`, `runtime`, ...). `platform_version` is sent on to CHI@Edge, which ignores it.
    """
    client = _client()
    hints = dict(kwargs.pop("hints", None) or {})
    if platform_version and client.dialect.name == "k8s":
        hints.setdefault("platform_version", platform_version)
    extra = {key: value for key, value in kwargs.items() if value not in (None, [], {})}
    container = Container(
        name,
        image or "",
        exposed_ports,
        reservation_id,
        start,
        int(start_timeout or 0),
        extra.get("runtime"),
        extra.get("command"),
        extra.get("workdir"),
        extra.get("environment"),
        extra.get("device_profiles"),
    )
    container._site = client
    with display.stages(name) as shown:
        found = core.create.create(
            client,
            name=name,
            image=image or "",
            exposed_ports=exposed_ports,
            reservation_id=reservation_id,
            start=start,
            hints=hints,
            timeout=_limit(start_timeout, "start_timeout") or DEFAULT_START_TIMEOUT,
            on_progress=shown,
            **extra,
        )
    container._become(found)
    return container


def list_containers() -> list[Container]:
    """All containers of the project."""
    client = _client()
    return [Container._of(found, client) for found in client.list_containers()]


def get_container(name: str) -> Container | None:
    """The container of that name or uuid, None where there is none. Raises Conflict, with their ids, when
    several have the name.
    """
    client = _client()
    try:
        return Container._of(_find(client, name), client)
    except NotFound:
        return None


def snapshot_container(container_ref: str, repository: str, tag: str = "latest") -> str:
    """Make an image of the container; returns the image's id. Raises NotSupported on CHI@Edge, whose
    driver cannot.
    """
    client = _client()
    client.dialect.require("commit")
    return core.snapshot.snapshot(client, _uuid(client, container_ref), repository, tag)


def destroy_container(container_ref: str) -> None:
    """Delete the container in whatever state it is, and wait until it is gone. Nothing to do when there is
    none.
    """
    client = _client()
    try:
        found = core.lifecycle.delete(client, _uuid(client, container_ref))
    except NotFound:
        found = False
    if not found:
        display.say(f"There is no container {container_ref} (any more).")


def get_logs(container_ref: str, stdout: bool = True, stderr: bool = True) -> str:
    """What the container has printed, the last 10 000 lines."""
    client = _client()
    return core.logs.snapshot(client, _uuid(client, container_ref), stdout=stdout, stderr=stderr)


def execute(container_ref: str, command: str | Sequence[str], timeout: float | None = None) -> dict[str, Any]:
    """Run one command: a dict with "output" (str) and "exit_code" (int; None while it still runs). See
    `Container.execute`.
    """
    client = _client()
    return _run(client, _uuid(client, container_ref), command, timeout, None, None)


def upload(container_ref: str, source: str, dest: str) -> dict[str, Any]:
    """Upload a local file or folder into the existing folder `dest`: whole and verified, or not at all.
    Returns what was done.
    """
    client = _client()
    uuid = _uuid(client, container_ref)
    with display.transfer("Uploading", source) as shown:
        done = core.transfer.upload(client, uuid, source, dest, on_progress=shown)
    return {"path": done.path, "files": done.files, "size": done.size, "sha256": done.sha256}


def download(container_ref: str, source: str, dest: str) -> None:
    """Download a file, or what is in a folder, into the local folder `dest`: whole and verified, or not at
    all.
    """
    client = _client()
    uuid = _uuid(client, container_ref)
    with display.transfer("Downloading", source) as shown:
        core.transfer.download(client, uuid, source, dest, content_only=True, on_progress=shown)


def wait_for_active(container_ref: str, timeout: float | None = 60 * 2) -> Container:
    """Wait until the container runs (`timeout` seconds; None: no end) and return it. Raises WaitTimeout (a
    TimeoutError), ContainerFailed.
    """
    client = _client()
    with display.stages(str(container_ref)) as shown:
        found = core.wait.wait(
            client, _uuid(client, container_ref), "Running", timeout=_limit(timeout, "timeout"),
            on_progress=shown,
        )  # fmt: skip
    return Container._of(found, client)


def associate_floating_ip(container_ref: str, floating_ip_address: str | None = None) -> str:
    """Bind a floating IP to the container; see `Container.associate_floating_ip`."""
    client = _client()
    return core.floating_ips.attach(client, _uuid(client, container_ref), floating_ip_address)


# -- inside ---------------------------------------------------------------------------------------------


def _find(client: Client, ref: str) -> zun.Container:
    """The container of a name or uuid; several of one name are told apart by their ids."""
    if not isinstance(ref, str) or not ref:
        raise BadInput(f"{ref!r} is not a container's name or uuid.")
    try:
        return client.get_container(ref)
    except Conflict as error:
        same = [found for found in client.list_containers(name=ref) if found.name == ref]
        listed = ", ".join(f"{found.uuid} ({found.status})" for found in same)
        raise Conflict(
            f"{len(same)} containers are named {ref!r}.", hint=f"Use one of their ids: {listed}.",
            request_id=error.request_id, http_status=error.http_status,
        ) from error  # fmt: skip


def _uuid(client: Client, ref: str | Container) -> str:
    if isinstance(ref, Container):
        return ref._there()
    return _find(client, ref).uuid


def _run(
    client: Client, uuid: str, command: str | Sequence[str], timeout: float | None,
    on_output: Callable[[str], None] | None, cancel: Cancel | None,
) -> dict[str, Any]:  # fmt: skip
    core.validate.argv(command)
    syntax = core.validate.shell_syntax(command)
    if syntax is not None:
        display.warn(
            f"No shell interprets {syntax} in this command: the program gets it as an argument. "
            "For pipes, redirections, several commands and variables use sh -c '...'; quote what is meant literally."
        )
    try:
        result = core.execute.execute(
            client, uuid, command, timeout=timeout, on_output=on_output, cancel=cancel
        )
    except ExecTimeout as error:
        if timeout is not None:
            raise
        display.warn(
            f"{error.message} Its output so far is returned. "
            "Use run(), or execute(..., timeout=seconds), to wait for its end."
        )
        return {"output": error.output, "exit_code": None, "exec_id": None, "proxy_url": None}
    return {"output": result.output, "exit_code": result.exit_code, "exec_id": None, "proxy_url": None}


def _wait_arguments(
    args: tuple[Any, ...], show: str | None, timeout: float | None
) -> tuple[str | None, float | None]:
    """python-chi 1.0 has wait(status, timeout), 1.2 wait(status, show, timeout)."""
    if len(args) > 2:
        raise TypeError(f"wait() takes at most 3 positional arguments, not {len(args) + 1}")
    for position, value in enumerate(args):
        if isinstance(value, str) and position == 0:
            show = value
        elif position == 1 or not isinstance(value, str):
            timeout = value if value is not None else timeout
    return show, timeout


def _known_show(show: object) -> None:
    if show and show not in SHOWS:
        raise BadInput(f"show is 'text', 'widget' or None, not {show!r}.")


def _limit(value: object, what: str) -> float | None:
    return core.validate.seconds(value, what)
