"""What the Zun part needs of the site around it: the other services, seen from here.

`local.app.Site` has these; Protocols keep this package free of an import of the application that imports it.
Everything is thread-safe and answers at once (in-process, no HTTP).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from chi_edge_lab.local.engines.base import Engine
    from chi_edge_lab.local.ports import Forwarder
    from chi_edge_lab.local.profiles import Profile
    from chi_edge_lab.local.store import Store
    from chi_edge_lab.local.zunapi.limits import Limits
    from chi_edge_lab.local.zunapi.machine import Containers


class Token(Protocol):
    """A valid Keystone token, as `Identity.authenticate` gives it."""

    @property
    def user_id(self) -> str: ...
    @property
    def project_id(self) -> str | None: ...
    @property
    def roles(self) -> Collection[str]:
        """Role names; "admin" is what Zun's policy looks for."""


class Identity(Protocol):
    """The site's Keystone."""

    def authenticate(self, token: str) -> Token | None:
        """The token if it is valid now, else None."""


class Network(Protocol):
    """The site's Neutron, as far as containers touch it."""

    @property
    def network_id(self) -> str:
        """The network every container is on."""

    @property
    def subnet_id(self) -> str:
        """Its subnet."""

    def free_address(self) -> str:
        """An IPv4 address of the subnet that no port has."""

    def create_port(self, container_uuid: str, project_id: str, address: str) -> str:
        """The id of a new port for a container."""

    def update_port(self, port_id: str, address: str) -> None:
        """The container has another address now."""

    def delete_port(self, port_id: str) -> None:
        """The port goes; floating IPs that were attached to it stay, detached. Nothing happens when it is gone."""

    def find_network(self, project_id: str, ref: str) -> str | None:
        """The id of a network by id or name."""

    def find_security_group(self, project_id: str, ref: str) -> str | None:
        """The id of a security group by id or name."""

    def attachments(self) -> dict[str, list[str]]:
        """Container uuid -> floating IP addresses attached to its ports."""


class Reservations(Protocol):
    """The site's Blazar."""

    def is_usable(self, reservation_id: str, project_id: str) -> tuple[bool, str]:
        """Whether this device reservation of this project is active now, else why not."""


class Site(Protocol):
    """The site, as handlers and the state machine see it."""

    @property
    def store(self) -> Store: ...
    @property
    def engine(self) -> Engine: ...
    @property
    def profile(self) -> Profile: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def identity(self) -> Identity: ...
    @property
    def network(self) -> Network: ...
    @property
    def reservations(self) -> Reservations: ...
    @property
    def containers(self) -> Containers: ...
    @property
    def forwarder(self) -> Forwarder: ...
    @property
    def url(self) -> str:
        """Root of the site, "http://127.0.0.1:<port>", no slash at the end."""

    @property
    def container_url(self) -> str:
        """Where Zun's version document is: `url` + "/container"."""

    @property
    def ws_url(self) -> str:
        """The websocket proxy: "ws://127.0.0.1:<port>/ws/"."""
