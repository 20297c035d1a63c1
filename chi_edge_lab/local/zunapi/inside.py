"""Verbs that look into a container or run something in it: logs, execute, archives, stats, top."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from chi_edge_lab.local.engines.base import EngineError
from chi_edge_lab.local.zunapi import schema
from chi_edge_lab.local.zunapi.driver import Driver, LogQuery, scratch
from chi_edge_lab.local.zunapi.errors import Base64Exception, ServerFault
from chi_edge_lab.local.zunapi.handler import Handler
from chi_edge_lab.local.zunapi.limits import Limits
from chi_edge_lab.local.zunapi.model import Container

Parameters = dict[str, Any]

ENCODED_SINCE = (1, 25)
"""Archives are base64 from this microversion on; before that they are raw text, which only ASCII survives."""


async def logs(handler: Handler, row: Container, given: Parameters) -> str | None:
    """All of it in one JSON string (or null)."""
    names = "stdout, stderr and timestamps"
    tail = given.get("tail")
    since = given.get("since")
    query = LogQuery(
        stdout=schema.boolean(given.get("stdout"), names, default=True),
        stderr=schema.boolean(given.get("stderr"), names, default=True),
        timestamps=schema.boolean(given.get("timestamps"), names),
        tail="all" if tail is None else str(tail),
        since=None if since is None else str(since),
    )
    containers = handler.site.containers
    return await containers.workers.call(_engine, containers.driver.logs, row, query)


async def execute(handler: Handler, row: Container, given: Parameters) -> dict[str, Any]:
    """Run a command, or (`run=false`) get the URL of a websocket that does."""
    run = schema.boolean(given.get("run"), "run or interactive", default=True)
    interactive = schema.boolean(given.get("interactive"), "run or interactive")
    command = handler.text_parameter(given, "command")
    if command is None:
        raise ServerFault("KeyError: 'command'")
    containers = handler.site.containers
    if run:
        output, exit_code = await containers.workers.call(_engine, containers.driver.execute, row, command)
        return {"output": output, "exit_code": exit_code, "exec_id": None, "proxy_url": None}
    argv = await containers.workers.call(_engine, containers.driver.prepare_exec, row, command)
    exec_id, url = containers.terminals.new_exec(row, argv, interactive=interactive)
    return {"output": None, "exit_code": None, "exec_id": exec_id, "proxy_url": url}


async def get_archive(handler: Handler, row: Container, given: Parameters) -> None:
    """A tar of a path, in JSON."""
    path = handler.text_parameter(given, "path")
    if path is None:
        raise ServerFault("KeyError: 'path'")
    site = handler.site
    encoded = handler.context.version >= ENCODED_SINCE
    body = await site.containers.workers.call(
        _engine, _archive_body, site.containers.driver, row, path, site.limits, encoded
    )
    handler.set_status(200)
    handler.finish(body)


async def put_archive(handler: Handler, row: Container, given: Parameters) -> None:
    """Extract a tar into a directory."""
    site = handler.site
    encoded = handler.context.version >= ENCODED_SINCE
    await site.containers.workers.call(
        _engine, _put, site.containers.driver, row, given, handler.request.body, site.limits, encoded
    )


async def stats(handler: Handler, row: Container, _: Parameters) -> dict[str, Any] | None:
    """Use of resources now."""
    containers = handler.site.containers
    return await containers.workers.call(_engine, containers.driver.stats, row)


async def top(handler: Handler, row: Container, given: Parameters) -> dict[str, Any]:
    """Processes."""
    containers = handler.site.containers
    ps_args = handler.text_parameter(given, "ps_args")
    return await containers.workers.call(_engine, containers.driver.top, row, ps_args)


def _engine(function: Any, *args: Any) -> Any:
    """Call it; what the engine could not do is a fault of the server to the client, as in Zun."""
    try:
        return function(*args)
    except EngineError as error:
        raise ServerFault(f"{type(error).__name__}: {error}") from error


def _archive_body(driver: Driver, row: Container, path: str, limits: Limits, encoded: bool) -> bytes:
    with scratch() as out:
        stat = driver.get_archive(row, path, out)
        size = out.seek(0, 2)
        if size * 4 // 3 > limits.message:
            raise ServerFault(f"an archive of {size} bytes does not fit into a message")
        out.seek(0)
        tail = json.dumps({"stat": stat}).encode()[1:]
        if encoded:
            return b'{"data": "%s", %s' % (base64.b64encode(out.read()), tail)
        tar = out.read()
    try:
        text = tar.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ServerFault("the archive is not text") from error
    return b'{"data": %s, %s' % (json.dumps(text).encode(), tail)


def _put(
    driver: Driver, row: Container, query: Parameters, body: bytes, limits: Limits, encoded: bool
) -> None:
    if len(body) > limits.message:
        raise ServerFault(
            f"a message of {len(body)} bytes is larger than configured max size {limits.message}"
        )
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = {}
    given = query | (given if isinstance(given, dict) else {})
    path = given.get("path")
    if not isinstance(path, str) or "data" not in given:
        raise ServerFault("KeyError: 'path' or 'data'")
    data = given["data"]
    if not isinstance(data, str):
        raise Base64Exception("Invalid Base 64 file data", remote=True)
    driver.put_archive(row, path, _decode(data) if encoded else _plain(data))


def _decode(data: str) -> bytes:
    """As Zun does: line ends and other foreign characters are skipped, wrong padding is an error."""
    try:
        return base64.b64decode(data)
    except binascii.Error:
        raise Base64Exception("Invalid Base 64 file data", remote=True) from None
    except ValueError as error:
        raise ServerFault(str(error)) from error  # not ASCII: nobody catches that in Zun


def _plain(data: str) -> bytes:
    try:
        return data.encode("ascii")
    except UnicodeEncodeError as error:
        raise ServerFault("the archive is not text") from error
