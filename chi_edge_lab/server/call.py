"""One request as an operation sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chi_edge_lab.zun import Client

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services


@dataclass(frozen=True)
class Call:
    """Who asks, of which site and project. `site` is "" for what belongs to no site."""

    services: Services
    user: str
    site: str = ""
    project: str | None = None
    uuid: str = ""

    def client(self) -> Client:
        """The client of the call's site and project. Blocks."""
        return self.services.sites.client(self.site, self.project)

    def container(self) -> Client:
        """The same, after the call's container is known to be in that project. Blocks.

        Raises:
            errors.NotFound: it is not.
        """
        client = self.client()
        self.services.sites.owning(client, self.uuid)
        return client

    def audit(self, event: str, **data: Any) -> None:
        """Tell jupyter_events what was done (see `audit`), with the call's user, site, project and container."""
        self.services.audit.emit(event, self, data)
