"""What the handlers share: one of each for a Jupyter server, started with it and stopped with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from chi_edge_lab.server.audit import Audit
from chi_edge_lab.server.creations import Creations
from chi_edge_lab.server.execs import Execs
from chi_edge_lab.server.feeds.hub import Hub
from chi_edge_lab.server.limits import EdgeLabLimits
from chi_edge_lab.server.listing import Listings
from chi_edge_lab.server.logs import Logs
from chi_edge_lab.server.sites import SiteClients
from chi_edge_lab.server.terminals.manager import Terminals
from chi_edge_lab.server.transfers.manager import Transfers
from chi_edge_lab.server.workers import Workers


class Services:
    """Made on the loop; `stop` ends everything that was started."""

    def __init__(self, limits: EdgeLabLimits, *, data_dir: Path, event_logger: Any = None) -> None:
        self.limits = limits
        self.data_dir = data_dir  # private to the user; what is in it outlives the server
        self.started = time.monotonic()
        self.calls = Workers("calls", limits.call_threads, limits.waiting_calls)
        self.polls = Workers("polls", limits.poll_threads, 10 * limits.feeds)
        self.sites = SiteClients(limits.allowed_sites)
        self.listings = Listings(self.sites)
        self.creations = Creations()
        self.audit = Audit(event_logger)
        self.hub = Hub(self)
        self.logs = Logs(self)
        self.execs = Execs(self)
        self.terminals = Terminals(self)
        self.transfers = Transfers(self)

    async def start(self) -> None:
        """Begin what runs by itself: cleaning up after a server that was killed."""
        self.audit.start()
        await self.transfers.start()

    async def stop(self) -> None:
        """End feeds, terminals, transfers and threads; nothing is left running."""
        await self.transfers.stop()
        await self.terminals.stop()
        await self.execs.stop()
        await self.hub.stop()
        await self.logs.stop()
        self.calls.close()
        self.polls.close()
