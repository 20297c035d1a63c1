"""Containers: list, get, create, rename, delete."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab import errors
from chi_edge_lab.core import create, lifecycle, names, validate
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.feeds.containers import masked
from chi_edge_lab.server.operations import CONTAINER, SITE, operation
from chi_edge_lab.zun import Client, Container

_DELETE_PATIENCE = 10.0  # seconds in which the site may let go of a container that it is just changing


class ContainerList(BaseModel):
    """The containers of a project, without the values of their environments."""

    containers: list[Container]


class Reveal(BaseModel):
    """`environment`: with the values of environment variables, which may be secrets."""

    reveal: Literal["", "environment"] = ""


class NewContainer(BaseModel):
    """What a container is made of; names are Zun's. `memory` is in MiB, `disk` in GiB, `cpu` in cores."""

    model_config = ConfigDict(extra="forbid")

    name: str
    image: str
    command: list[str] | str | None = None
    entrypoint: list[str] | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    exposed_ports: list[int | str] = Field(default_factory=list)
    reservation_id: str | None = None
    start: bool = True
    workdir: str | None = None
    labels: dict[str, str] | None = None
    runtime: str | None = None
    device_profiles: list[str] | None = None
    hostname: str | None = None
    cpu: float | None = Field(None, gt=0)
    memory: int | None = Field(None, gt=0)
    disk: int | None = Field(None, gt=0)
    interactive: bool | None = None
    tty: bool | None = None
    mounts: list[dict[str, Any]] | None = None
    nets: list[dict[str, Any]] | None = None
    security_groups: list[str] | None = None
    hints: dict[str, Any] | None = None
    auto_remove: bool | None = None
    auto_heal: bool | None = None
    restart_policy: dict[str, Any] | None = None


class Draft(BaseModel):
    """A container that somebody is still typing: any part of it may be missing."""

    model_config = ConfigDict(extra="ignore")

    name: str | None = None
    image: str | None = None
    command: list[str] | str | None = None
    environment: dict[str, str] | None = None
    exposed_ports: list[int | str] | None = None
    reservation_id: str | None = None
    device_profiles: list[str] | None = None


class FieldProblem(BaseModel):
    """What is wrong with a field, as a sentence."""

    field: str
    message: str


class DraftReport(BaseModel):
    """What is wrong with a draft; empty where nothing is."""

    problems: list[FieldProblem]


class Renaming(BaseModel):
    """The new name."""

    model_config = ConfigDict(extra="forbid")

    name: str


@operation("GET", SITE + "/containers", "read")
def list_containers(call: Call) -> ContainerList:
    """The project's containers."""
    client = call.client()
    containers = client.list_containers()
    call.services.sites.remember(client, *containers)
    return ContainerList.model_construct(containers=[masked(one) for one in containers])


@operation("GET", CONTAINER, "read")
def get_container(call: Call, query: Reveal) -> Container:
    """One container as the site shows it now."""
    container = call.container().get_container(call.uuid)
    return container if query.reveal == "environment" else masked(container)


@operation("POST", SITE + "/containers", "write", status=202)
def create_container(call: Call, body: NewContainer) -> Container:
    """Create a container, and start it unless told otherwise; answers as soon as the site has taken it."""
    client = call.client()
    fields = body.model_dump(exclude={"start"}, exclude_none=True)
    request, _ = create.prepare(client, **fields)
    container = client.create_container(request, run=body.start)
    call.services.sites.remember(client, container)
    call.audit("container-create", uuid=container.uuid, name=container.name, image=body.image)
    return masked(container)


@operation("POST", SITE + "/containers/check", "read")
def check_container(call: Call, body: Draft) -> DraftReport:
    """What is wrong with a container that somebody is typing; nothing is made."""
    client = call.client()
    found: list[FieldProblem] = []
    for field, value in body.model_dump(exclude_none=True).items():
        try:
            _check_field(client, field, value)
        except errors.EdgeLabError as error:  # noqa: PERF203 - every field is looked at
            found.append(FieldProblem(field=field, message=f"{error.message} {error.hint}".strip()))
    return DraftReport(problems=found)


def _check_field(client: Client, field: str, value: Any) -> None:
    if field == "name":
        names.check_name(client.dialect, value)
    elif field == "image":
        validate.image(value)
    elif field == "command":
        validate.create_command(value)
    elif field == "environment":
        validate.environment(value)
    elif field == "exposed_ports":
        validate.exposed_ports(value)
    elif field == "device_profiles" and value:
        client.dialect.require("device_profiles")


@operation("PATCH", CONTAINER, "write")
def rename_container(call: Call, body: Renaming) -> Container:
    """Give a container another name."""
    return masked(lifecycle.rename(call.container(), call.uuid, body.name))


@operation("DELETE", CONTAINER, "write", status=202)
def delete_container(call: Call) -> None:
    """Delete a container in whatever state it is; answers as soon as the site has taken it."""
    client = call.container()
    deleted = lifecycle.delete(client, call.uuid, wait_until_gone=False, timeout=_DELETE_PATIENCE)
    if deleted:
        call.audit("container-delete")
