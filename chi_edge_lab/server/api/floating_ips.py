"""Floating IPs: list, allocate, attach, detach, release."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab import errors
from chi_edge_lab.core import floating_ips, inventory
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, SITE, operation
from chi_edge_lab.zun import FloatingIP

_PORT_SECONDS = 15.0  # that a request waits for a container to get its address


class Association(BaseModel):
    """Which floating IP to attach; none: the one that the container has, else a new one."""

    model_config = ConfigDict(extra="forbid")

    address: str | None = Field(None, max_length=45)


class Address(BaseModel):
    """A floating IP's address."""

    address: str


class Released(BaseModel):
    """Whether the project still had it."""

    released: bool


@operation("GET", SITE + "/floating_ips", "read")
def list_floating_ips(call: Call) -> inventory.FloatingIPs:
    """The project's floating IPs, bound or not."""
    return inventory.floating_ips(call.client())


@operation("POST", SITE + "/floating_ips", "write")
def allocate_floating_ip(call: Call) -> FloatingIP:
    """Allocate a new floating IP."""
    return floating_ips.allocate(call.client())


@operation("DELETE", SITE + "/floating_ips/{address}", "write", status=200)
def release_floating_ip(call: Call, address: str) -> Released:
    """Give a floating IP back to the site, bound or not."""
    return Released(released=floating_ips.release(call.client(), address))


@operation("GET", CONTAINER + "/floating_ips", "read")
def list_container_floating_ips(call: Call) -> inventory.FloatingIPs:
    """The floating IPs bound to a container."""
    return inventory.FloatingIPs(floating_ips=floating_ips.find(call.container(), call.uuid))


@operation("POST", CONTAINER + "/floating_ips", "write")
def attach_floating_ip(call: Call, body: Association) -> Address:
    """Bind a floating IP to a container; waits some seconds for it to have a network port."""
    return Address(
        address=floating_ips.attach(call.container(), call.uuid, body.address, timeout=_PORT_SECONDS)
    )


@operation("DELETE", CONTAINER + "/floating_ips/{address}", "write")
def detach_floating_ip(call: Call, address: str) -> None:
    """Unbind a floating IP from a container; it stays the project's."""
    client = call.container()
    bound = {one.floating_ip_address for one in floating_ips.find(client, call.uuid)}
    floating = floating_ips.by_address(client, address)
    if floating.floating_ip_address in bound:
        floating_ips.detach(client, address)
    elif floating.port_id:
        raise errors.Conflict(f"The floating IP {address} is bound to something else than this container.")
