"""What a site can do, and why not."""

from __future__ import annotations

from pydantic import BaseModel

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import SITE, operation
from chi_edge_lab.zun.dialect import CAPABILITIES
from chi_edge_lab.zun.states import ALLOWED


class Capability(BaseModel):
    """Whether the site can do it, else why not. `statuses`: those of a container that allow it; null: any."""

    supported: bool
    reason: str
    statuses: list[str] | None


class Capabilities(BaseModel):
    """What a site can do. `name_pattern` is a regular expression for whole names, `name_rule` the same in words.

    `exec_seconds` is how long the site waits for a command, `archive_limit` the bytes of the largest archive in one
    request, `files_lost_on_stop` that a start gives a fresh file system.
    """

    dialect: str
    version: str
    capabilities: dict[str, Capability]
    name_pattern: str
    name_rule: str
    exec_seconds: float
    archive_limit: int
    files_lost_on_stop: bool
    needs_reservation: bool


@operation("GET", SITE + "/capabilities", "read")
def get_capabilities(call: Call) -> Capabilities:
    """What the site can do, and the reason for each thing that it cannot."""
    client = call.client()
    dialect = client.dialect
    return Capabilities(
        dialect=dialect.name,
        version=client.version,
        capabilities={
            name: Capability(
                supported=dialect.supports(name),
                reason=dialect.reason(name),
                statuses=list(ALLOWED[name]) if name in ALLOWED else None,
            )
            for name in sorted(CAPABILITIES)
        },
        name_pattern=dialect.name_rule.pattern.pattern,
        name_rule=dialect.name_rule.sentence,
        exec_seconds=dialect.exec_seconds,
        archive_limit=dialect.archive_limit,
        files_lost_on_stop=dialect.files_lost_on_stop,
        needs_reservation=dialect.needs_reservation,
    )
