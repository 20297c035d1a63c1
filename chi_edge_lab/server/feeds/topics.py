"""What can be subscribed to on the event socket: a list of topics, each with the model of its request.

A topic is a function `async def open(call, request) -> Lease` under `@topic(NAME, action=...)`, in a module of this
package (they are found by themselves) or in one that is imported with the routes. `request` is a pydantic model
derived from `TopicRequest`. What the function raises is told to the subscriber and to nobody else. It must not
block: what asks a site goes through `call.services.calls.run`. Nothing may be awaited between `Hub.acquire` and
the return, or the lease is lost where the subscriber goes away meanwhile.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, StringConstraints

from chi_edge_lab import errors
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.feeds.hub import Lease
from chi_edge_lab.server.operations import PATTERNS, Action

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

SiteName = Annotated[str, StringConstraints(pattern=f"^{PATTERNS['site']}$")]
Uuid = Annotated[str, StringConstraints(pattern=f"^{PATTERNS['uuid']}$")]


class TopicRequest(BaseModel):
    """What every topic is asked with; unknown fields are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")

    name: str


class SiteRequest(TopicRequest):
    """A topic of a site and project (None: the credentials' own)."""

    site: SiteName = "default"
    project: str | None = None


class ContainerRequest(SiteRequest):
    """A topic of one container."""

    uuid: Uuid


Open = Callable[[Call, Any], Awaitable[Lease]]
F = TypeVar("F", bound=Open)


@dataclass(frozen=True)
class Topic:
    """One thing that can be subscribed to. `action` is what the authorizer is asked for."""

    name: str
    action: Action
    model: type[TopicRequest]
    open: Open


TOPICS: dict[str, Topic] = {}


def topic(name: str, action: Action) -> Callable[[F], F]:
    """Make a function a topic."""

    def add(function: F) -> F:
        parameters = list(inspect.signature(function).parameters)
        model = typing.get_type_hints(function).get("request")
        if parameters != ["call", "request"] or not (
            isinstance(model, type) and issubclass(model, TopicRequest)
        ):
            raise TypeError(f"{function.__name__}{tuple(parameters)} is no topic")
        if name in TOPICS:
            raise ValueError(f"there are two topics {name!r}")
        TOPICS[name] = Topic(name, action, model, function)
        return function

    return add


def load_topics() -> dict[str, Topic]:
    """All topics by name."""
    package = importlib.import_module("chi_edge_lab.server.feeds")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return TOPICS


def parse_topic(value: dict[str, Any]) -> tuple[Topic, TopicRequest]:
    """The topic that a subscription asks for, and its request.

    Raises:
        errors.BadInput, pydantic.ValidationError: there is no such topic, or the request does not fit it.
    """
    name = value.get("name")
    found = TOPICS.get(name) if isinstance(name, str) else None
    if found is None:
        raise errors.BadInput(
            f"There is no topic {str(name)[:80]!r}.", hint=f"The topics are {', '.join(sorted(TOPICS))}."
        )
    return found, found.model.model_validate(value)


def call_for(services: Services, user: str, request: TopicRequest) -> Call:
    """The call that a topic's request is."""
    return Call(
        services=services,
        user=user,
        site=getattr(request, "site", ""),
        project=getattr(request, "project", None) or None,
        uuid=getattr(request, "uuid", ""),
    )
