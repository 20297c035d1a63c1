"""What one can subscribe to: a topic is a name, what a request for it must say, and how its feed is found.

A topic is a function `async def open(call, request) -> Lease` under `@topic(NAME)`; the modules of this package are
looked through for them. What it raises is told to the subscriber and to nobody else. It must not block: what asks a
site goes through `call.services.calls.run`. Whoever awaits something between `Hub.acquire` and the return releases
the lease where that is cancelled.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.errors import BadInput
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.feeds.hub import Lease
from chi_edge_lab.server.operations import UUID, Action
from chi_edge_lab.server.sites import DEFAULT

R = TypeVar("R", bound="TopicRequest")
Open = Callable[[Call, R], Awaitable[Lease]]


class TopicRequest(BaseModel):
    """What every request for a topic may say; topics of a container add its uuid, and so on."""

    model_config = ConfigDict(extra="forbid")

    name: str
    site: str = Field(DEFAULT, min_length=1, max_length=255)
    project: str | None = Field(None, max_length=255)


class ContainerRequest(TopicRequest):
    """A request for a topic of one container."""

    uuid: str = Field(pattern=f"^{UUID}$")


@dataclass(frozen=True)
class Topic:
    """One topic. `action` is what the authorizer is asked for."""

    name: str
    action: Action
    request: type[TopicRequest]
    open: Callable[[Call, Any], Awaitable[Lease]]


TOPICS: dict[str, Topic] = {}


def topic(name: str, action: Literal["read", "write", "execute"] = "read") -> Callable[[Open[R]], Open[R]]:
    """Make `async def open(call, request) -> Lease` a topic; the annotation of `request` says what it takes."""

    def add(function: Open[R]) -> Open[R]:
        if list(inspect.signature(function).parameters) != ["call", "request"]:
            raise TypeError(f"{function.__name__} is no topic: it takes other things than (call, request)")
        if name in TOPICS:
            raise ValueError(f"there are two topics {name!r}")
        request = typing.get_type_hints(function)["request"]
        TOPICS[name] = Topic(name, action, request, function)
        return function

    return add


def load_topics() -> None:
    """Enter the topics of this package."""
    package = importlib.import_module("chi_edge_lab.server.feeds")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


def wanted(value: object) -> tuple[Topic, TopicRequest]:
    """The topic that a client's words mean, and its request.

    Raises:
        BadInput, pydantic.ValidationError: they mean none.
    """
    name = value.get("name") if isinstance(value, Mapping) else None
    found = TOPICS.get(name) if isinstance(name, str) else None
    if found is None:
        raise BadInput(f"There is no topic {str(name)[:80]!r}; there are {', '.join(sorted(TOPICS))}.")
    return found, found.request.model_validate(value)
