"""From the body of a create call to a row: defaults, policy and the checks that answer 4xx.

What only turns out later (image, reservation, name rules of Kubernetes) is the driver's, and ends in status Error.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import shlex
import uuid
from typing import TYPE_CHECKING, Any

from chi_edge_lab.local.zunapi import schema
from chi_edge_lab.local.zunapi.errors import (
    Base64Exception,
    InvalidValue,
    NetworkNotFound,
    PolicyNotAuthorized,
    PortNotFound,
    ServerFault,
)
from chi_edge_lab.local.zunapi.model import Container
from chi_edge_lab.local.zunapi.registries import Registries

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.handler import Handler

_GREEK = [
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"),
    *("nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
]


def new_container(handler: Handler, body: dict[str, Any]) -> Container:
    """A row with status Creating, not saved. The body fits its schema. Raises ZunErrors."""
    from chi_edge_lab.local.zunapi.containers import require_version

    site, context = handler.site, handler.context
    profile = site.profile
    interactive = schema.boolean(body.get("interactive"), "run or interactive")
    # before 1.36 there is no tty of its own: it follows interactive
    tty = schema.boolean(body.get("tty"), "tty")
    if context.version < (1, 36) and context.version >= (1, 20):
        tty = interactive
    for name, since in (
        ("auto_remove", (1, 3)),
        ("runtime", (1, 5)),
        ("hostname", (1, 9)),
        ("exposed_ports", (1, 24)),
    ):
        if body.get(name) is not None:
            require_version(handler, name, since)
    for name, since in (("healthcheck", (1, 22)), ("mounts", (1, 11)), ("registry", (1, 31))):
        if body.get(name):
            require_version(handler, name, since)
    if body.get("privileged") is not None:
        require_version(handler, "privileged", (1, 21))
        raise PolicyNotAuthorized("container:create:privileged")  # for everybody
    _check_policy(handler, body)
    address = _wanted_address(handler, body.get("nets") or [])
    groups = _security_groups(handler, body.get("security_groups") or [])
    command = _command(body.get("command"))
    return Container(
        uuid=str(uuid.uuid4()),
        project_id=context.project_id,
        user_id=context.user_id,
        name=body.get("name") or f"{secrets.choice(_GREEK)}-{1 + secrets.randbelow(24)}-container",
        image=body["image"],
        created_at=context.at,
        command=command,
        args=command,
        entrypoint=body.get("entrypoint"),
        cpu=float(body["cpu"]) if body.get("cpu") is not None else profile.default_cpu,
        cpu_policy=body.get("cpu_policy") or "shared",
        memory=str(body["memory"]) if body.get("memory") is not None else profile.default_memory,
        disk=int(body.get("disk") or 0),
        environment=body.get("environment"),
        workdir=body.get("workdir"),
        hostname=body.get("hostname"),
        labels=body.get("labels"),
        fixed_ip=address,
        exposed_ports=_exposed_ports(body.get("exposed_ports")),
        restart_policy=_restart_policy(body.get("restart_policy")),
        interactive=interactive,
        tty=tty,
        pid1_stdin=interactive,
        pid1_tty=tty,
        image_driver=_or_default(body.get("image_driver"), "docker"),
        image_pull_policy=body.get("image_pull_policy"),
        security_groups=groups or None,
        auto_remove=bool(body.get("auto_remove")),
        auto_heal=schema.boolean(body.get("auto_heal"), "auto_heal"),
        runtime=body.get("runtime"),
        healthcheck=_healthcheck(body.get("healthcheck")),
        registry_id=Registries(site).find(context, body["registry"]).uuid if body.get("registry") else None,
        mounts=_mounts(body.get("mounts") or []),
        reservation_id=_reservation(handler, body),
        device_profiles=[str(profile_name) for profile_name in body.get("device_profiles") or []] or None,
    )


def _check_policy(handler: Handler, body: dict[str, Any]) -> None:
    rules = {"host": "requested_destination"}
    for name in sorted(handler.site.profile.admin_only):
        if body.get(name) and not handler.context.is_admin:
            raise PolicyNotAuthorized(f"container:create:{rules.get(name, name)}")


def _command(given: object) -> list[str] | None:
    """A list of words; a string before microversion 1.20. Raises ServerFault for unbalanced quotes."""
    if not isinstance(given, str):
        return given  # type: ignore[return-value]
    try:
        return shlex.split(given)
    except ValueError as error:
        raise ServerFault(f"the command cannot be split: {error}") from error


def _exposed_ports(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if given is None:
        return None
    ports = {}
    for key, value in given.items():
        number, slash, protocol = key.partition("/")
        if "/" in protocol:
            number, slash, protocol = key, "", ""
        protocol = protocol if slash else "tcp"
        if protocol not in {"tcp", "udp"}:
            raise InvalidValue(f"value {protocol} is an invalid protocol")
        try:
            ports[f"{int(number)}/{protocol}"] = value
        except ValueError:
            raise InvalidValue(f"value {number} is invalid as publish port.") from None
    return ports


def _restart_policy(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if not given:
        return None
    name, count = given["Name"], given.get("MaximumRetryCount")
    if count is None:
        count = "0"
    if name in {"unless-stopped", "always"} and int(count) != 0:
        raise InvalidValue(f"maximum retry count not valid with restart policy of {name}")
    return {"Name": name, "MaximumRetryCount": "0" if name == "no" else count}


def _healthcheck(given: dict[str, Any] | None) -> dict[str, Any] | None:
    if not given:
        return None
    rest = {key: value for key, value in given.items() if key != "cmd"}
    return rest | {"test": given.get("cmd", "")}


def _mounts(given: list[dict[str, Any]]) -> list[dict[str, str]] | None:
    """Files to inject. Raises ServerFault for volumes: there is no Cinder here."""
    mounts = []
    for mount in given:
        if mount.get("type", "volume") != "bind":
            raise ServerFault("there is no volume service")
        source = mount.get("source", "")
        try:
            base64.b64decode(source, validate=False)
        except binascii.Error:
            raise Base64Exception("Invalid Base 64 file data") from None
        mounts.append({"destination": mount["destination"], "source": source})
    return mounts or None


def _wanted_address(handler: Handler, nets: list[dict[str, Any]]) -> str | None:
    """The fixed IP that a net asks for. Raises NetworkNotFound, PortNotFound."""
    wanted = None
    for net in nets:
        if net.get("port"):
            raise PortNotFound(net["port"])
        if handler.site.network.find_network(handler.context.project_id, net["network"]) is None:
            raise NetworkNotFound(net["network"])
        wanted = net.get("v4-fixed-ip") or wanted
    return wanted


def _security_groups(handler: Handler, given: list[str]) -> list[str]:
    found = []
    for ref in dict.fromkeys(given):
        group = handler.site.network.find_security_group(handler.context.project_id, ref)
        if group is None:
            raise InvalidValue(f"Security group {ref} not found.")
        found.append(group)
    return found


def _reservation(handler: Handler, body: dict[str, Any]) -> str | None:
    if "hints" in body and body["hints"] is None and handler.site.profile.hints_must_be_object:
        raise ServerFault("'NoneType' object has no attribute 'get'")
    reservation = (body.get("hints") or {}).get("reservation")
    return str(reservation) if reservation else None


def _or_default(value: str | None, default: str) -> str:
    return default if value in {None, "None"} else str(value)
