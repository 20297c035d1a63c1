"""What may be asked of the server: a list of operations, from which routes and the OpenAPI document are made.

An operation is a function. Its parameters say what it takes: `call` (always the first; it knows the path's site and
container), `query` and `body` (pydantic models), and the other names in its path. What it returns is its reply: a
pydantic model, None (204), or `Payload`. A plain function runs in a thread; an `async` one on the loop, where it must
not block. What streams has a handler of its own, which `document` enters and `route` puts in its place.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

Action = Literal["read", "write", "execute"]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
F = TypeVar("F", bound=Callable[..., Any])

UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
# what each name in a path may look like; a request for anything else finds no route
PATTERNS = {
    "site": r"[^/]{1,255}",
    "uuid": UUID,
    "id": r"[A-Za-z0-9_-]{1,64}",
    "address": r"[0-9a-fA-F:.]{2,45}",
}
IN_CALL = frozenset({"site", "uuid"})  # names in a path that `call` carries
SITE = "/sites/{site}"
CONTAINER = SITE + "/containers/{uuid}"


@dataclass(frozen=True)
class Payload:
    """A reply that is not JSON, small enough to be held at once."""

    data: bytes
    media_type: str
    file_name: str = ""  # set: the browser saves it instead of showing it


@dataclass(frozen=True)
class Operation:
    """One thing that may be asked. `action` is what the authorizer is asked for."""

    method: Method
    path: str
    action: Action
    function: Callable[..., Any] | None  # None: a handler of its own answers (`Streaming`)
    name: str
    summary: str
    tag: str
    status: int = 200
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    reply: type[BaseModel] | None = None
    body_type: str = "application/json"
    reply_type: str = "application/json"
    path_names: tuple[str, ...] = field(default=())

    @property
    def of_site(self) -> bool:
        """Whether it is about a site; then it takes `?project=` too."""
        return "site" in self.path_names


OPERATIONS: list[Operation] = []
# (it is a model, it is nothing) -> type of an answer that names none
_TYPES = {(True, False): "application/json", (False, True): "", (False, False): "application/octet-stream"}
HANDLERS: list[tuple[str, Any]] = []  # (path, handler class) of what is no plain operation
MESSAGES: list[type[BaseModel]] = []  # what clients say to sockets; in the document, and so in the types


def route(path: str, handler: Any) -> None:
    """Let a handler class of its own answer a path: streams and sockets."""
    HANDLERS.append((path, handler))


def messages(*models: type[BaseModel]) -> None:
    """Put what a client says to a socket in the document."""
    MESSAGES.extend(one for one in models if one not in MESSAGES)


def path_names(path: str) -> tuple[str, ...]:
    """The names in a path."""
    return tuple(re.findall(r"\{(\w+)\}", path))


def operation(
    method: Method,
    path: str,
    action: Action,
    *,
    status: int = 0,
    reply_type: str = "",
    reply: type[BaseModel] | None = None,
) -> Callable[[F], F]:
    """Make a function an operation; the first line of its docstring is its summary.

    `reply` is the model of which a function that returns a Payload has made the JSON itself.
    """

    def add(function: F) -> F:
        hints = typing.get_type_hints(function)
        names = path_names(path)
        taken = list(inspect.signature(function).parameters)
        if taken[:1] != ["call"] or set(taken[1:]) != (set(names) - IN_CALL) | (
            set(taken) & {"query", "body"}
        ):
            raise TypeError(f"{function.__name__}{tuple(taken)} does not fit its path {path}")
        result = hints.get("return")
        answer = reply or (result if isinstance(result, type) and issubclass(result, BaseModel) else None)
        nothing = result is type(None)
        OPERATIONS.append(
            Operation(
                method=method, path=path, action=action, function=function, name=function.__name__,
                summary=(inspect.getdoc(function) or function.__name__).splitlines()[0],
                tag=function.__module__.rpartition(".")[2],
                status=status or (204 if nothing else 200),
                query=hints.get("query"), body=hints.get("body"), reply=answer,
                reply_type=reply_type or _TYPES[answer is not None, nothing],
                path_names=names,
            )
        )  # fmt: skip
        return function

    return add


def document(
    method: Method,
    path: str,
    action: Action,
    *,
    name: str,
    summary: str,
    tag: str,
    status: int = 200,
    query: type[BaseModel] | None = None,
    reply: type[BaseModel] | None = None,
    body_type: str = "",
    reply_type: str = "application/json",
) -> Operation:
    """Enter an operation that a handler of its own answers (bytes that stream). Returns it, for the handler."""
    entered = Operation(
        method=method, path=path, action=action, function=None, name=name, summary=summary, tag=tag, status=status,
        query=query, reply=reply, body_type=body_type, reply_type=reply_type, path_names=path_names(path),
    )  # fmt: skip
    OPERATIONS.append(entered)
    return entered
