"""The socket of a terminal: bytes in binary frames both ways, small control messages as JSON text.

To the browser: `state` (first, and whenever it changes: state, message, rows, cols, offset, recording, exit_code),
`missed` {bytes}, `problem` (what was not taken). From it: `size` {rows, cols}, `ack` {offset}, `flow`, `record` {on}. A
browser that has said `flow` or `ack` is sent at most the high-water mark beyond what it has acknowledged; any other is
held back by TCP alone. `?offset=` goes on where a dropped socket was.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from jupyter_core.utils import ensure_async
from tornado import web, websocket

from chi_edge_lab import errors
from chi_edge_lab.server.failures import Missing, problem_of
from chi_edge_lab.server.handler import RESOURCE
from chi_edge_lab.server.operations import route
from chi_edge_lab.server.sockets import EdgeSocket
from chi_edge_lab.server.terminals.models import report
from chi_edge_lab.server.terminals.session import Session

_FRAME = 128 << 10  # bytes of one frame to the browser
_LARGEST = 4 << 20  # bytes of one frame from it


class TerminalSocket(EdgeSocket):
    """One reader of a terminal."""

    largest_message = _LARGEST

    async def get(self, *args: Any, **kwargs: Any) -> None:
        """Authenticate, authorise, look up, then upgrade."""
        if not self.current_user:
            raise web.HTTPError(403)
        if not await ensure_async(
            self.authorizer.is_authorized(self, self.current_user, "execute", RESOURCE)
        ):
            raise web.HTTPError(403)
        try:
            self.services.terminals.get(kwargs["id"])
        except Missing:
            raise web.HTTPError(404, "There is no such terminal.") from None
        await super().get(*args, **kwargs)

    def open(self, id: str) -> None:
        """Show the state, then what was shown."""
        super().open()
        self.set_nodelay(True)
        self._session: Session = self.services.terminals.get(id)
        self._writing = False
        self._closed = False
        self._acked: int | None = None  # None: this browser does not acknowledge
        kept = self._session.scrollback
        wanted = self.get_query_argument("offset", "")
        place = int(wanted) if wanted.isdecimal() and len(wanted) < 19 else kept.start
        self._place = min(place, kept.end)
        self._session.join(self)
        self.tell_state()
        self.kick()

    @property
    def behind(self) -> int:
        """Bytes shown that the browser has not got, or not acknowledged."""
        return self._session.scrollback.end - (self._place if self._acked is None else self._acked)

    def tell_state(self) -> None:
        """Send the state; a closed terminal's socket is closed after its last bytes."""
        shown = report(self._session).model_dump(mode="json")
        wanted = ("state", "message", "rows", "cols", "exit_code", "recording")
        self._say({"type": "state", "offset": self._place, **{key: shown[key] for key in wanted}})
        if self._session.state == "closed":
            self.kick()

    def _say(self, message: dict[str, Any]) -> None:
        if not self._closed:
            with contextlib.suppress(websocket.WebSocketClosedError):  # on_close follows
                self.write_message(json.dumps(message))

    def kick(self) -> None:
        """Send the next frame, unless one is on its way or the browser has enough to do."""
        if self._writing or self._closed:
            return
        kept = self._session.scrollback
        size = _FRAME
        if self._acked is not None:
            size = min(size, self._acked + self.services.limits.terminal_high - self._place)
        missed = kept.start - self._place
        if size > 0 and missed > 0:  # told once, when something is to follow
            self._say({"type": "missed", "bytes": missed})
            self._place += missed
            if self._acked is not None:
                self._acked += missed  # never under way
        data = kept.read(self._place, size) if size > 0 else b""
        if not data:
            if self._session.state == "closed" and self._place >= kept.end:
                self.close(1000, self._session.message[:100])
            return
        self._place += len(data)
        self._writing = True
        asyncio.ensure_future(self._send(data)).add_done_callback(self._sent)

    async def _send(self, data: bytes) -> None:
        with contextlib.suppress(websocket.WebSocketClosedError):  # on_close follows
            await self.write_message(data, binary=True)

    def _sent(self, _future: asyncio.Future[None]) -> None:
        self._writing = False
        self._session.make_room()
        self.kick()

    async def on_message(self, message: str | bytes) -> None:
        """Keys, or a control message; what is neither is answered, and the socket stays."""
        try:
            if isinstance(message, bytes):
                self._session.type(message)
            else:
                self._control(message)
        except errors.EdgeLabError as error:
            self._say({"type": "problem", **problem_of(error).model_dump()})

    def _control(self, message: str) -> None:
        try:
            said = json.loads(message)
            kind = said["type"]
            if kind == "size":
                self._session.resize(_number(said["rows"]), _number(said["cols"]), self.services.calls.run)
            elif kind in {"ack", "flow"}:
                offset = _number(said["offset"]) if kind == "ack" else self._session.scrollback.start
                self._acked = max(self._acked or 0, min(offset, self._place))
                self._session.make_room()
                self.kick()
            elif kind == "record":
                self.services.terminals.record(self._session, said["on"] is True)
            else:
                raise errors.BadInput(f"There is no control message {str(kind)[:40]!r}.")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            if isinstance(error, errors.EdgeLabError):
                raise
            raise errors.BadInput("This is not a control message that terminals know.") from None

    def on_close(self) -> None:
        """Look no more; the shell goes on."""
        self._closed = True
        self._session.leave(self)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


route("/terminals/{id}/socket", TerminalSocket)
