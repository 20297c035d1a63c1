"""A client of the event socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any


class Events:
    """Subscribes, and keeps what comes by subscription."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.messages: dict[int | None, list[dict[str, Any]]] = {}
        self.frames = 0
        self.largest = 0  # characters of the largest frame
        self.order: list[dict[str, Any]] = []  # all messages as they came
        self.closed = False
        self._given = 0

    def subscribe(self, id: int, name: str, cursor: str | None = None, **topic: Any) -> None:
        self.say({"op": "subscribe", "id": id, "topic": {"name": name, **topic}, "cursor": cursor})

    def say(self, message: Any) -> None:
        self.socket.write_message(message if isinstance(message, (str, bytes)) else json.dumps(message))

    async def read(self, seconds: float) -> None:
        """Take one frame. Raises TimeoutError, EOFError."""
        text = await asyncio.wait_for(self.socket.read_message(), seconds)
        if text is None:
            self.closed = True
            raise EOFError(f"the socket was closed: {self.socket.close_code} {self.socket.close_reason}")
        self.frames += 1
        self.largest = max(self.largest, len(text))
        for message in json.loads(text):
            self.order.append(message)
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

    async def next(self) -> dict[str, Any]:
        """The next message of all that `next` has not given yet."""
        while self._given >= len(self.order):
            await self.read(30)
        self._given += 1
        return self.order[self._given - 1]

    async def of(self, id: int, kind: str) -> dict[str, Any]:
        """The next message of that subscription and type; those before it are passed over."""
        while True:
            message = await self.next()
            if (message.get("id"), message["type"]) == (id, kind):
                return message

    async def end(self) -> None:
        """Close it and read to the end."""
        self.socket.close()
        with contextlib.suppress(EOFError):
            while not self.closed:
                await self.read(30)

    def types(self, id: int | None) -> list[str]:
        return [message["type"] for message in self.messages.get(id, [])]
