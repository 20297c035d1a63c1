"""What is wrong with a container that somebody is about to create, field by field, as they type.

The same checks as `create.prepare`, which stops at the first. Nothing is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chi_edge_lab.core import create, names, validate
from chi_edge_lab.errors import BadInput, EdgeLabError

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client


@dataclass(frozen=True)
class Remark:
    """About one field ("": about all), as sentences."""

    field: str
    message: str
    hint: str = ""


def problems(client: Client, arguments: Mapping[str, Any]) -> list[Remark]:
    """What keeps a container from being created with these arguments of `create.create`; [] where nothing does.

    A name or image that is not there yet is no problem while somebody types.
    """
    checks: dict[str, Callable[[Any], object]] = {
        "name": lambda value: names.check_name(client.dialect, value),
        "image": validate.image,
        "command": validate.create_command,
        "environment": validate.environment,
        "exposed_ports": validate.exposed_ports,
    }
    found: list[Remark] = []
    for field, check in checks.items():
        if field not in arguments:
            continue
        try:
            check(arguments[field])
        except EdgeLabError as problem:
            found.append(Remark(field, problem.message, problem.hint))
    return found or _of_the_whole(client, arguments)


def _of_the_whole(client: Client, arguments: Mapping[str, Any]) -> list[Remark]:
    """What `prepare` says once the single fields are good."""
    given = {"name": "a-name", "image": "an-image"} | {k: v for k, v in arguments.items() if k != "start"}
    try:
        create.prepare(client, **given)[0].body(client.spoken)
    except EdgeLabError as problem:
        return [Remark(_field_of(problem, given), problem.message, problem.hint)]
    return []


def _field_of(problem: EdgeLabError, arguments: Mapping[str, Any]) -> str:
    """The field that a sentence is about: the first of ours that it names."""
    if isinstance(problem, BadInput) and "reservation" in problem.message:
        return "reservation_id"
    text = problem.message.replace("device profiles", "device_profiles")
    places = {name: text.find(name) for name in arguments}
    named = [name for name, place in places.items() if place >= 0]
    return min(named, key=lambda name: places[name]) if named else ""


def notes(client: Client, arguments: Mapping[str, Any]) -> list[Remark]:
    """What is good to know of these arguments."""
    found = []
    syntax = validate.shell_syntax(arguments.get("command"))
    if syntax is not None:
        found.append(
            Remark(
                "command",
                f"No shell interprets {syntax}: the program gets it as an argument.",
                "Use sh -c '...' for pipes, redirections, several commands and variables.",
            )
        )
    if arguments.get("start") is False and client.dialect.name == "k8s":
        found.append(Remark("start", "CHI@Edge starts what it creates in any case."))
    if (
        client.dialect.needs_reservation
        and not arguments.get("reservation_id")
        and client.login.reservation_id
    ):
        found.append(Remark("reservation_id", "The local site's standing reservation will be used."))
    return found
