"""Feeds and the hub, without sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chi_edge_lab import errors
from chi_edge_lab.server.failures import Busy, LimitReached
from chi_edge_lab.server.feeds.feed import MESSAGE_BYTES, Feed, Listing, Reader
from chi_edge_lab.server.feeds.hub import Hub, Producer
from chi_edge_lab.server.limits import EdgeLabLimits


def read(reader: Reader, size: int = 1 << 20) -> list[dict[str, Any]]:
    return [json.loads(b"{" + one) for one in reader.take(size)]


class Sum:
    """The state that a reader puts together: numbers added one after the other."""

    def __init__(self) -> None:
        self.numbers: list[int] | None = None  # None: unknown until the next snapshot
        self.cursor: str | None = None
        self._parts: list[int] = []

    def hear(self, message: dict[str, Any]) -> None:
        data = message["data"]
        self.cursor = message["cursor"]
        if message["type"] == "gap":
            self.numbers, self._parts = None, []
        elif message["type"] == "snapshot":
            self._parts += data["numbers"]
            if not data["more"]:
                self.numbers, self._parts = self._parts, []
        else:
            assert self.numbers is not None, "a change of what is not known"
            self.numbers.append(data["number"])


@settings(max_examples=300, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.just(("publish", 0)), st.just(("publish many", 0)),
            st.tuples(st.just("take"), st.integers(1, 400)),
            st.just(("drop", 0)), st.just(("forget", 0)),
        ),
        max_size=60,
    ),
    entries=st.integers(1, 6),
    ready=st.integers(0, 10),
)  # fmt: skip
def test_a_reader_knows_all_or_is_told(
    monkeypatch_module: None, steps: list[tuple[str, int]], entries: int, ready: int
) -> None:
    """Whatever is published, taken, dropped and resumed: each message once and in order, or a gap and a snapshot."""
    numbers: list[int] = []
    polls = 0  # the state is not known before so many steps

    def snapshot() -> Listing | None:
        items = [str(one).encode() for one in numbers]
        return Listing("numbers", items, {}) if polls >= ready else None

    feed = Feed(entries=entries, size=1 << 20, snapshot=snapshot)
    woken: list[int] = []
    known = Sum()
    reader = feed.reader(lambda: woken.append(1))
    waits = False

    def publish() -> None:
        numbers.append(len(numbers))
        feed.publish("add", {"number": numbers[-1]})

    last = [("publish", 0), ("take", 1 << 20), ("take", 1 << 20)]
    for polls, (step, size) in enumerate([*steps, *last], 1):
        if step == "publish":
            publish()
        elif step == "publish many":
            for _ in range(entries + 2):
                publish()
        elif step == "take":
            woken.clear()
            for message in read(reader, size):
                known.hear(message)
            waits = reader.drained
            if known.numbers is not None:
                assert known.numbers == numbers[: len(known.numbers)]
            if waits and polls > ready:
                assert known.numbers == numbers
        else:
            reader.close()
            known._parts = []
            waits = False
            if step == "forget":
                known = Sum()
            reader = feed.reader(lambda: woken.append(1), known.cursor)
        if step.startswith("publish") and waits:
            assert woken  # who waits is told
    polls = ready
    feed.wake()
    for message in read(reader):
        known.hear(message)
    assert known.numbers == numbers
    reader.close()
    assert feed.waiting == 0


@pytest.fixture(scope="module")
def monkeypatch_module() -> Any:
    """Snapshots of several parts also where they are short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chi_edge_lab.server.feeds.feed.MESSAGE_BYTES", 5)
        yield


def test_who_falls_behind_is_told_and_begins_anew() -> None:
    numbers: list[int] = []
    feed = Feed(entries=3, size=1000, snapshot=lambda: [{"numbers": list(numbers), "more": False}])
    reader = feed.reader(lambda: None)
    read(reader)
    for number in range(5):
        numbers.append(number)
        feed.publish("add", {"number": number})
    assert [one["type"] for one in read(reader)] == ["gap", "snapshot"]


