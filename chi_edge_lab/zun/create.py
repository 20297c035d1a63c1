"""What a container is created with, and how it is spelled for the site's API version."""

from __future__ import annotations

import base64
import shlex
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chi_edge_lab import errors

# field -> the first API version that has it (Zun's REST API version history)
_SINCE = {
    "nets": (1, 2), "auto_remove": (1, 3), "runtime": (1, 5), "hostname": (1, 9), "mounts": (1, 11),
    "privileged": (1, 21), "healthcheck": (1, 22), "exposed_ports": (1, 24), "registry": (1, 31),
    "host": (1, 39), "entrypoint": (1, 40), "device_profiles": (1, 41),
}  # fmt: skip
_COMMAND_IS_LIST = (1, 20)
_TTY_OF_ITS_OWN = (1, 36)


class CreateRequest(BaseModel):
    """The body of a create, with Zun's names. None and empty collections are not sent.

    `memory` is in MiB, `disk` in GiB, `cpu` in cores; the site's defaults apply where they are None.
    """

    model_config = ConfigDict(extra="forbid")

    image: str
    name: str | None = None
    command: list[str] | None = None
    entrypoint: list[str] | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    workdir: str | None = None
    hostname: str | None = None
    cpu: float | None = None
    memory: int | None = None
    disk: int | None = None
    interactive: bool | None = None
    tty: bool | None = None
    exposed_ports: dict[str, dict[str, Any]] = Field(default_factory=dict)
    security_groups: list[str] = Field(default_factory=list)
    nets: list[dict[str, Any]] = Field(default_factory=list)
    mounts: list[dict[str, Any]] = Field(default_factory=list)
    hints: dict[str, Any] = Field(default_factory=dict)
    device_profiles: list[str] = Field(default_factory=list)
    runtime: str | None = None
    image_driver: str | None = None
    image_pull_policy: str | None = None
    restart_policy: dict[str, Any] | None = None
    healthcheck: dict[str, Any] | None = None
    auto_remove: bool | None = None
    auto_heal: bool | None = None
    availability_zone: str | None = None
    privileged: bool | None = None
    registry: str | None = None
    host: str | None = None

    @field_validator("environment", "labels", mode="before")
    @classmethod
    def _texts_only(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): "" if item is None else str(item) for key, item in value.items()}
        return {} if value is None else value

    def __repr__(self) -> str:
        return f"<CreateRequest {self.name!r} {self.image!r}>"  # environment may hold secrets

    def body(self, version: tuple[int, int]) -> dict[str, Any]:
        """The JSON body for API `version`.

        Raises:
            errors.NotSupported: a field is set that this version does not have.
        """
        body = {
            key: value for key, value in self.model_dump(exclude_none=True).items() if value not in ({}, [])
        }
        for key, since in _SINCE.items():
            if key in body and version < since:
                raise errors.NotSupported(
                    f"This site's Zun ({version[0]}.{version[1]}) does not know {key}, "
                    f"which needs {since[0]}.{since[1]}.",
                    hint=f"Leave {key} out here.",
                )
        if "command" in body and version < _COMMAND_IS_LIST:
            body["command"] = shlex.join(body["command"])
        if version >= _TTY_OF_ITS_OWN:
            # as python-zunclient does: who asks for a terminal means one with a tty
            if "interactive" in body:
                body.setdefault("tty", body["interactive"])
        else:
            body.pop("tty", None)
        if "memory" in body:
            body["memory"] = str(body["memory"])
        for mount in body.get("mounts", []):
            if mount.get("type") == "bind" and isinstance(mount.get("source"), (bytes, str)):
                source = mount["source"]
                data = source.encode() if isinstance(source, str) else source
                mount["source"] = base64.b64encode(data).decode()
        return body


def create_request(**fields: Any) -> CreateRequest:
    """Build a CreateRequest, turning pydantic's complaint into one sentence.

    Raises:
        errors.BadInput: a field is unknown, missing or of the wrong type.
    """
    try:
        return CreateRequest(**fields)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise errors.BadInput(f"{where}: {first['msg']}.") from None
