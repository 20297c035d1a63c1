"""Floating IPs: the exposed ports of a container answer on an address of 127.0.0.0/8."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.site import Site


class Forwarder:
    """Listens on <floating IP>:<exposed port> while it is attached and the container runs."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def update(self) -> None:
        """Bring the listeners in line with what is attached (`network.attachments()`) and runs now. From any thread, at once."""

    def mapping(self) -> dict[tuple[str, int, str], int]:
        """(floating IP, exposed port, "tcp"|"udp") -> the port that really listens: another one where the kernel keeps ports below 1024 to itself."""
        return {}

    async def close(self) -> None:
        """Stop listening and drop all connections."""
