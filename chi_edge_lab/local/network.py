"""Neutron's part of the site: the containers' network, ports, floating IPs. HTTP is in `network_api`.

Floating IPs are addresses of 127.0.0.0/8, from a /24 that each site draws for itself, so that several sites
on one machine do not clash. What answers on them is `local.ports`' business; it asks for `attachments`.
"""

from __future__ import annotations

import ipaddress
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from chi_edge_lab.local.config import SiteConfig
from chi_edge_lab.local.store import Store

PRIVATE_NAME = "containernet1"
"""What the containers' network is called on CHI@Edge."""

PUBLIC_NAME = "public"

FIRST_HOST = 10
"""Addresses below it belong to the networks themselves (gateway)."""


class NetworkError(Exception):
    """A refusal as Neutron writes it: HTTP status, type of error and message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message


@dataclass(frozen=True)
class Port:
    """A container's place in the network."""

    id: str
    project_id: str
    container_uuid: str
    address: str  # IPv4
    mac_address: str
    created_at: float  # seconds since the epoch


@dataclass(frozen=True)
class FloatingIP:
    """A public address of a project, attached to a port or not."""

    id: str
    project_id: str
    address: str  # IPv4
    port_id: str | None
    created_at: float
    updated_at: float
    description: str = ""


@dataclass(frozen=True)
class Net:
    """One of the two networks, with its one subnet."""

    id: str
    subnet_id: str
    name: str
    cidr: ipaddress.IPv4Network
    external: bool = field(default=False)

    @property
    def gateway(self) -> str:
        """First address."""
        return str(self.cidr[1])


