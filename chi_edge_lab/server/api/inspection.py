"""What is known of a container besides its state: what was done to it, its use, its processes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from chi_edge_lab.core import actions
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, operation
from chi_edge_lab.zun import Action, Stats

_NO_SAMPLE = "The site has no figures of this container yet; they come within about a minute."


class WithEvents(BaseModel):
    """`events`: each action with its steps, at one more request for each."""

    events: bool = False


class History(BaseModel):
    """What was done to a container, oldest first."""

    actions: list[Action]


class Sample(BaseModel):
    """A measurement; null where the site has none yet, and then `reason` says so."""

    stats: Stats | None
    reason: str = ""


class PsArguments(BaseModel):
    """`ps_args` are options of `ps`, such as "aux"."""

    ps_args: str | None = Field(None, max_length=100, pattern=r"^[A-Za-z0-9 ,=_-]*$")


class Processes(BaseModel):
    """A table of processes; pids are the host's."""

    titles: list[str]
    rows: list[list[str]]


@operation("GET", CONTAINER + "/actions", "read")
def list_actions(call: Call, query: WithEvents) -> History:
    """What was done to the container, by whom and when."""
    return History(actions=actions.history(call.container(), call.uuid, events=query.events))


@operation("GET", CONTAINER + "/stats", "read")
def get_stats(call: Call) -> Sample:
    """One measurement of CPU, memory and traffic; takes a second on some sites."""
    sample = call.container().stats(call.uuid)
    return Sample(stats=sample, reason="" if sample else _NO_SAMPLE)


@operation("GET", CONTAINER + "/top", "read")
def list_processes(call: Call, query: PsArguments) -> Processes:
    """The container's processes, where the site can tell."""
    found: dict[str, list[Any]] = call.container().top(call.uuid, query.ps_args)
    return Processes(
        titles=[str(title) for title in found.get("Titles") or []],
        rows=[[str(field) for field in row] for row in found.get("Processes") or []],
    )
