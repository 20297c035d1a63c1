"""A feed: numbered messages in a bounded ring, encoded once for all readers.

A reader is a position in the ring, not a queue of its own: thirty readers cost what one costs, and one that is too
slow falls off the end, is told so (`gap`) and begins again with a snapshot.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MESSAGE_BYTES = (
    128 << 10
)  # what can be cut is cut into messages of about this size, so that frames stay bounded


def as_json(value: Any) -> bytes:
    """JSON without blanks, in ASCII: what is no character (names of files) travels as escaped surrogates."""
    return json.dumps(value, separators=(",", ":")).encode()


def encoded(kind: str, cursor: str, data: Mapping[str, Any] | bytes) -> bytes:
    """A message as JSON, without its first brace: the socket puts the subscription's number in front.

    `data` as bytes is JSON already.
    """
    body = data if isinstance(data, bytes) else as_json(data)
    return b'"type":%b,"cursor":%b,"data":%b}' % (as_json(kind), as_json(cursor), body)


def in_parts(items: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Encoded things, as many at a time as fit a message; at least one part, which may be empty."""
    part: list[bytes] = []
    size = 0
    for item in items:
        if part and size + len(item) > MESSAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += len(item) + 1
    yield part


@dataclass(frozen=True)
class Listing:
    """A snapshot that may be long: things already encoded, sent under `name` in as many messages as it takes.

    All but the last message have `"more": true`. `facts` are in each of them. The readers share the encoded things:
    one that does not read costs a list of references.
    """

    name: str
    items: Sequence[bytes]
    facts: Mapping[str, Any]

    def messages(self, cursor: str, partial: str) -> Iterator[bytes]:
        """Its messages; `cursor` for the last one, `partial` for those before."""
        facts = as_json({**self.facts, "more": True})[1:], as_json({**self.facts, "more": False})[1:]
        name = as_json(self.name)
        before: list[bytes] | None = None
        for part in in_parts(self.items):
            if before is not None:
                yield encoded("snapshot", partial, b"{%b:[%b],%b" % (name, b",".join(before), facts[0]))
            before = part
        yield encoded("snapshot", cursor, b"{%b:[%b],%b" % (name, b",".join(before or []), facts[1]))


Snapshot = Callable[[], "Iterable[Mapping[str, Any]] | Listing | None"]


