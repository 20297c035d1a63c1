"""The other side of the event socket, as a browser tab would be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

PATIENCE = 30.0  # seconds for a message that must come


class EventClient:
    """Reads frames as they come and keeps all messages in `seen`."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.frames: list[str] = []
        self.seen: list[dict[str, Any]] = []
        self.at_end = False
        self._given = 0

    async def send(self, **message: Any) -> None:
        await self.connection.write_message(json.dumps(message))

    async def subscribe(self, id: int, cursor: str | None = None, **topic: Any) -> None:
        await self.send(op="subscribe", id=id, topic=topic, cursor=cursor)

    async def unsubscribe(self, id: int) -> None:
        await self.send(op="unsubscribe", id=id)

    async def read_frame(self) -> bool:
        """Read one frame; False where the socket was closed."""
        if self.at_end:
            return False
        frame = await asyncio.wait_for(self.connection.read_message(), PATIENCE)
        if frame is None:
            self.at_end = True
            return False
        self.frames.append(frame)
        self.seen += json.loads(frame)
        return True

    async def next(self) -> dict[str, Any]:
        """The next message that `next` has not given yet."""
        while self._given >= len(self.seen):
            assert await self.read_frame(), "the socket was closed"
        self._given += 1
        return self.seen[self._given - 1]

    async def until(self, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The next message of which `wanted` holds; those before it are passed over."""
        while True:
            message = await self.next()
            if wanted(message):
                return message

    async def of(self, id: int, kind: str) -> dict[str, Any]:
        """The next message of that subscription and type."""
        return await self.until(lambda one: one["id"] == id and one["type"] == kind)

    def close(self) -> None:
        self.connection.close()

    async def closed(self) -> None:
        """Close it and read to the end."""
        self.connection.close()
        while await self.read_frame():
            pass
