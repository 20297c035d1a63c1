"""The rings of log lines that are kept for followed containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services


class Logs:
    """The logs of this server."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def stop(self) -> None:
        """End all of them."""
