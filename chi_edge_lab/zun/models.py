"""What Zun, Neutron and Blazar answer, as models that tolerate what is missing, new or misshapen.

Field names are the services' own. Every field may be missing; unknown ones are kept (`extra="allow"`); one
that does not fit its type becomes its default instead of losing the whole object, because a container with a
strange label must still be seen and deleted. Times are UTC and aware.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from typing_extensions import Self


class Tolerant(BaseModel):
    """Base of what a site answers: a field that does not fit falls back to its default."""

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="wrap")
    @classmethod
    def _drop_what_does_not_fit(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as problem:
            if not isinstance(data, Mapping):
                return handler({})
            bad = {str(error["loc"][0]) for error in problem.errors() if error["loc"]}
            return handler({key: value for key, value in data.items() if key not in bad})


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


def _empty_dict(value: Any) -> Any:
    return {} if value is None else value


def _empty_list(value: Any) -> Any:
    return [] if value is None else value


def _words(value: Any) -> Any:
    """Below 1.20 a command is one string; k8s answers null once the pod runs."""
    if value is None:
        return []
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError:
            return [value]
    return value


def _texts(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return _empty_dict(value)
    return {str(key): "" if item is None else str(item) for key, item in value.items()}


def _ports(value: Any) -> Any:
    if not isinstance(value, list):
        return _empty_list(value)
    digits = (re.match(r"\d+", str(item)) for item in value)
    return [int(match.group()) for match in digits if match]


_MEBIBYTES = {"": 1.0, "b": 1 / 1024**2, "k": 1 / 1024, "m": 1.0, "g": 1024.0, "t": 1024.0**2}


def _mebibytes(value: Any) -> Any:
    """`memory` is "128" on 1.x, "512M" or "512m" in older rows, a number in some clients' hands."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?\s*", value.lower())
        return int(float(match.group(1)) * _MEBIBYTES[match.group(2)]) if match else None
    return int(value) if isinstance(value, float) else value


Time = Annotated[datetime, AfterValidator(_utc)]
Words = Annotated[list[str], BeforeValidator(_words)]
Texts = Annotated[dict[str, str], BeforeValidator(_texts)]


class Address(Tolerant):
    """One fixed address of a container; `port` is the Neutron port's id (null on some k8s rows)."""

    addr: str | None = None
    version: int | None = None
    port: str | None = None
    subnet_id: str | None = None


class FixedAddress(Tolerant):
    """One address of a container on a network."""

    ip_address: str | None = None
    version: int | None = None
    subnet_id: str | None = None


class ContainerNetwork(Tolerant):
    """A network that a container is on."""

    net_id: str | None = None
    port_id: str | None = None
    fixed_ips: Annotated[list[FixedAddress], BeforeValidator(_empty_list)] = []


class Container(Tolerant):
    """A container as Zun shows it. `created_at` is None on sites that do not return it (CHI@Edge)."""

    uuid: str = ""
    name: str | None = None
    image: str | None = None
    image_driver: str | None = None
    status: str | None = None
    status_reason: str | None = None
    status_detail: str | None = None
    task_state: str | None = None
    command: Words = []
    entrypoint: Words = []
    environment: Texts = {}
    labels: Texts = {}
    addresses: Annotated[
        dict[str, Annotated[list[Address], BeforeValidator(_empty_list)]], BeforeValidator(_empty_dict)
    ] = {}
    ports: Annotated[list[int], BeforeValidator(_ports)] = []
    security_groups: Annotated[list[str], BeforeValidator(_empty_list)] = []
    workdir: str | None = None
    hostname: str | None = None
    interactive: bool | None = None
    tty: bool | None = None
    cpu: float | None = None
    memory: Annotated[int | None, BeforeValidator(_mebibytes)] = None  # MiB; None or 0: no limit
    disk: int | None = None  # GiB; 0: no limit
    runtime: str | None = None
    host: str | None = None
    privileged: bool | None = None
    auto_remove: bool | None = None
    auto_heal: bool | None = None
    restart_policy: dict[str, Any] | None = None
    image_pull_policy: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    created_at: Time | None = None
    updated_at: Time | None = None

    def fixed_addresses(self) -> list[Address]:
        """Every address that is really there, over all networks, in the site's order."""
        return [address for network in self.addresses.values() for address in network if address.addr]

    def __repr__(self) -> str:
        # not pydantic's: environment variables hold people's secrets
        return f"<Container {self.name!r} {self.status} {self.uuid}>"

    __str__ = __repr__


class ExecReply(BaseModel):
    """What a command said. `exit_code` is None where the site stopped waiting for it (k8s, 5 s)."""

    model_config = ConfigDict(extra="ignore")  # proxy_url is a bearer secret

    output: Annotated[str, BeforeValidator(lambda value: "" if value is None else value)] = ""
    exit_code: int | None = None


class ActionEvent(Tolerant):
    """One step of an action; `result` is "Success", "Error" or None while it runs."""

    event: str | None = None
    start_time: Time | None = None
    finish_time: Time | None = None
    result: str | None = None
    traceback: str | None = None


class Action(Tolerant):
    """Something that was done to a container, by whom and when."""

    action: str | None = None
    container_uuid: str | None = None
    request_id: str | None = None
    start_time: Time | None = None
    finish_time: Time | None = None
    message: str | None = None
    project_id: str | None = None
    user_id: str | None = None
    events: Annotated[list[ActionEvent], BeforeValidator(_empty_list)] = []


class Image(Tolerant):
    """An image that the site's hosts have (admin only on most sites)."""

    uuid: str | None = None
    image_id: str | None = None
    repo: str | None = None
    tag: str | None = None
    size: str | int | None = None
    host: str | None = None


class FloatingIP(Tolerant):
    """A Neutron floating IP; `port_id` is None while it is free."""

    id: str = ""
    floating_ip_address: str | None = None
    fixed_ip_address: str | None = None
    port_id: str | None = None
    status: str | None = None
    floating_network_id: str | None = None
    project_id: str | None = None
    description: str | None = None
    tags: Annotated[list[str], BeforeValidator(_empty_list)] = []


class Reservation(Tolerant):
    """One reservation of a lease; its `id`, not the lease's, is what a container is created with."""

    id: str = ""
    resource_type: str | None = None
    status: str | None = None
    lease_id: str | None = None
    resource_properties: str | None = None
    min: int | None = None
    max: int | None = None


class Lease(Tolerant):
    """A Blazar lease. Times are UTC."""

    id: str = ""
    name: str | None = None
    status: str | None = None
    start_date: Time | None = None
    end_date: Time | None = None
    project_id: str | None = None
    reservations: Annotated[list[Reservation], BeforeValidator(_empty_list)] = []

    def device_reservations(self) -> list[Reservation]:
        """The reservations an edge container can be created with."""
        return [one for one in self.reservations if one.resource_type == "device"]


@dataclass(frozen=True)
class Archive:
    """A tar as the site packed it, and Zun's stat of the path (its keys differ between dialects)."""

    data: bytes = field(repr=False)
    stat: dict[str, Any] = field(default_factory=dict)
