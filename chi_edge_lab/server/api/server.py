"""The server itself."""

from __future__ import annotations

import time

from pydantic import BaseModel

from chi_edge_lab import __version__
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import operation


class Status(BaseModel):
    """How the extension does. `uptime` is in seconds; the rest are counts."""

    version: str
    uptime: float
    calls: int  # requests that wait for a site
    feeds: int


@operation("GET", "/status", "read")
async def get_status(call: Call) -> Status:
    """How the server extension does; never waits for a site."""
    services = call.services
    return Status(
        version=__version__,
        uptime=time.monotonic() - services.started,
        calls=services.calls.running,
        feeds=len(services.hub),
    )
