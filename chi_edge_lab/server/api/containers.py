"""Containers: list, look at, create, rename, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, field_validator

from chi_edge_lab.core import asking, create, draft, lifecycle, wait
from chi_edge_lab.core.shown import shown
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, SITE, Payload, operation
from chi_edge_lab.zun import Container, CreateRequest

_TEXT = WithJsonSchema({"type": "string"})
_WORDS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
_VARIABLES = WithJsonSchema(
    {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
)
_PORTS = WithJsonSchema(
    {
        "anyOf": [
            {"type": "array", "items": {"type": ["integer", "string"]}},
            {"type": "object", "additionalProperties": {"type": "object"}},
        ]
    }
)


class ContainerList(BaseModel):
    """The containers of a project; the values of their environment variables are left out."""

    containers: list[Container]


class ListQuery(BaseModel):
    """Filters of a list: containers of one status, such as "Running"."""

    status: str | None = None


class GetQuery(BaseModel):
    """`reveal=environment` shows the values of environment variables."""

    reveal: Literal["environment"] | None = None


class NewContainer(CreateRequest):
    """What to create: core's `create`, field by field. `command` is one string (split as a shell splits it) or words;
    `exposed_ports` are numbers, "53/udp" or Zun's object; `start` is whether it runs as soon as it is there.
    """

    # looked at by core.validate, which says in a sentence what does not fit
    name: Annotated[Any, _TEXT]
    image: Annotated[Any, _TEXT]
    command: Annotated[Any, _WORDS] = None
    environment: Annotated[Any, _VARIABLES] = Field(default_factory=dict)
    exposed_ports: Annotated[Any, _PORTS] = Field(default_factory=list)
    reservation_id: str | None = None
    start: bool = True

    @field_validator("labels", mode="before")
    @classmethod
    def _texts_only(cls, value: Any) -> Any:
        return super()._texts_only(value)

    def arguments(self) -> dict[str, Any]:
        """The arguments of core's `create`."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Draft(NewContainer):
    """The same while it is being typed: nothing has to be there yet."""

    name: Annotated[Any, _TEXT] = ""
    image: Annotated[Any, _TEXT] = ""


class DraftReport(BaseModel):
    """What is wrong with a draft, by field (nothing: it can be sent), and what else is good to know of it."""

    problems: list[draft.Remark]
    notes: list[draft.Remark]


class Rename(BaseModel):
    """Another name."""

    model_config = ConfigDict(extra="forbid")

    name: str


class Deletion(BaseModel):
    """False where it was gone already."""

    deleted: bool


@operation("GET", SITE + "/containers", "read", reply=ContainerList)
def list_containers(call: Call, query: ListQuery) -> Payload:
    """The project's containers."""
    filters = {} if query.status is None else {"status": wait.status_named(query.status)}
    return Payload(call.services.listings.encoded(call.client(), **filters), "application/json")


@operation("POST", SITE + "/containers", "write", status=202)
def create_container(call: Call, body: NewContainer) -> Container:
    """Create a container; it is still being made when this answers. The same twice within two seconds is one."""
    client = call.client()
    key = (client, body.model_dump_json(exclude_unset=True))
    made, fresh = call.services.creations.once(key, lambda: create.ask(client, **body.arguments()))
    if fresh:
        call.services.sites.remember(client, made)
        call.audit("container-create", uuid=made.uuid, name=made.name or "", image=str(body.image))
    return shown(made)


@operation("POST", SITE + "/containers/check", "read")
def check_container(call: Call, body: Draft) -> DraftReport:
    """What is wrong with a container that somebody is typing; nothing is made."""
    client, given = call.client(), body.arguments()
    return DraftReport(problems=draft.problems(client, given), notes=draft.notes(client, given))


@operation("GET", CONTAINER, "read")
def get_container(call: Call, query: GetQuery) -> Container:
    """One container as the site shows it; the values of its environment variables only when asked for."""
    found = call.container().get_container(call.uuid)
    return shown(found, environment=query.reveal == "environment")


@operation("PATCH", CONTAINER, "write")
def rename_container(call: Call, body: Rename) -> Container:
    """Give a container another name."""
    return shown(lifecycle.rename(call.container(), call.uuid, body.name))


@operation("DELETE", CONTAINER, "write", status=202)
def delete_container(call: Call) -> Deletion:
    """Delete a container in whatever state it is; it goes a moment later."""
    found = asking.delete(call.container(), call.uuid)
    if found:
        call.audit("container-delete")
    return Deletion(deleted=found)