class Feed:
    """Messages about one topic. Used on the loop only.

    `snapshot` gives the state that messages go on from, in one or more parts; where it gives None there is none yet,
    and new readers wait until `wake` or `publish`. A feed without `snapshot` is nothing but its messages: a new
    reader gets those that are kept.
    """

    def __init__(self, *, entries: int, size: int, snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot
        self._entries = entries
        self._size = size
        self._ring: deque[bytes] = deque()
        self._bytes = 0
        self._first = 0  # number of the oldest message kept
        self._epoch = secrets.token_hex(4)  # another feed of the same topic has other numbers
        self._waiting: set[Reader] = set()  # who has read everything and wants to be woken
        self.ended = False  # no message will follow

    @property
    def next(self) -> int:
        """The number of the message that comes next."""
        return self._first + len(self._ring)

    @property
    def waiting(self) -> int:
        """How many readers wait to be woken."""
        return len(self._waiting)

    @property
    def has_snapshot(self) -> bool:
        """Whether a new reader begins with a state, not with the messages kept."""
        return self._snapshot is not None

    def cursor(self, number: int) -> str:
        """What a reader keeps who has everything before message `number`."""
        return f"{self._epoch}-{number}"

    @property
    def nowhere(self) -> str:
        """The cursor of a reader who has a part of a snapshot only: nothing can go on from there."""
        return f"{self._epoch}-"

    def publish(self, kind: str, data: Mapping[str, Any] | bytes) -> None:
        """Add a message (`data` as bytes is JSON already) and wake the readers.

        After the end nobody listens any more, and nothing happens.
        """
        if self.ended:
            return
        message = encoded(kind, self.cursor(self.next + 1), data)
        self._ring.append(message)
        self._bytes += len(message)
        while len(self._ring) > self._entries or (self._bytes > self._size and len(self._ring) > 1):
            self._bytes -= len(self._ring.popleft())
            self._first += 1
        self.wake()

    def end(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add the last message."""
        self.publish(kind, data)
        self.ended = True

    def wake(self) -> None:
        """Let the readers look again: there is a message, or the first snapshot."""
        waiting, self._waiting = self._waiting, set()
        for reader in waiting:
            reader.wake()

    def reader(self, wake: Callable[[], None], cursor: str | None = None) -> Reader:
        """A reader that goes on at `cursor`, or begins (None).

        `wake` is called when there is something to take after a `take` that got all there was.
        """
        return Reader(self, wake, cursor)

    def position(self, cursor: str) -> int | None:
        """The number that a cursor means, None where it is not one of this feed or what follows it is gone."""
        epoch, _, number = cursor.rpartition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdecimal()) or len(number) > 18:
            return None
        return int(number) if self._first <= int(number) <= self.next else None

    def start(self) -> tuple[Iterator[bytes], int] | None:
        """What a new reader gets first, and the number it goes on with; None where there is no snapshot yet.

        Of a feed that has ended it goes on with the last message, which says how.
        """
        if self._snapshot is None:
            return iter(()), self._first
        state = self._snapshot()
        number = self.next - 1 if self.ended else self.next
        if state is None:
            return (iter(()), number) if self.ended else None
        if isinstance(state, Listing):
            return state.messages(self.cursor(number), self.nowhere), number
        *parts, last = state
        messages = [encoded("snapshot", self.nowhere, part) for part in parts]
        return iter([*messages, encoded("snapshot", self.cursor(number), last)]), number

    def since(self, number: int) -> Iterator[bytes] | None:
        """The messages from `number` on, None where that one is no longer kept. To be used up at once."""
        if number < self._first:
            return None
        return itertools.islice(self._ring, number - self._first, None)

    def wait(self, reader: Reader) -> None:
        """Wake this reader, once, at the next message."""
        self._waiting.add(reader)

    def drop(self, reader: Reader) -> None:
        """The reader has gone."""
        self._waiting.discard(reader)


class Reader:
    """One reader's place in a feed."""

    def __init__(self, feed: Feed, wake: Callable[[], None], cursor: str | None) -> None:
        self.feed = feed
        self.wake = wake
        self.drained = False  # whether the last `take` got all there was
        self._closed = False
        self._next = feed.position(cursor) if cursor else None  # None: to begin anew
        self._lost = self._next is None and bool(cursor)  # to be told that something is missing
        self._opening: Iterator[bytes] | None = None  # what it begins with, made as it is taken
        self._ahead: bytes | None = None  # of that, the message which did not fit

    def take(self, size: int, room: int | None = None) -> list[bytes]:
        """The next messages, at most `size` bytes of them; [] where there are none (it is woken then).

        A first message that is larger than `size` is given if it fits `room` (None: in any case).
        """
        taken: list[bytes] = []
        total = 0

        def fits(message: bytes) -> bool:
            return total + len(message) <= size or (not taken and (room is None or len(message) <= room))

        self.drained = False
        while not self._closed:
            if self._opening is not None:
                message = next(self._opening, None) if self._ahead is None else self._ahead
                if message is None:
                    self._opening = None
                    continue
                if not fits(message):
                    self._ahead = message
                    return taken
                self._ahead = None
                taken.append(message)
                total += len(message)
                continue
            messages = None if self._next is None else self.feed.since(self._next)
            if messages is None:
                if not self._begin():
                    break
                continue
            before = len(taken)
            for message in messages:
                if not fits(message):
                    self._go_on(len(taken) - before)
                    return taken
                taken.append(message)
                total += len(message)
            self._go_on(len(taken) - before)
            break
        self.drained = True
        if not self._closed and not self.finished:
            self.feed.wait(self)
        return taken

    @property
    def finished(self) -> bool:
        """Whether the feed has ended and everything was taken."""
        return self.feed.ended and self._opening is None and self._next == self.feed.next

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        self._opening = self._ahead = None
        self.feed.drop(self)

    def _go_on(self, messages: int) -> None:
        assert self._next is not None
        self._next += messages

    def _begin(self) -> bool:
        """Begin anew, with the notice of a gap where something was lost; False where there is no snapshot yet."""
        lost = self._lost or self._next is not None
        begun = self.feed.start()
        if begun is None:
            return False
        self._opening, self._next = begun
        self._lost = False
        if lost:
            # without the snapshot that follows a gap nothing can go on; where there are none the messages do
            cursor = self.feed.nowhere if self.feed.has_snapshot else self.feed.cursor(self._next)
            self._opening = itertools.chain([encoded("gap", cursor, {})], self._opening)
        return True
