"""The event socket: one for each browser tab, for everything that moves.

Text frames. The client sends `{"op": "subscribe", "id": 7, "topic": {"name": ..., ...}, "cursor": null}` and
`{"op": "unsubscribe", "id": 7}`; a frame of the server is an array of messages, each `{"id", "type", "cursor",
"data"}`:

- what the topic publishes; `cursor` is what to subscribe with again after a drop;
- `snapshot`: the state that the following messages go on from (`"more": true` in its data: the next message goes on
  with it); `gap`: messages were lost, what follows begins anew;
- `end`, `error` (data: a Problem): the subscription is over, its id is free again;
- `problem` (data: a Problem): what the client sent was not understood or not possible; nothing has changed.

What a slow client has not read stays in the feeds' rings, one frame apart: nothing queues here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Annotated, Any, Literal

from jupyter_core.utils import ensure_async
from jupyter_server.auth.decorator import authorized, ws_authenticated
from pydantic import BaseModel, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError
from tornado import websocket

from chi_edge_lab import errors
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import LimitReached
from chi_edge_lab.server.feeds.hub import Lease
from chi_edge_lab.server.feeds.subscriptions import Subscriptions
from chi_edge_lab.server.feeds.topics import load_topics, wanted
from chi_edge_lab.server.handler import RESOURCE
from chi_edge_lab.server.operations import messages, route
from chi_edge_lab.server.sockets import EdgeSocket

MESSAGE_BYTES = 64 << 10  # a larger message of a client closes its socket
FRAME_SECONDS = 0.05  # from one frame to the next, at the least
LARGEST_ID = 2**53 - 1  # what JavaScript counts to

Id = Annotated[int, Field(strict=True, ge=0, le=LARGEST_ID)]


class Subscribe(BaseModel):
    """Follow a topic, from `cursor` on if it is given."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["subscribe"]
    id: Id
    topic: dict[str, Any]
    cursor: str | None = Field(None, max_length=64)


class Unsubscribe(BaseModel):
    """Follow it no more."""

    model_config = ConfigDict(extra="forbid")

    op: Literal["unsubscribe"]
    id: Id


messages(Subscribe, Unsubscribe)
MESSAGE: TypeAdapter[Subscribe | Unsubscribe] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe, Discriminator("op")]
)


class EventSocket(EdgeSocket):
    """Subscriptions in, messages out."""

    largest_message = MESSAGE_BYTES

    async def _upgrade(self, *args: Any, **kwargs: Any) -> None:
        """Upgrade, for those who may read."""
        await super().get(*args, **kwargs)

    get: Any = ws_authenticated(authorized("read", resource=RESOURCE)(_upgrade))

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Begin to send."""
        super().open(*args, **kwargs)
        self.set_nodelay(True)
        self._subscriptions = Subscriptions()
        self._sender = asyncio.create_task(self._send())
        self._ending: asyncio.Task[None] | None = None
        self.services.hub.on_stop(self._stop)

    async def on_message(self, message: str | bytes) -> None:
        """Carry out one message; the next one is read afterwards."""
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            await self._subscriptions.tell(errors.BadInput("The message is not JSON."), None)
            return
        try:
            asked = MESSAGE.validate_python(value)
        except ValidationError as error:
            await self._subscriptions.tell(error, _id_of(value))
            return
        if isinstance(asked, Unsubscribe):
            self._subscriptions.remove(asked.id)
        elif asked.id in self._subscriptions:
            problem = errors.BadInput(f"There is a subscription {asked.id} already.")
            await self._subscriptions.tell(problem, asked.id)
        elif len(self._subscriptions) >= self.services.limits.subscriptions:
            limit = LimitReached(
                f"This event socket has {len(self._subscriptions)} subscriptions already, which is its limit.",
                hint="Close some panels, or raise c.EdgeLabLimits.subscriptions.",
            )
            await self._subscriptions.tell(limit, asked.id)
        else:
            self._subscriptions.add(asked.id, lambda: self._opened(asked.topic), asked.cursor)

    def on_close(self) -> None:
        """Release everything."""
        if hasattr(self, "_sender"):  # a socket may close before it was opened
            self._end()
        super().on_close()

    async def _opened(self, words: dict[str, Any]) -> Lease:
        topic, request = wanted(words)
        user = self.current_user
        if not await ensure_async(self.authorizer.is_authorized(self, user, topic.action, RESOURCE)):
            raise errors.Forbidden(f"You are not authorized to {topic.action} on {RESOURCE}.")
        call = Call(
            services=self.services,
            user=str(getattr(user, "username", "") or ""),
            site=request.site,
            project=request.project,
            uuid=getattr(request, "uuid", ""),
        )
        return await topic.open(call, request)

    async def _send(self) -> None:
        """Send frames, each after the one before has left; who reads slowly gets fewer, not later ones."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(websocket.WebSocketClosedError):
            while True:
                await self._subscriptions.ready.wait()
                frame = self._subscriptions.frame()
                if frame is not None:
                    began = loop.time()
                    await self.write_message(frame)
                    del frame
                    await asyncio.sleep(max(0.0, began + FRAME_SECONDS - loop.time()))

    def _end(self) -> asyncio.Task[None]:
        if self._ending is None:
            self.services.hub.forget(self._stop)
            self._sender.cancel()
            self._ending = asyncio.create_task(self._release())
        return self._ending

    async def _release(self) -> None:
        await self._subscriptions.close()
        await asyncio.wait([self._sender])

    async def _stop(self) -> None:
        """The server stops."""
        self.close(1001, "the server stops")
        await self._end()


def _id_of(value: Any) -> int | None:
    number = value.get("id") if isinstance(value, dict) else None
    return number if type(number) is int and 0 <= number <= LARGEST_ID else None


load_topics()
route("/events", EventSocket)