def test_a_part_of_a_snapshot_is_nothing_to_go_on_from() -> None:
    items = [b'"' + b"x" * (MESSAGE_BYTES // 2) + b'"'] * 5
    feed = Feed(entries=3, size=1000, snapshot=lambda: Listing("things", items, {"state": 1}))
    messages = read(feed.reader(lambda: None), 10 * MESSAGE_BYTES)
    assert [one["data"]["more"] for one in messages] == [True] * (len(messages) - 1) + [False]
    assert sum(len(one["data"]["things"]) for one in messages) == 5
    assert [feed.position(one["cursor"]) for one in messages] == [None] * (len(messages) - 1) + [0]


def test_the_last_word_is_heard_also_by_who_comes_late_or_fell_behind() -> None:
    feed = Feed(entries=2, size=1000, snapshot=lambda: [{}])
    slow = feed.reader(lambda: None)
    read(slow)
    for _ in range(5):
        feed.publish("add", {})
    feed.end("error", {"code": "x"})
    feed.end("end", {})  # nothing follows the last message
    feed.publish("add", {})
    for reader in (slow, feed.reader(lambda: None)):
        assert not reader.finished
        assert [one["type"] for one in read(reader)][-2:] == ["snapshot", "error"]
        assert reader.finished
    assert feed.waiting == 0


def test_a_feed_without_snapshots_gives_what_it_keeps() -> None:
    feed = Feed(entries=2, size=1000)
    for number in range(5):
        feed.publish("add", {"number": number})
    assert [one["data"]["number"] for one in read(feed.reader(lambda: None))] == [3, 4]
    lost = read(feed.reader(lambda: None, feed.cursor(1)))
    assert [one["type"] for one in lost] == ["gap", "add", "add"]
    assert [one["type"] for one in read(feed.reader(lambda: None, lost[0]["cursor"]))] == ["add", "add"]


@pytest.mark.parametrize("cursor", ["-", "x-0", "{0}--1", "{0}-", "{0}-99", "{0}-²", "{0}-" + "9" * 5000])
def test_a_cursor_that_means_nothing_gives_a_gap(cursor: str) -> None:
    feed = Feed(entries=2, size=1000, snapshot=lambda: [{}])
    epoch = feed.cursor(0).partition("-")[0]
    reader = feed.reader(lambda: None, cursor.format(epoch))
    assert [one["type"] for one in read(reader)] == ["gap", "snapshot"]


# -- the hub


class Nobody:
    """Services as far as the hub knows them."""

    def __init__(self, **limits: Any) -> None:
        self.limits = EdgeLabLimits(**limits)


class Idle(Producer):
    def __init__(self, fails: Exception | None = None, stubborn: bool = False) -> None:
        self.feed = Feed(entries=10, size=1000, snapshot=lambda: [{}])
        self.state = "new"
        self._fails = fails
        self._stubborn = stubborn

    async def run(self) -> None:
        self.state = "running"
        if self._fails:
            raise self._fails
        try:
            await asyncio.Event().wait()
        finally:
            if self._stubborn:
                await asyncio.sleep(0.01)
            self.state = "ended"


def hub_of(**limits: Any) -> Hub:
    return Hub(Nobody(**limits))  # type: ignore[arg-type]


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_producer_runs_from_its_first_reader_to_after_its_last() -> None:
    hub, producer = hub_of(linger=0.05), Idle()
    one, two = hub.acquire("k", producer), hub.acquire("k", Idle())
    assert two.producer is producer
    await turns()
    one.release()
    one.release()  # once is enough
    await asyncio.sleep(0.1)
    assert producer.state == "running"
    two.release()
    await turns()
    assert producer.state == "running"  # who comes back soon loses nothing
    again = hub.acquire("k", Idle())
    assert again.producer is producer
    again.release()
    await asyncio.sleep(0.2)
    assert producer.state == "ended"
    assert len(hub) == 0


async def test_a_producer_that_fails_at_once_tells_and_the_next_reader_gets_a_new_one() -> None:
    hub = hub_of()
    broken = Idle(fails=errors.NotFound("Not there."))
    lease = hub.acquire("k", broken)
    reader = broken.feed.reader(lambda: None)
    await turns()
    assert [one["type"] for one in read(reader)] == ["snapshot", "error"]
    assert hub.known("k") is None
    fresh = Idle()
    second = hub.acquire("k", fresh)
    lease.release()  # of the old one: the new one stays
    await turns()
    assert fresh.state == "running"
    second.release()
    await hub.stop()
    assert fresh.state == "ended"


async def test_what_has_ended_is_not_kept() -> None:
    hub, broken = hub_of(), Idle(fails=errors.NotFound("Not there."))
    lease = hub.acquire("k", broken)
    await turns()
    lease.release()
    assert len(hub) == 0


async def test_feeds_are_limited_and_those_nobody_reads_make_room() -> None:
    hub = hub_of(feeds=2)
    first, _ = hub.acquire("a", Idle()), hub.acquire("b", Idle())
    with pytest.raises(LimitReached):
        hub.acquire("c", Idle())
    first.release()
    hub.acquire("c", Idle())
    assert len(hub) == 2
    await hub.stop()


async def test_stopping_waits_for_all_and_takes_no_more() -> None:
    hub, producers = hub_of(linger=0), [Idle(stubborn=True) for _ in range(3)]
    leases = [hub.acquire(number, one) for number, one in enumerate(producers)]
    await turns()
    leases[0].release()
    await asyncio.sleep(0.001)  # it is ending by itself
    before = {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
    await hub.stop()
    assert [one.state for one in producers] == ["ended"] * 3
    assert all(task.done() for task in before if "Hub._produce" in repr(task))
    with pytest.raises(Busy):
        hub.acquire("k", Idle())
    with contextlib.suppress(asyncio.CancelledError):
        await hub.stop()
