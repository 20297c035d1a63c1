"""/v1/containers/<ref>/<verb>: one table of verbs, each with its method, versions and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from chi_edge_lab.local.zunapi import schema, states
from chi_edge_lab.local.zunapi.containers import show
from chi_edge_lab.local.zunapi.errors import (
    BareError,
    Conflict,
    Invalid,
    InvalidValue,
    NetworkNotFound,
    NoInteractiveFlag,
    PortNotFound,
    ServerFault,
)
from chi_edge_lab.local.zunapi.handler import Handler
from chi_edge_lab.local.zunapi.inside import execute, get_archive, logs, put_archive, stats, top
from chi_edge_lab.local.zunapi.model import Container
from chi_edge_lab.local.zunapi.versions import Version

Parameters = dict[str, Any]
DEFAULT_STOP_TIMEOUT = 10.0
"""Seconds between TERM and KILL when the caller names none (docker's default)."""


@dataclass(frozen=True)
class Verb:
    """One thing that can be done to a container."""

    method: str
    do: Callable[[Handler, Container, Parameters], Awaitable[Any]]
    state: str | None = None  # key of states.VALID_STATES
    query: schema.Schema | None = None
    status: int = 200
    since: Version = (1, 1)
    until: Version = (99, 0)


class ContainerVerb(Handler):
    """Looks the verb up, checks what the table says, and does it."""

    async def get(self, ref: str, name: str) -> None:
        """Verbs that look."""
        await self._do(ref, name)

    async def post(self, ref: str, name: str) -> None:
        """Verbs that change."""
        await self._do(ref, name)

    def patch(self, ref: str, name: str) -> None:  # noqa: ARG002 - no verb is done so
        """As routed by Zun: not there."""
        raise BareError(404)

    async def _do(self, ref: str, name: str) -> None:
        verb = VERBS.get(name)
        if verb is None or verb.method != self.request.method:
            raise BareError(404)
        if not verb.since <= self.context.version <= verb.until:
            raise BareError(406)
        query = self.query()
        # Pecan merges a JSON body into the parameters; archives have theirs parsed in a thread
        parameters = query if name == "put_archive" else query | self.body()
        if verb.query is not None:
            schema.check(verb.query, query, query=name not in _CHECKED_AS_BODY)
        row = self.site.containers.find(self.context, ref)
        if verb.state is not None:
            states.check(row, verb.state)
        value = await verb.do(self, row, parameters)
        if not self._finished:
            self.answer(value, verb.status)


async def _start(handler: Handler, row: Container, _: Parameters) -> None:
    handler.site.containers.start(handler.context, row)


async def _stop(handler: Handler, row: Container, given: Parameters) -> None:
    handler.site.containers.stop(handler.context, row, _timeout(given))


async def _reboot(handler: Handler, row: Container, given: Parameters) -> None:
    handler.site.containers.reboot(handler.context, row, _timeout(given))


async def _pause(handler: Handler, row: Container, _: Parameters) -> None:
    handler.site.containers.pause(handler.context, row)


async def _unpause(handler: Handler, row: Container, _: Parameters) -> None:
    handler.site.containers.unpause(handler.context, row)


async def _kill(handler: Handler, row: Container, given: Parameters) -> None:
    schema.check(schema.KILL, given)
    handler.site.containers.kill(handler.context, row, given.get("signal"))


async def _rebuild(handler: Handler, row: Container, given: Parameters) -> None:
    image = handler.text_parameter(given, "image") or None
    image_driver = handler.text_parameter(given, "image_driver") or None
    if image_driver not in {None, "docker", "glance"}:
        raise InvalidValue("Invalid input for image_driver, it should be within the image drivers list")
    handler.site.containers.rebuild(handler.context, row, image=image, image_driver=image_driver)


async def _rename(handler: Handler, row: Container, given: Parameters) -> dict[str, Any]:
    name = handler.text_parameter(given, "name")
    if name is None:
        raise ServerFault("rename() missing 1 required positional argument: 'name'")
    if row.name == name:
        raise Conflict("The new name for the container is the same as the old name.")
    return show(handler, handler.site.containers.change(row, name=name))


async def _execute_resize(handler: Handler, row: Container, given: Parameters) -> None:
    containers = handler.site.containers
    exec_id = handler.text_parameter(given, "exec_id")
    if exec_id is None:
        raise ServerFault("execute_resize() missing 1 required positional argument: 'exec_id'")
    containers.driver.can_resize_exec()
    rows, cols = _size(given)
    await containers.workers.call(containers.terminals.resize, row, exec_id, rows, cols)


async def _resize(handler: Handler, row: Container, given: Parameters) -> None:
    containers = handler.site.containers
    rows, cols = _size(given)
    await containers.workers.call(containers.driver.resize, row, rows, cols)


async def _attach(handler: Handler, row: Container, _: Parameters) -> str:
    if not row.interactive:
        raise NoInteractiveFlag(
            "Container doesn't support to be attached, please check the interactive set properly"
        )
    return handler.site.containers.terminals.new_attach(row)


async def _resize_container(handler: Handler, row: Container, given: Parameters) -> dict[str, Any]:
    schema.check(schema.UPDATE, given)
    changes: dict[str, Any] = {}
    if "memory" in given:
        changes["memory"] = str(given["memory"])
    if "cpu" in given:
        changes["cpu"] = float(given["cpu"])
    handler.site.containers.resize(row, changes)
    return show(handler, row)


async def _commit(handler: Handler, row: Container, given: Parameters) -> dict[str, str]:
    repository = handler.text_parameter(given, "repository") or ""
    tag = handler.text_parameter(given, "tag")
    return {
        "uuid": handler.site.containers.commit(
            handler.context, row, repository, None if tag == "None" else tag
        )
    }


async def _add_security_group(handler: Handler, row: Container, given: Parameters) -> None:
    group = _security_group(handler, given)
    if group in (row.security_groups or []):
        raise InvalidValue(f"Security group {group} has been added to container.")
    handler.site.containers.security_group(handler.context, row, group, add=True)


async def _remove_security_group(handler: Handler, row: Container, given: Parameters) -> None:
    group = _security_group(handler, given)
    if group not in (row.security_groups or []):
        raise InvalidValue(f"Security group {group} was not added to container.")
    handler.site.containers.security_group(handler.context, row, group, add=False)


async def _network_detach(handler: Handler, row: Container, given: Parameters) -> None:
    addresses = row.addresses or {}
    port = given.get("port")
    if port:
        if port not in {entry["port"] for entries in addresses.values() for entry in entries}:
            raise PortNotFound(port)
        network = next(
            net for net, entries in addresses.items() if port in {entry["port"] for entry in entries}
        )
    else:
        network = _network(handler, given["network"])
        if network not in addresses:
            raise Invalid(f"Network '{given['network']}' is not attached to container '{row.uuid}'.")
    handler.site.containers.network_detach(handler.context, row, network)


async def _network_attach(handler: Handler, row: Container, given: Parameters) -> None:
    if given.get("port"):
        raise PortNotFound(given["port"])
    ref = given.get("network")
    network = handler.site.network.network_id if ref is None else _network(handler, ref)
    if network in (row.addresses or {}):
        raise Invalid(f"Network '{ref}' is already connected to container '{row.uuid}'.")
    handler.site.containers.network_attach(handler.context, row, network, given.get("fixed_ip"))


async def _network_list(handler: Handler, row: Container, _: Parameters) -> dict[str, Any]:
    networks: list[dict[str, Any]] = []
    for net_id, entries in (row.addresses or {}).items():
        for entry in entries:
            ip = {
                "subnet_id": entry.get("subnet_id"),
                "version": entry["version"],
                "ip_address": entry["addr"],
            }
            if handler.context.version < (1, 18):
                networks.append({"net_id": net_id, "port_id": entry["port"], **ip})
            else:
                networks.append({"net_id": net_id, "port_id": entry["port"], "fixed_ips": [ip]})
    return {"networks": networks}


def _timeout(given: Parameters) -> float:
    """Zun passes the string on; an empty one means the default, as none does."""
    value = given.get("timeout")
    return DEFAULT_STOP_TIMEOUT if value in {None, ""} else float(str(value))


def _size(given: Parameters) -> tuple[int, int]:
    try:
        return int(str(given["h"])), int(str(given["w"]))
    except (KeyError, ValueError) as error:
        raise ServerFault("h and w must be numbers") from error


def _network(handler: Handler, ref: str) -> str:
    network = handler.site.network.find_network(handler.context.project_id, ref)
    if network is None:
        raise NetworkNotFound(ref)
    return network


def _security_group(handler: Handler, given: Parameters) -> str:
    schema.check(schema.SECURITY_GROUP, given)
    name = given.get("name")
    if name is None:
        raise ServerFault("KeyError: 'name'")
    group = handler.site.network.find_security_group(handler.context.project_id, name)
    if group is None:
        raise InvalidValue(f"Security group {name} not found.")
    return group


_CHECKED_AS_BODY = frozenset({"kill", "add_security_group", "remove_security_group"})

VERBS: dict[str, Verb] = {
    "start": Verb("POST", _start, "start", status=202),
    "stop": Verb("POST", _stop, "stop", schema.STOP_QUERY, 202),
    "reboot": Verb("POST", _reboot, "reboot", schema.STOP_QUERY, 202),
    "rebuild": Verb("POST", _rebuild, "rebuild", status=202),
    "pause": Verb("POST", _pause, "pause", status=202),
    "unpause": Verb("POST", _unpause, "unpause", status=202),
    "kill": Verb("POST", _kill, "kill", status=202),
    "logs": Verb("GET", logs, "logs", schema.LOGS_QUERY),
    "execute": Verb("POST", execute, "execute", schema.EXECUTE_QUERY),
    "execute_resize": Verb("POST", _execute_resize, "execute_resize", schema.EXECUTE_RESIZE_QUERY),
    "rename": Verb("POST", _rename, None, schema.RENAME_QUERY, until=(1, 13)),
    "attach": Verb("GET", _attach, "attach"),
    "resize": Verb("POST", _resize, "resize", schema.RESIZE_QUERY),
    "resize_container": Verb("POST", _resize_container, "resize_container", status=202, since=(1, 19)),
    "top": Verb("GET", top, "top", schema.TOP_QUERY),
    "get_archive": Verb("GET", get_archive, "get_archive"),
    "put_archive": Verb("POST", put_archive, "put_archive"),
    "stats": Verb("GET", stats, "stats"),
    "commit": Verb("POST", _commit, "commit", schema.COMMIT_QUERY, 202),
    "add_security_group": Verb("POST", _add_security_group, "add_security_group", status=202, until=(1, 14)),
    "remove_security_group": Verb(
        "POST", _remove_security_group, "remove_security_group", status=202, until=(1, 14)
    ),
    "network_detach": Verb("POST", _network_detach, None, schema.NETWORK_DETACH_QUERY, 202, since=(1, 6)),
    "network_attach": Verb("POST", _network_attach, None, schema.NETWORK_ATTACH_QUERY, since=(1, 8)),
    "network_list": Verb("GET", _network_list, since=(1, 13)),
}
