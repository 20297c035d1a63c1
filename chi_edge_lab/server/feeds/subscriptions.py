"""The subscriptions of one event socket, and the frames that are made of what they have to say."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from chi_edge_lab.server.failures import problem_of
from chi_edge_lab.server.feeds.feed import Reader, encoded
from chi_edge_lab.server.feeds.hub import Lease

# A frame is what a slow reader costs: its bytes wait in the socket, the rest stays in the rings. 20 frames of this
# size a second are more than browsers take.
FRAME_BYTES = 512 << 10
PROBLEMS = 16  # answers to nonsense that wait to be sent; with more the socket is not read

Opened = Callable[[], Coroutine[Any, Any, Lease]]


class Subscription:
    """One topic that the other side follows under a number of its own."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.opening: asyncio.Task[None] | None = None
        self._head = b'{"id":%d,' % number
        self._lease: Lease | None = None
        self._reader: Reader | None = None
        self._refusal: bytes | None = None

    def follow(self, lease: Lease, wake: Callable[[], None], cursor: str | None) -> None:
        """Read the feed of a lease from now on."""
        self._lease = lease
        self._reader = lease.producer.feed.reader(wake, cursor)

    def refuse(self, error: BaseException) -> None:
        """Say why there will be nothing."""
        self._refusal = encoded("problem", "", problem_of(error).model_dump())

    def take(self, size: int, room: int | None) -> tuple[bytes, bool]:
        """(messages joined with commas, whether there may be more), as `Reader.take` gives them."""
        if self._refusal is not None:
            messages, more = [self._refusal], False
        elif self._reader is not None:
            messages = self._reader.take(size, room)
            more = not self._reader.drained
        else:
            messages, more = [], False
        return (self._head + (b"," + self._head).join(messages) if messages else b""), more

    @property
    def finished(self) -> bool:
        """Whether its last message was taken."""
        return self._refusal is not None or (self._reader is not None and self._reader.finished)

    def close(self) -> None:
        """Give back what it holds."""
        if self.opening is not None:
            self.opening.cancel()
        if self._reader is not None:
            self._reader.close()
        if self._lease is not None:
            self._lease.release()


class Subscriptions:
    """All subscriptions of one socket. `ready` is set while a frame could be made."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._all: dict[int, Subscription] = {}
        self._turns: deque[int] = deque()  # those that may have something to say, the next one first
        self._problems: deque[bytes] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, number: int) -> bool:
        return number in self._all

    def add(self, number: int, opened: Opened, cursor: str | None) -> None:
        """Begin a subscription to the feed that `opened()` gives."""
        one = self._all[number] = Subscription(number)
        one.opening = asyncio.create_task(self._open(one, opened, cursor))
        self._tasks.add(one.opening)
        one.opening.add_done_callback(self._tasks.discard)

    def remove(self, number: int) -> None:
        """End a subscription; one that is not there is none."""
        one = self._all.pop(number, None)
        if one is not None:
            one.close()

    def refuse(self, number: int, error: BaseException) -> None:
        """Answer a subscription with the reason why there is none."""
        one = self._all[number] = Subscription(number)
        one.refuse(error)
        self._wake(one)

    async def tell(self, error: BaseException, number: int | None) -> None:
        """Tell what is wrong with a message of the other side; waits while many such answers are unsent."""
        await self._room.wait()
        if self._closed:
            return
        self._problems.append(
            b'{"id":%s,%b'
            % (str(number).encode() if number is not None else b"null",
               encoded("problem", "", problem_of(error).model_dump()))
        )  # fmt: skip
        if len(self._problems) >= PROBLEMS:
            self._room.clear()
        self.ready.set()

    def frame(self) -> bytes | None:
        """The next frame, None where there is nothing to say.

        Each subscription gets an equal share of what is left, in turn; those that could not say all come later.
        """
        parts = list(self._problems)
        self._problems.clear()
        self._room.set()
        left = FRAME_BYTES - sum(map(len, parts))
        for turn in range(len(self._turns), 0, -1):
            if left <= 0:
                break
            one = self._all.get(self._turns.popleft())
            if one is None:
                continue
            said, more = one.take(left // turn, left if parts else None)
            if said:
                parts.append(said)
                left -= len(said)
            if one.finished:
                self.remove(one.number)
            elif more:
                self._turns.append(one.number)
        if not self._turns:
            self.ready.clear()
        return b"[%b]" % b",".join(parts) if parts else None

    async def close(self) -> None:
        """End all of them, and wait for those that were being opened."""
        self._closed = True
        self._room.set()
        for number in list(self._all):
            self.remove(number)
        self._turns.clear()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _wake(self, one: Subscription) -> None:
        if self._all.get(one.number) is one:
            self._turns.append(one.number)
            self.ready.set()

    async def _open(self, one: Subscription, opened: Opened, cursor: str | None) -> None:
        try:
            lease = await opened()
        except Exception as error:  # noqa: BLE001 - whatever it is, the subscriber is told
            one.refuse(error)
        else:
            one.follow(lease, lambda: self._wake(one), cursor)
        one.opening = None
        self._wake(one)
