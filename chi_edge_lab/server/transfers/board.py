"""Topic `transfers`: `snapshot` {"transfers": [...]}, then `diff` {"changed": [...], "removed": [id, ...]}."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.topics import TopicRequest, topic

if TYPE_CHECKING:
    from chi_edge_lab.server.services import Services

PAUSE = 0.1  # seconds between messages


class Board(Producer):
    """Tells how the transfers are, at most ten times a second."""

    def __init__(self, services: Services) -> None:
        limits = services.limits
        self.feed = Feed(entries=limits.feed_entries, size=limits.feed_bytes, snapshot=self._snapshot)
        self._transfers = services.transfers
        self._changed: set[str] = set()
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Publish until cancelled."""
        self._transfers.boards.add(self)
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                ids, self._changed = self._changed, set()
                there = {one.id: one for one in self._transfers.all()}
                self.feed.publish(
                    "diff",
                    {
                        "changed": [
                            there[id].status().model_dump(mode="python") for id in ids if id in there
                        ],
                        "removed": [id for id in ids if id not in there],
                    },
                )
                await asyncio.sleep(PAUSE)
        finally:
            self._transfers.boards.discard(self)

    def touch(self, id: str) -> None:
        """A transfer has changed, come or gone."""
        self._changed.add(id)
        self._news.set()

    def _snapshot(self) -> Iterable[dict[str, Any]]:
        yield {"transfers": [one.status().model_dump(mode="python") for one in self._transfers.all()]}


@topic("transfers")
async def open_transfers(call: Call, request: TopicRequest) -> Lease:
    """The transfers of this server, of all sites."""
    services = call.services
    return services.hub.acquire("transfers", services.hub.known("transfers") or Board(services))
