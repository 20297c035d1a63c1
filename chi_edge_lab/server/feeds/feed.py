"""A feed: numbered messages in a bounded ring, encoded once for all readers.

A reader is a position in the ring, not a queue of its own: thirty readers cost what one costs, and one that is too
slow falls off the end, is told so (`gap`) and begins again with a snapshot.
"""

from __future__ import annotations

import json
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


def encoded(kind: str, cursor: str, data: Mapping[str, Any]) -> bytes:
    """A message as JSON, without its first brace: the socket puts the subscription's number in front."""
    return json.dumps({"type": kind, "cursor": cursor, "data": data}, separators=(",", ":")).encode()[1:]


class Feed:
    """Messages about one topic. Used on the loop only.

    `snapshot` gives the state that messages go on from, in one or more parts; None where the messages themselves are
    all there is (then a new reader gets those that are kept).
    """

    def __init__(
        self, *, entries: int, size: int, snapshot: Callable[[], Iterable[Mapping[str, Any]]] | None = None
    ) -> None:
        self._snapshot = snapshot
        self._encoded: tuple[int, list[bytes]] = (
            -1,
            [],
        )  # the snapshot that messages from a number on go on from
        self._entries = entries
        self._size = size
        self._ring: deque[bytes] = deque()
        self._bytes = 0
        self._first = 0  # number of the oldest message kept
        self._epoch = secrets.token_hex(4)  # another feed of the same topic has other numbers
        self._wakers: set[Callable[[], None]] = set()
        self.ended = False  # no message will follow

    @property
    def next(self) -> int:
        """The number of the message that comes next."""
        return self._first + len(self._ring)

    def cursor(self, number: int) -> str:
        """What a reader keeps who has everything before message `number`."""
        return f"{self._epoch}-{number}"

    def publish(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add a message and wake the readers."""
        message = encoded(kind, self.cursor(self.next + 1), data)
        self._ring.append(message)
        self._bytes += len(message)
        while self._ring and (
            len(self._ring) > self._entries or (self._bytes > self._size and len(self._ring) > 1)
        ):
            self._bytes -= len(self._ring.popleft())
            self._first += 1
        for wake in tuple(self._wakers):
            wake()

    def end(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add the last message."""
        self.publish(kind, data)
        self.ended = True

    def reader(self, wake: Callable[[], None], cursor: str | None = None) -> Reader:
        """A reader that goes on at `cursor`, or begins (None)."""
        reader = Reader(self, wake)
        reader.begin(cursor)
        self._wakers.add(wake)
        return reader

    def position(self, cursor: str) -> int | None:
        """The number that a cursor means, None where it is not one of this feed or what follows it is gone."""
        epoch, _, number = cursor.rpartition("-")
        if epoch != self._epoch or not number.isdecimal() or len(number) > 18:
            return None
        return int(number) if self._first <= int(number) <= self.next else None

    def start(self) -> tuple[list[bytes], int]:
        """What a new reader gets first, and the number it goes on with."""
        if self._snapshot is None:
            return [], self._first
        if self._encoded[0] != self.next:
            *parts, last = self._snapshot()
            # who has not got the last part has nothing to go on from: no cursor
            messages = [encoded("snapshot", "", part) for part in parts]
            self._encoded = self.next, [*messages, encoded("snapshot", self.cursor(self.next), last)]
        return self._encoded[1], self.next

    def message(self, number: int) -> bytes | None:
        """A message by number; None where it is no longer kept."""
        return self._ring[number - self._first] if number >= self._first else None

    def drop(self, wake: Callable[[], None]) -> None:
        """The reader with this `wake` has gone."""
        self._wakers.discard(wake)


@dataclass
class Reader:
    """One reader's place in a feed."""

    feed: Feed
    wake: Callable[[], None]
    _pending: list[bytes] = field(default_factory=list)
    _next: int = 0

    def begin(self, cursor: str | None) -> None:
        """Go on at `cursor`; where that is not possible, say so and begin anew."""
        known = self.feed.position(cursor) if cursor else None
        if known is not None:
            self._next = known
        else:
            self._begin_anew(gap=bool(cursor))

    def _begin_anew(self, *, gap: bool) -> None:
        first, number = self.feed.start()
        notice = [encoded("gap", "" if first else self.feed.cursor(number), {})] if gap else []
        self._pending, self._next = [*notice, *first], number

    def take(self, size: int) -> list[bytes]:
        """The next messages, about `size` bytes of them; [] where there are none yet."""
        taken, total = [], 0
        while total < size:
            if self._pending:
                message: bytes | None = self._pending.pop(0)
            elif self._next >= self.feed.next:
                break
            else:
                message = self.feed.message(self._next)
                self._next += 1
                if message is None:
                    self._begin_anew(gap=True)
                    continue
            assert message is not None
            taken.append(message)
            total += len(message)
        return taken

    @property
    def finished(self) -> bool:
        """Whether the feed has ended and everything was taken."""
        return self.feed.ended and not self._pending and self._next >= self.feed.next

    def close(self) -> None:
        """Read no more."""
        self.feed.drop(self.wake)
