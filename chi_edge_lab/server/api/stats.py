"""What a container uses, and what runs in it: one look each (the event socket has the moving ones)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, operation
from chi_edge_lab.zun import Stats


class StatsReply(BaseModel):
    """One sample; none where the site has none yet, and then `note` says so."""

    stats: Stats | None
    note: str = ""


class TopQuery(BaseModel):
    """`ps_args` are options of `ps`, such as "aux"."""

    ps_args: str | None = Field(None, max_length=100, pattern=r"^[A-Za-z0-9 ,=_-]*$")


class Processes(BaseModel):
    """Processes as a table; pids are the host's."""

    titles: list[str]
    processes: list[list[str]]


@operation("GET", CONTAINER + "/stats", "read")
def get_stats(call: Call) -> StatsReply:
    """What a container uses at this moment."""
    sample = call.container().stats(call.uuid)
    note = "" if sample else "The site has no figures of this container yet; they come within about a minute."
    return StatsReply(stats=sample, note=note)


@operation("GET", CONTAINER + "/top", "read")
def get_processes(call: Call, query: TopQuery) -> Processes:
    """The processes of a container, where the site can list them."""
    table = call.container().top(call.uuid, query.ps_args)
    rows: list[Any] = table.get("Processes") or []
    return Processes(
        titles=[str(one) for one in table.get("Titles") or []],
        processes=[[str(cell) for cell in row] for row in rows if isinstance(row, list)],
    )
