"""A client of the event socket."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any


class Events:
    """Subscribes, and keeps what comes by subscription."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.messages: dict[int | None, list[dict[str, Any]]] = {}
        self.frames = 0

    def subscribe(self, id: int, name: str, cursor: str | None = None, **topic: Any) -> None:
        self.say({"op": "subscribe", "id": id, "topic": {"name": name, **topic}, "cursor": cursor})

    def say(self, message: Any) -> None:
        self.socket.write_message(message if isinstance(message, (str, bytes)) else json.dumps(message))

    async def read(self, seconds: float) -> None:
        """Take one frame. Raises TimeoutError, EOFError."""
        text = await asyncio.wait_for(self.socket.read_message(), seconds)
        if text is None:
            raise EOFError(f"the socket was closed: {self.socket.close_code} {self.socket.close_reason}")
        self.frames += 1
        for message in json.loads(text):
            self.messages.setdefault(message.get("id"), []).append(message)

    async def until(self, id: int | None, found: Any, seconds: float = 15.0) -> dict[str, Any]:
        """The first message of a subscription, kept or to come, that `found` (a type, or a function) fits."""
        fits = found if callable(found) else lambda message: message["type"] == found
        looked = 0
        end = time.monotonic() + seconds
        while True:
            mine = self.messages.get(id, [])
            for message in mine[looked:]:
                if fits(message):
                    return message
            looked = len(mine)
            left = end - time.monotonic()
            try:
                await self.read(max(0.0, left))
            except asyncio.TimeoutError:
                raise AssertionError(
                    f"no such message within {seconds} s; there came {self.messages}"
                ) from None

    def types(self, id: int | None) -> list[str]:
        return [message["type"] for message in self.messages.get(id, [])]
