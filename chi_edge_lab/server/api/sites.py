"""Sites and logins."""

from __future__ import annotations

from pydantic import BaseModel

from chi_edge_lab import sites
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import SITE, operation


class SiteEntry(BaseModel):
    """A site that can be named."""

    name: str
    kind: str
    source: str
    auth_url: str


class SiteList(BaseModel):
    """The sites that can be named."""

    sites: list[SiteEntry]


@operation("GET", "/sites", "read")
def list_sites(call: Call) -> SiteList:
    """The sites that can be named; nothing is sent to them."""
    return SiteList(
        sites=[
            SiteEntry(name=one.name, kind=one.kind, source=one.source, auth_url=one.auth_url)
            for one in sites.list_sites()
        ]
    )


@operation("POST", SITE + "/refresh", "read")
async def refresh(call: Call) -> None:
    """Look at the site at once, for all who watch it (every change asked of it through this server does so too)."""
