"""What the site keeps of a container, its actions and its private registries: rows of the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Container:
    """A container as Zun's database has it. Times are seconds since the epoch."""

    uuid: str
    project_id: str
    user_id: str
    name: str
    image: str
    created_at: float
    updated_at: float | None = None
    status: str = "Creating"
    status_reason: str | None = None
    status_detail: str | None = None
    task_state: str | None = None
    command: list[str] | None = None
    entrypoint: list[str] | None = None
    cpu: float = 0.0
    cpu_policy: str = "shared"
    memory: str = "0"  # MiB, "0" is no limit
    disk: int = 0  # GiB
    environment: dict[str, str] | None = None
    workdir: str | None = None
    hostname: str | None = None
    labels: dict[str, str] | None = None
    addresses: dict[str, list[dict[str, Any]]] | None = None
    ports: list[int] | None = None
    exposed_ports: dict[str, Any] | None = None  # "80/tcp": {}
    restart_policy: dict[str, Any] | None = None
    interactive: bool = False
    tty: bool = False
    image_driver: str = "docker"
    image_pull_policy: str | None = None
    security_groups: list[str] | None = None
    auto_remove: bool = False
    auto_heal: bool = False
    runtime: str | None = None
    privileged: bool = False
    healthcheck: dict[str, Any] | None = None
    registry_id: str | None = None
    host: str | None = None
    # below: not shown by the API
    args: list[str] | None = None  # the command that was asked for (the k8s driver shows another one)
    pid1_stdin: bool = False  # `interactive` and `tty` as asked for (the k8s driver shows both as true)
    pid1_tty: bool = False
    mounts: list[dict[str, str]] | None = None  # {"destination", "source": base64}
    reservation_id: str | None = None
    device_profiles: list[str] | None = None
    fixed_ip: str | None = None  # the address that was asked for
    port_id: str | None = None
    websocket_token: str | None = None
    restarts: int = 0
    wanted: bool = False  # whether it should be running (a Deployment's replicas, or a restart policy's view)

    def port_list(self) -> list[tuple[int, str]]:
        """The exposed ports as (number, "tcp"|"udp")."""
        pairs = (key.partition("/") for key in self.exposed_ports or {})
        return [(int(number), protocol or "tcp") for number, _, protocol in pairs]


@dataclass(frozen=True)
class Action:
    """One thing that was asked of a container."""

    id: str
    container_uuid: str
    action: str
    request_id: str
    user_id: str
    project_id: str
    start_time: float
    finish_time: float | None = None
    message: str | None = None


@dataclass(frozen=True)
class Event:
    """One step of an action."""

    id: str
    action_id: str
    event: str
    start_time: float
    finish_time: float | None = None
    result: str | None = None
    traceback: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """An image made by commit: the id that was answered, and what the engine calls it."""

    uuid: str
    project_id: str
    name: str


@dataclass(frozen=True)
class Registry:
    """A private registry's credentials."""

    uuid: str
    project_id: str
    user_id: str
    name: str | None
    domain: str
    username: str | None
    password: str | None


@dataclass(frozen=True)
class Quota:
    """What an administrator set for a project (or for the class "default")."""

    key: str  # "<project or class>/<resource>"
    owner: str
    resource: str
    hard_limit: int


@dataclass(frozen=True)
class Context:
    """Who asks, and under which id: what Zun calls a request context."""

    request_id: str
    user_id: str
    project_id: str
    is_admin: bool
    version: tuple[int, int]
    at: float
