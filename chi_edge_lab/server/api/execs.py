"""Commands in a container: short ones at once, long ones by an id."""

from __future__ import annotations

import shlex
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.core import detached, execute, validate
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.execs import Exec
from chi_edge_lab.server.failures import Problem
from chi_edge_lab.server.operations import CONTAINER, operation


class Command(BaseModel):
    """Words, or one string that is split as a shell does (there is no shell: `sh -c '...'` for pipes and the like)."""

    model_config = ConfigDict(extra="forbid")

    command: str | list[str]


class ShortCommand(Command):
    """`timeout`: seconds until the command becomes a long one, at most 60; null: the site's own limit."""

    timeout: float | None = Field(None, gt=0, le=60)


class ExecReport(BaseModel):
    """A command and what it printed. `exit_code` is null while it runs; then `exec_id` is what to ask for it by.

    `offset` is the number of the first character of `output`; what came before is no longer kept.
    """

    exec_id: str | None
    uuid: str
    command: str
    running: bool
    exit_code: int | None
    output: str
    offset: int = 0
    started: float | None = None
    problem: Problem | None = None


class ExecList(BaseModel):
    """The long commands of this server, without their output."""

    execs: list[ExecReport]


class From(BaseModel):
    """The number of the first character of the output that is wanted."""

    offset: int = Field(0, ge=0)


def _shown(command: str | list[str]) -> str:
    return command if isinstance(command, str) else shlex.join(command)


def _report(one: Exec, offset: int | None = 0) -> ExecReport:
    begin = one.dropped if offset is None else max(offset, one.dropped)
    return ExecReport(
        exec_id=one.id, uuid=one.uuid, command=one.command, running=one.ended is None, exit_code=one.exit_code,
        output="" if offset is None else one.output[begin - one.dropped :], offset=begin, started=one.started,
        problem=one.problem,
    )  # fmt: skip


@operation("POST", CONTAINER + "/exec", "execute")
async def exec_command(call: Call, body: ShortCommand) -> ExecReport:
    """Run a command and give its output; one that takes longer goes on, and is asked for by its id."""
    services = call.services
    services.execs.check_room()

    def run() -> Any:
        client = call.container()
        call.audit("exec", command=_shown(body.command))
        try:
            return execute.execute(client, call.uuid, body.command, timeout=body.timeout)
        except execute.StillRunning as still:
            return still

    done = await services.calls.run(run)
    if isinstance(done, execute.StillRunning):
        one = services.execs.follow(
            call, _shown(body.command), done.run, done.output.encode("utf-8", "replace")
        )
        return _report(one)
    return ExecReport(
        exec_id=None, uuid=call.uuid, command=_shown(body.command), running=False, exit_code=done.exit_code,
        output=done.output, offset=done.dropped,
    )  # fmt: skip


@operation("POST", CONTAINER + "/execs", "execute", status=201)
async def start_exec(call: Call, body: Command) -> ExecReport:
    """Start a command that may take long; its output is asked for by its id, or followed by the topic `exec`."""
    services = call.services
    services.execs.check_room()

    def start() -> detached.Detached:
        client = call.container()
        call.audit("exec", command=_shown(body.command))
        return detached.start(client, call.uuid, validate.argv(body.command), patience=1.0)

    return _report(services.execs.follow(call, _shown(body.command), await services.calls.run(start)))


@operation("GET", "/execs", "read")
async def list_execs(call: Call) -> ExecList:
    """The long commands of this server."""
    return ExecList(execs=[_report(one, None) for one in call.services.execs.list()])


@operation("GET", "/execs/{id}", "read")
async def get_exec(call: Call, id: str, query: From) -> ExecReport:
    """A long command and its output from a place on."""
    return _report(call.services.execs.get(id), query.offset)


@operation("DELETE", "/execs/{id}", "execute")
async def end_exec(call: Call, id: str) -> None:
    """Kill a long command if it runs, and forget it."""
    await call.services.execs.end(id)