class Network:
    """Networks, ports and floating IPs of one site. Thread-safe: what it remembers is in the store."""

    def __init__(self, config: SiteConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._ports = store.table(Port, "ports", index=("container_uuid",))
        self._floating = store.table(FloatingIP, "floating_ips", index=("port_id",))
        self.on_change: Callable[[], None] = lambda: None
        """Called, from any thread, after ports or floating IPs have changed."""
        # the second byte is random per site: as good for the private range as for the public one
        second = config.floating_range.network_address.packed[1]
        self.private = Net(
            config.uuid_of("network", PRIVATE_NAME),
            config.uuid_of("subnet", PRIVATE_NAME),
            PRIVATE_NAME,
            ipaddress.IPv4Network(f"10.{second}.0.0/16"),
        )
        self.public = Net(
            config.uuid_of("network", PUBLIC_NAME),
            config.uuid_of("subnet", PUBLIC_NAME),
            PUBLIC_NAME,
            config.floating_range,
            external=True,
        )
        self.networks = (self.private, self.public)

    # -- what the Zun part asks (zunapi.site.Network)

    @property
    def network_id(self) -> str:
        """The network every container is on."""
        return self.private.id

    @property
    def subnet_id(self) -> str:
        """Its subnet."""
        return self.private.subnet_id

    def free_address(self) -> str:
        """An IPv4 address of the private network that no port has. Raises NetworkError when there is none."""
        return _free(self.private, {p.address for p in self._ports.find()})

    def create_port(self, container_uuid: str, project_id: str, address: str) -> str:
        """The id of a new port for a container."""
        mac = "fa:16:3e:" + ":".join(f"{b:02x}" for b in secrets.token_bytes(3))
        port = Port(str(uuid.uuid4()), project_id, container_uuid, address, mac, time.time())
        self._ports.insert(port)
        self.on_change()
        return port.id

    def update_port(self, port_id: str, address: str) -> None:
        """The container has another address now; nothing happens when the port is gone."""
        self._ports.update_if(port_id, {}, address=address)
        self.on_change()

    def delete_port(self, port_id: str) -> None:
        """The port goes; floating IPs that were attached to it stay, detached. Nothing if it is gone."""
        with self._store.transaction():
            for floating in self._floating.find(port_id=port_id):
                self._floating.update(floating.id, port_id=None, updated_at=time.time())
            self._ports.delete(id=port_id)
        self.on_change()

    def find_network(self, project_id: str, ref: str) -> str | None:  # noqa: ARG002 - all projects share them
        """The id of a network by id or name."""
        return next((n.id for n in self.networks if ref in (n.id, n.name)), None)

    def find_security_group(self, project_id: str, ref: str) -> str | None:
        """The id of a security group by id or name."""
        group = self.security_group(project_id)
        return group if ref in (group, "default") else None

    def attachments(self) -> dict[str, list[str]]:
        """Container uuid -> floating IP addresses attached to its ports."""
        found: dict[str, list[str]] = {}
        with self._store.transaction():
            ports = {p.id: p for p in self._ports.find()}
            for floating in self._floating.find():
                port = ports.get(floating.port_id) if floating.port_id else None
                if port:
                    found.setdefault(port.container_uuid, []).append(floating.address)
        return found

    # -- what Neutron's clients ask

    def security_group(self, project_id: str) -> str:
        """The id of a project's one security group, "default"."""
        return self._config.uuid_of("security-group", project_id)

    def ports(self, project_id: str) -> list[Port]:
        """The ports of a project."""
        return self._ports.find(project_id=project_id)

    def port(self, project_id: str, id: str) -> Port:
        """One port. Raises NetworkError 404."""
        port = self._ports.get(id)
        if port is None or port.project_id != project_id:
            raise NetworkError(404, "PortNotFound", f"Port {id} could not be found.")
        return port

    def floating_ips(self, project_id: str) -> list[FloatingIP]:
        """The floating IPs of a project."""
        return self._floating.find(project_id=project_id)

    def floating_ip(self, project_id: str, id: str) -> FloatingIP:
        """One floating IP. Raises NetworkError 404."""
        floating = self._floating.get(id)
        if floating is None or floating.project_id != project_id:
            raise NetworkError(404, "FloatingIPNotFound", f"Floating IP {id} could not be found")
        return floating

    def create_floating_ip(self, project_id: str, *, port_id: str | None, description: str) -> FloatingIP:
        """Take an address out of the pool. Raises NetworkError 404 (port) or 409 (pool empty, port taken)."""
        with self._store.transaction():
            taken = {f.address for f in self._floating.find()}
            address = _free(self.public, taken, self._config.settings.floating_ips)
            now = time.time()
            floating = FloatingIP(str(uuid.uuid4()), project_id, address, None, now, now, description)
            if port_id is not None:
                self._check_port(floating, port_id)
            floating = self._floating.insert(
                FloatingIP(floating.id, project_id, address, port_id, now, now, description)
            )
        self.on_change()
        return floating

    def attach(self, project_id: str, id: str, port_id: str | None) -> FloatingIP:
        """Attach a floating IP to a port, or detach it (None). Raises NetworkError 404 or 409."""
        with self._store.transaction():
            floating = self.floating_ip(project_id, id)
            if port_id is not None:
                self._check_port(floating, port_id)
            floating = self._floating.update(id, port_id=port_id, updated_at=time.time())
        self.on_change()
        return floating

    def describe(self, project_id: str, id: str, description: str) -> FloatingIP:
        """Change the description of a floating IP. Raises NetworkError 404."""
        with self._store.transaction():
            self.floating_ip(project_id, id)
            return self._floating.update(id, description=description, updated_at=time.time())

    def delete_floating_ip(self, project_id: str, id: str) -> None:
        """Give an address back. Raises NetworkError 404."""
        with self._store.transaction():
            self.floating_ip(project_id, id)
            self._floating.delete(id=id)
        self.on_change()

    def _check_port(self, floating: FloatingIP, port_id: str) -> None:
        port = self.port(floating.project_id, port_id)
        if any(other.id != floating.id for other in self._floating.find(port_id=port_id)):
            raise NetworkError(
                409,
                "FloatingIPPortAlreadyAssociated",
                f"Cannot associate floating IP {floating.address} ({floating.id}) with port {port_id} "
                f"using fixed IP {port.address}, as that fixed IP already has a floating IP on external "
                f"network {self.public.id}.",
            )


def _free(net: Net, taken: set[str], size: int | None = None) -> str:
    """A random address of a network that is not taken. Raises NetworkError.

    Random, because one that was just given back may still be remembered by somebody as another container's.
    """
    size = net.cidr.num_addresses - FIRST_HOST - 1 if size is None else size
    if len(taken) < size // 2:
        while True:
            address = str(net.cidr[FIRST_HOST + secrets.randbelow(size)])
            if address not in taken:
                return address
    free = [a for a in (str(net.cidr[FIRST_HOST + i]) for i in range(size)) if a not in taken]
    if not free:
        raise NetworkError(
            409, "IpAddressGenerationFailure", f"No more IP addresses available on network {net.id}."
        )
    return secrets.choice(free)
