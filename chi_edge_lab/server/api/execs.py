"""Commands in a container: short ones within a request, long ones started, followed and killed."""

from __future__ import annotations

import asyncio
import contextlib

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.core import execute, validate
from chi_edge_lab.core.detached import Detached
from chi_edge_lab.errors import BadInput
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.execs import Exec, ExecState
from chi_edge_lab.server.operations import CONTAINER, operation

_FIRST_LOOK = 1.0  # seconds until a long exec is answered; a quick one has ended by then


class ExecBody(BaseModel):
    """A command: one string, split as a shell splits it, or its words. No shell interprets it.

    `timeout`: seconds to wait for its end, up to the server's limit (none: what the site itself waits, 5 s).
    """

    model_config = ConfigDict(extra="forbid")

    command: str | list[str]
    timeout: float | None = Field(None, gt=0, allow_inf_nan=False)


class ExecsBody(BaseModel):
    """A command that may take long: one string, split as a shell splits it, or its words."""

    model_config = ConfigDict(extra="forbid")

    command: str | list[str]


class ExecReply(BaseModel):
    """What a command printed and how it ended. `dropped` bytes of output before `output` were not kept.

    Where it still runs (`running`), `exec_id` is what to follow it by, and `output` what it has printed so far.
    """

    running: bool
    output: str
    exit_code: int | None = None
    dropped: int = 0
    exec_id: str | None = None


class ExecList(BaseModel):
    """The long execs of this server, oldest first."""

    execs: list[ExecState]


class ExecQuery(BaseModel):
    """Output from this byte on."""

    offset: int = Field(0, ge=0)


class ExecDetail(BaseModel):
    """A long exec and its output from `offset` (which is later than was asked for where that is no longer kept).

    `next` is the offset to ask with next time.
    """

    exec: ExecState
    offset: int
    output: str
    next: int


@operation("POST", CONTAINER + "/exec", "execute")
async def run_command(call: Call, body: ExecBody) -> ExecReply:
    """Run a command and wait for its end; one that takes longer goes on as a long exec."""
    words = validate.argv(body.command)
    limits, calls = call.services.limits, call.services.calls
    if body.timeout is not None and body.timeout > limits.exec_longest:
        raise BadInput(
            f"A request can wait for a command for {limits.exec_longest:g} s at the most, not {body.timeout:g} s.",
            hint="Start it as a long exec instead.",
        )
    loop = asyncio.get_running_loop()
    began = loop.time()
    client = await calls.run(call.container)
    timeout = client.dialect.exec_seconds if body.timeout is None else body.timeout
    with call.services.execs.room():
        begun = await calls.run(execute.begin, client, call.uuid, words, patience=timeout)
        call.audit("exec", command=words, exit_code=begun.exit_code)
        if isinstance(begun, execute.ExecResult):
            return ExecReply(running=False, output=begun.output, exit_code=begun.exit_code)
        one = await _adopted(call, begun, words)
    if one.is_running():
        await _ended(one, timeout - (loop.time() - began))
    part = one.part(0)
    if one.is_running():
        return ExecReply(running=True, output=part.text, dropped=one.dropped, exec_id=one.id)
    call.services.execs.forget(one.id)
    if one.error is not None:
        raise one.error
    return ExecReply(running=False, output=part.text, exit_code=one.exit_code, dropped=one.dropped)


@operation("POST", CONTAINER + "/execs", "execute", status=202)
async def start_command(call: Call, body: ExecsBody) -> ExecState:
    """Start a command that may take long; it is followed by its id."""
    words = validate.argv(body.command)
    with call.services.execs.room():
        client = await call.services.calls.run(call.container)
        begun = await call.services.calls.run(
            execute.begin, client, call.uuid, words, patience=_FIRST_LOOK, raw=False
        )
        call.audit("exec", command=words, exit_code=begun.exit_code)
        assert isinstance(begun, Detached)  # as `raw` is false
        return (await _adopted(call, begun, words)).told()


@operation("GET", "/execs", "read")
async def list_execs(call: Call) -> ExecList:
    """The long execs of this server, those that have just ended among them."""
    return ExecList(execs=[one.told() for one in call.services.execs.all()])


@operation("GET", "/execs/{id}", "read")
async def get_exec(call: Call, id: str, query: ExecQuery) -> ExecDetail:
    """How a long exec does, and its output from a byte on."""
    one = call.services.execs.get(id)
    part = one.part(query.offset)
    return ExecDetail(exec=one.told(), offset=part.offset, output=part.text, next=part.next)


@operation("DELETE", "/execs/{id}", "execute", status=200)
async def end_exec(call: Call, id: str) -> ExecState:
    """Kill a long exec that still runs, and forget it; how it was then."""
    return (await call.services.execs.end(id)).told()


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
