"""Floating IPs: allocate, attach to a container, find, detach, release (Neutron's part of a site).

An address that lies unbound in the project may be somebody else's, a classmate's for instance, between two of
his containers. So a new one is allocated, and an unbound one is only taken when it is named or when this
process allocated it.
"""

from __future__ import annotations

import ipaddress
import threading
from typing import TYPE_CHECKING

from chi_edge_lab.core import wait
from chi_edge_lab.core.progress import Cancel, Reporter
from chi_edge_lab.errors import BadInput, Conflict, EdgeLabError, NotFound, OverQuota

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun.models import Container, FloatingIP
    from chi_edge_lab.zun.network import Network

PORT_TIMEOUT = 60.0  # seconds after Running within which a container gets its address
_ours: set[str] = set()  # ids of the floating IPs that this process allocated
_lock = threading.Lock()


def allocate(client: Client) -> FloatingIP:
    """Allocate a new floating IP. Raises OverQuota or Conflict with a sentence when none is to be had."""
    try:
        floating = _network(client).create_floating_ip()
    except (Conflict, OverQuota) as error:
        unbound = [
            one.floating_ip_address
            for one in _network(client).floating_ips()
            if not one.port_id and one.floating_ip_address
        ]
        hint = (
            f"Unbound in your project, maybe in use by others of it: {', '.join(unbound)}. "
            "Name one to take it."
            if unbound
            else "Release one that is no longer used, or ask for more quota."
        )
        kind = OverQuota if isinstance(error, OverQuota) else Conflict
        raise kind(
            f"The site has no free floating IP for this project: {error.message}", hint=hint,
            request_id=error.request_id, http_status=error.http_status,
        ) from error  # fmt: skip
    with _lock:
        _ours.add(floating.id)
    return floating


def find(client: Client, uuid: str) -> list[FloatingIP]:
    """The floating IPs bound to a container."""
    ports = _ports(client.get_container(uuid))
    return (
        [one for one in _network(client).floating_ips() if one.port_id and one.port_id in ports]
        if ports
        else []
    )


def by_address(client: Client, address: str) -> FloatingIP:
    """The project's floating IP of that address. Raises BadInput (no IP address) and NotFound."""
    try:
        wanted = str(ipaddress.ip_address(str(address).strip()))
    except ValueError:
        raise BadInput(f"{address!r} is not an IP address.") from None
    every = _network(client).floating_ips()
    for floating in every:
        if floating.floating_ip_address == wanted:
            return floating
    owned = ", ".join(one.floating_ip_address for one in every if one.floating_ip_address) or "none"
    raise NotFound(f"Your project has no floating IP {wanted}.", hint=f"It has: {owned}.", http_status=None)


def attach(
    client: Client,
    uuid: str,
    address: str | None = None,
    *,
    timeout: float = PORT_TIMEOUT,
    cancel: Cancel | None = None,
) -> str:
    """Bind a floating IP to the container and return its address. Waits until the container has a port.

    Without `address`: the one that it has already, else a new one, which is released again should binding
    fail. Raises Conflict when `address` is bound to something else, WaitTimeout when the container gets no
    port.
    """
    reporter = Reporter(None, cancel)
    chosen = by_address(client, address) if address else None
    container = wait.wait_until(
        client,
        uuid,
        lambda one: bool(_ports(one)),
        goal="get a network port",
        timeout=timeout,
        reporter=reporter,
    )
    ports = _ports(container)
    bound = [one for one in _network(client).floating_ips() if one.port_id in ports]
    if chosen is None and bound:
        return _address(bound[0])
    if chosen is not None and chosen.port_id:
        if chosen.port_id in ports:
            return _address(chosen)
        raise Conflict(
            f"The floating IP {_address(chosen)} is bound to something else.",
            hint="Detach it there first, or leave the address out to get another one.",
        )
    fresh = chosen is None
    floating = chosen or _unused_of_ours(client) or allocate(client)
    try:
        _network(client).update_floating_ip(floating.id, ports[0])
    except EdgeLabError as error:
        if fresh:
            release(client, _address(floating))
        raise Conflict(
            f"The floating IP {_address(floating)} could not be bound to container {wait.label(container)}: "
            f"{error.message}",
            hint="Somebody may have taken it in the same moment." if not fresh else "",
            request_id=error.request_id,
        ) from error
    return _address(floating)


def detach(client: Client, address: str) -> None:
    """Unbind a floating IP; it stays the project's. Nothing to do when it is unbound."""
    floating = by_address(client, address)
    if floating.port_id:
        _network(client).update_floating_ip(floating.id, None)


def release(client: Client, address: str) -> bool:
    """Give a floating IP back to the site, bound or not. False when the project has it no longer."""
    try:
        floating = by_address(client, address)
        _network(client).delete_floating_ip(floating.id)
    except NotFound:
        return False
    with _lock:
        _ours.discard(floating.id)
    return True


def _unused_of_ours(client: Client) -> FloatingIP | None:
    with _lock:
        ours = set(_ours)
    return (
        next((one for one in _network(client).floating_ips() if one.id in ours and not one.port_id), None)
        if ours
        else None
    )


def _ports(container: Container) -> list[str]:
    return [address.port for network in container.addresses.values() for address in network if address.port]


def _address(floating: FloatingIP) -> str:
    return floating.floating_ip_address or floating.id


def _network(client: Client) -> Network:
    from chi_edge_lab.zun.network import Network

    return Network(client.login)
