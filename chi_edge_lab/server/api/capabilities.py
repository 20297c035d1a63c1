"""What a site can do, and why it cannot do the rest: what buttons are greyed out by."""

from __future__ import annotations

from pydantic import BaseModel

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import SITE, operation
from chi_edge_lab.zun.dialect import CAPABILITIES, Dialect
from chi_edge_lab.zun.states import ALLOWED


class Capability(BaseModel):
    """Whether the site can do something; `reason` is a sentence where it cannot."""

    supported: bool
    reason: str = ""


class NameRule(BaseModel):
    """What a container may be called: a regular expression for the whole name, and the same as a sentence."""

    pattern: str
    sentence: str


class Capabilities(BaseModel):
    """A site's dialect. `allowed`: the statuses of a container in which the site does each action.

    `exec_seconds`: how long the site waits for a command. `archive_limit`: bytes of the largest archive in one
    request. `files_lost_on_stop`: a start gives a fresh file system. `needs_reservation`: a create needs one.
    """

    dialect: str
    version: str
    capabilities: dict[str, Capability]
    allowed: dict[str, list[str]]
    name_rule: NameRule
    exec_seconds: float
    archive_limit: int
    files_lost_on_stop: bool
    needs_reservation: bool


@operation("GET", SITE + "/capabilities", "read")
def get_capabilities(call: Call) -> Capabilities:
    """What the site can do, the reason for each thing it lacks, and when each action is possible."""
    client = call.client()
    return capabilities_of(client.dialect, client.version)


def capabilities_of(dialect: Dialect, version: str) -> Capabilities:
    """The capabilities of a dialect at an API version."""
    reasons = {name: dialect.reason(name) for name in sorted(CAPABILITIES)}
    return Capabilities(
        dialect=dialect.name,
        version=version,
        capabilities={
            name: Capability(supported=not reason, reason=reason) for name, reason in reasons.items()
        },
        allowed={action: sorted(statuses) for action, statuses in ALLOWED.items()},
        name_rule=NameRule(
            pattern=f"^{dialect.name_rule.pattern.pattern}$", sentence=dialect.name_rule.sentence
        ),
        exec_seconds=dialect.exec_seconds,
        archive_limit=dialect.archive_limit,
        files_lost_on_stop=dialect.files_lost_on_stop,
        needs_reservation=dialect.needs_reservation,
    )
