"""The event socket: one for each browser tab, for everything that moves.

The client says `{"op": "subscribe", "id": 7, "topic": {"name": ..., ...}, "cursor": null}` and
`{"op": "unsubscribe", "id": 7}`. The server sends arrays of `{"id": 7, "type": ..., "cursor": ..., "data": {...}}`, at
most twenty a second. A cursor is what to subscribe with again after a drop: nothing is lost or repeated as far back as
the feed's ring goes; beyond it a `gap` comes, then a fresh snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from pydantic import ValidationError
from tornado import web, websocket

from chi_edge_lab import errors
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import LimitReached, problem_of
from chi_edge_lab.server.feeds.feed import Reader, encoded
from chi_edge_lab.server.feeds.hub import Lease
from chi_edge_lab.server.feeds.topics import wanted
from chi_edge_lab.server.handler import RESOURCE
from chi_edge_lab.server.operations import route
from chi_edge_lab.server.services import Services

FRAME_SECONDS = 0.05  # between frames: twenty a second look live, and thirty readers stay cheap
FRAME_BYTES = 256 << 10  # of one frame; what does not fit comes with the next one
_SHARE = 64 << 10  # bytes of one subscription in a frame, so that a busy log leaves room for the rest
_LARGEST_REQUEST = 64 << 10


class Subscription:
    """One topic that a socket reads."""

    def __init__(self, id: int, lease: Lease, reader: Reader) -> None:
        self.prefix = b'{"id":%d,' % id
        self.lease = lease
        self.reader = reader

    def close(self) -> None:
        """Read no more."""
        self.reader.close()
        self.lease.release()


class EventSocket(WebSocketMixin, websocket.WebSocketHandler, JupyterHandler):
    """Subscriptions in, messages out. A slow client only falls behind in the feeds' rings: nothing queues here."""

    auth_resource = RESOURCE

    @property
    def services(self) -> Services:
        """What serves the socket."""
        found: Services = self.settings["chi_edge_lab_services"]
        return found

    @property
    def max_message_size(self) -> int:
        """Bytes of a client's message; a larger one closes the socket."""
        return _LARGEST_REQUEST

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Authenticate, authorise, then upgrade."""
        if not self.current_user:
            raise web.HTTPError(403)
        if not await self._may("read"):
            raise web.HTTPError(403)
        await super().get(*args, **kwargs)

    async def _may(self, action: str) -> bool:
        return bool(
            await ensure_async(self.authorizer.is_authorized(self, self.current_user, action, RESOURCE))
        )

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Begin to send."""
        super().open(*args, **kwargs)
        self.set_nodelay(True)
        self._subscriptions: dict[int, Subscription] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._notices: list[bytes] = []  # answers to the client itself
        self._news = asyncio.Event()
        self._sending = asyncio.create_task(self._send())
        self.services.sockets.add(self)

    async def on_message(self, message: str | bytes) -> None:
        """Take a client's request; what cannot be done is answered, and the socket stays open."""
        id = None
        try:
            request = json.loads(message)
            id = request["id"]
            if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < 2**53:
                id = None
                raise ValueError
            op = request["op"]
        except (ValueError, KeyError, TypeError, RecursionError):
            self._answer(id, errors.BadInput("This is not a request that the event socket knows."))
            return
        if op == "unsubscribe":
            self._unsubscribe(id)
        elif op != "subscribe":
            self._answer(
                id, errors.BadInput(f"There is no op {str(op)[:40]!r}; there are subscribe and unsubscribe.")
            )
        elif id in self._subscriptions or id in self._opening:
            self._answer(id, errors.BadInput(f"Subscription {id} is there already."))
        elif len(self._subscriptions) + len(self._opening) >= self.services.limits.subscriptions:
            self._answer(
                id,
                LimitReached(
                    f"This tab follows {self.services.limits.subscriptions} things, which is the limit.",
                    hint="Close some panels, or raise c.EdgeLabLimits.subscriptions.",
                ),
            )
        else:
            self._opening[id] = asyncio.create_task(self._subscribe(id, request))

    async def _subscribe(self, id: int, request: dict[str, Any]) -> None:
        lease: Lease | None = None
        try:
            topic, words = wanted(request.get("topic"))
            cursor = request.get("cursor")
            if not (cursor is None or isinstance(cursor, str)):
                raise errors.BadInput("A cursor is a text that the server sent, or null.")
            if topic.action != "read" and not await self._may(topic.action):
                raise errors.Forbidden(f"You may not {topic.action} here.")
            call = Call(
                services=self.services,
                user=str(getattr(self.current_user, "username", "") or ""),
                site=words.site,
                project=words.project,
                uuid=getattr(words, "uuid", ""),
            )
            lease = await topic.open(call, words)
            reader = lease.producer.feed.reader(self._news.set, cursor)
            self._subscriptions[id] = Subscription(id, lease, reader)
            self._news.set()
        except asyncio.CancelledError:
            if lease is not None:
                lease.release()
            raise
        except (errors.EdgeLabError, ValidationError) as error:
            self._answer(id, error)
        except Exception as error:  # noqa: BLE001 - told to the client, and logged by problem_of
            self._answer(id, error)
        finally:
            self._opening.pop(id, None)

    def _unsubscribe(self, id: int) -> None:
        opening = self._opening.pop(id, None)
        if opening is not None:
            opening.cancel()
        subscription = self._subscriptions.pop(id, None)
        if subscription is not None:
            subscription.close()

    def _answer(self, id: int | None, error: Exception) -> None:
        prefix = b"{" if id is None else b'{"id":%d,' % id
        self._notices.append(prefix + encoded("problem", "", problem_of(error).model_dump()))
        del self._notices[:-100]  # a client that only talks nonsense and never reads
        self._news.set()

    async def _send(self) -> None:
        """Frames, as long as the socket is open: each waits until the one before has left."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                began = loop.time()
                messages = self._take()
                if messages:
                    await self.write_message(b"[" + b",".join(messages) + b"]", binary=False)
                    await asyncio.sleep(max(0.0, FRAME_SECONDS - (loop.time() - began)))
        except websocket.WebSocketClosedError:
            self.log.debug("an event socket was closed while it was written to")

    def _take(self) -> list[bytes]:
        """What the next frame holds; a fair share of each subscription."""
        messages, self._notices = self._notices, []
        room = FRAME_BYTES
        for id, subscription in list(self._subscriptions.items()):
            if room <= 0:
                self._news.set()
                break
            taken = subscription.reader.take(min(room, _SHARE))
            if taken:
                room -= sum(map(len, taken))
                messages += [subscription.prefix + message for message in taken]
                # another one may wait; and who was served goes to the end of the row
                self._news.set()
                self._subscriptions[id] = self._subscriptions.pop(id)
            if subscription.reader.finished:
                self._subscriptions.pop(id).close()
        return messages

    def on_close(self) -> None:
        """Let go of everything."""
        self.services.sockets.discard(self)
        self._sending.cancel()
        for id in [*self._opening, *self._subscriptions]:
            self._unsubscribe(id)
        with contextlib.suppress(AttributeError):  # the mixin's, where the Jupyter Server has one
            super().on_close()


route("/events", EventSocket)
