"""Commands in a container: short ones within a request, long ones started, followed and killed."""

from __future__ import annotations

import asyncio
import contextlib
import shlex

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.core import execute, validate
from chi_edge_lab.core.detached import Detached
from chi_edge_lab.errors import BadInput
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.execs import Exec, Part
from chi_edge_lab.server.failures import Problem, problem_of
from chi_edge_lab.server.operations import CONTAINER, operation

_FIRST_LOOK = 1.0  # seconds until a long command is answered; a quick one has ended by then


class Command(BaseModel):
    """Words, or one string that is split as a shell does (there is no shell: `sh -c '...'` for pipes and the like)."""

    model_config = ConfigDict(extra="forbid")

    command: str | list[str]


class ShortCommand(Command):
    """`timeout`: seconds until the command becomes a long one, within the server's limit; null: what the site waits."""

    timeout: float | None = Field(None, gt=0, allow_inf_nan=False)


class ExecReport(BaseModel):
    """A command and what it printed. `exit_code` is null while it runs; then `exec_id` is what to ask for it by.

    `output` are the bytes `offset` to `next` of what it printed, as text; what came before `offset` is not kept or was
    not asked for. `problem` says why nothing is known of it any more.
    """

    exec_id: str | None
    uuid: str
    command: str
    running: bool
    exit_code: int | None
    output: str
    offset: int = 0
    next: int = 0
    started: float | None = None
    problem: Problem | None = None


class ExecList(BaseModel):
    """The long commands of this server, without their output, oldest first."""

    execs: list[ExecReport]


class From(BaseModel):
    """The number of the first byte of the output that is wanted."""

    offset: int = Field(0, ge=0)


@operation("POST", CONTAINER + "/exec", "execute")
async def exec_command(call: Call, body: ShortCommand) -> ExecReport:
    """Run a command and give its output; one that takes longer goes on, and is asked for by its id."""
    words = validate.argv(body.command)
    services = call.services
    longest = services.limits.exec_longest
    if body.timeout is not None and body.timeout > longest:
        raise BadInput(
            f"A request can wait for a command for {longest:g} s at the most, not {body.timeout:g} s.",
            hint="Start it as a long one instead.",
        )
    loop = asyncio.get_running_loop()
    began = loop.time()
    client = await services.calls.run(call.container)
    timeout = client.dialect.exec_seconds if body.timeout is None else body.timeout
    with services.execs.room():
        call.audit("exec", command=words)
        begun = await services.calls.run(execute.begin, client, call.uuid, words, patience=timeout)
        if isinstance(begun, execute.ExecResult):
            return ExecReport(
                exec_id=None, uuid=call.uuid, command=shlex.join(words), running=False, exit_code=begun.exit_code,
                output=begun.output, next=len(begun.raw),
            )  # fmt: skip
        one = await _adopted(call, begun, words)
    await _ended(one, timeout - (loop.time() - began))
    if one.is_running():
        return report(one, 0)
    services.execs.forget(one.id)
    if one.error is not None:
        raise one.error
    return report(one, 0).model_copy(update={"exec_id": None})


@operation("POST", CONTAINER + "/execs", "execute", status=201)
async def start_exec(call: Call, body: Command) -> ExecReport:
    """Start a command that may take long; its output is asked for by its id, or followed by the topic `exec`."""
    words = validate.argv(body.command)
    services = call.services
    with services.execs.room():
        client = await services.calls.run(call.container)
        call.audit("exec", command=words)
        begun = await services.calls.run(
            execute.begin, client, call.uuid, words, patience=_FIRST_LOOK, raw=False
        )
        assert isinstance(begun, Detached)  # as `raw` is false
        return report(await _adopted(call, begun, words), 0)


@operation("GET", "/execs", "read")
async def list_execs(call: Call) -> ExecList:
    """The long commands of this server, those that have just ended among them."""
    return ExecList(execs=[report(one, None) for one in call.services.execs.all()])


@operation("GET", "/execs/{id}", "read")
async def get_exec(call: Call, id: str, query: From) -> ExecReport:
    """A long command and its output from a place on."""
    return report(call.services.execs.get(id), query.offset)


@operation("DELETE", "/execs/{id}", "execute")
async def end_exec(call: Call, id: str) -> None:
    """Kill a long command if it runs, and forget it."""
    await call.services.execs.end(id)


def report(one: Exec, offset: int | None) -> ExecReport:
    """What is told of a command, with its output from `offset` on (None: without)."""
    part = Part(one.dropped, "", one.size) if offset is None else one.part(offset)
    return ExecReport(
        exec_id=one.id, uuid=one.uuid, command=shlex.join(one.command), running=one.is_running(),
        exit_code=one.exit_code, output=part.text, offset=part.offset, next=part.next, started=one.started,
        problem=None if one.error is None else problem_of(one.error),
    )  # fmt: skip


async def _adopted(call: Call, run: Detached, words: list[str]) -> Exec:
    first = await call.services.calls.run(run.read) if run.taken else b""
    return call.services.execs.adopt(run, site=call.site, project=call.project, command=words, output=first)


async def _ended(one: Exec, seconds: float) -> None:
    """Wait until it has ended, or for `seconds`."""

    async def watch() -> None:
        while one.is_running():
            await one.changed.wait()

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(watch(), max(0.0, seconds))
