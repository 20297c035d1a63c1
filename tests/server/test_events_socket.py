"""The event socket itself, with topics of the test's own (no site)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from chi_edge_lab import errors
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.feeds import topics
from chi_edge_lab.server.feeds.feed import Feed
from chi_edge_lab.server.feeds.hub import Lease, Producer
from chi_edge_lab.server.feeds.subscriptions import FRAME_BYTES
from chi_edge_lab.server.feeds.topics import TopicRequest
from chi_edge_lab.server.services import Services
from tests.server.events import Events


class Counter(Producer):
    """A feed that the test fills."""

    made: list[Counter]

    def __init__(self, entries: int = 5000, size: int = 8 << 20) -> None:
        self.total = 0
        self.feed = Feed(entries=entries, size=size, snapshot=lambda: [{"total": self.total}])
        self.stopped = asyncio.Event()

    def add(self, **more: Any) -> None:
        self.total += 1
        self.feed.publish("count", {"total": self.total, **more})

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


class CounterRequest(TopicRequest):
    which: int = 0


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> dict[int, Counter]:
    """Topic `count`: a counter for each number; topic `refused` is never opened."""
    found: dict[int, Counter] = {}

    async def open_count(call: Call, request: CounterRequest) -> Lease:
        key = ("count", request.which)
        producer = call.services.hub.known(key)
        if producer is None:
            producer = found[request.which] = found.pop(request.which, None) or Counter()
        return call.services.hub.acquire(key, producer)

    async def open_refused(call: Call, request: TopicRequest) -> Lease:
        raise errors.NotFound("There is none.", hint="Look elsewhere.", request_id="req-1")

    for name, function, model in (
        ("count", open_count, CounterRequest),
        ("refused", open_refused, TopicRequest),
    ):
        entry = topics.Topic(name, "read", model, function)  # type: ignore[arg-type]
        monkeypatch.setitem(topics.TOPICS, name, entry)
    return found


async def test_a_subscriber_gets_a_snapshot_then_what_is_published(events: Any, counters: Any) -> None:
    client = await events()
    client.subscribe(7, "count")
    first = await client.next()
    assert (first["id"], first["type"], first["data"]) == (7, "snapshot", {"total": 0})
    counters[0].add()
    second = await client.next()
    assert (second["id"], second["type"], second["data"]) == (7, "count", {"total": 1})


async def test_a_dropped_socket_goes_on_at_its_cursor(events: Any, counters: Any) -> None:
    first = await events()
    first.subscribe(1, "count")
    await first.of(1, "snapshot")
    counters[0].add()
    cursor = (await first.of(1, "count"))["cursor"]
    await first.end()
    counters[0].add()
    second = await events()
    second.subscribe(5, "count", cursor=cursor)
    message = await second.next()
    assert (message["type"], message["data"]) == ("count", {"total": 2})


async def test_a_cursor_of_another_feed_gives_a_gap_and_a_snapshot(events: Any, counters: Any) -> None:
    client = await events()
    client.subscribe(1, "count", cursor="0000-5")
    assert (await client.next())["type"] == "gap"
    assert (await client.next())["type"] == "snapshot"


@pytest.mark.parametrize(
    "message",
    [
        "", "nonsense", "[]", "7", "null", "{}", '{"op":"dance","id":1}', '{"op":"subscribe","id":1}',
        '{"op":"subscribe","id":-1,"topic":{"name":"count"}}', "[" * 60000,
        '{"op":"subscribe","id":true,"topic":{"name":"count"}}',
        '{"op":"subscribe","id":1.5,"topic":{"name":"count"}}',
        '{"op":"subscribe","id":1,"topic":[]}', '{"op":"unsubscribe","id":"x"}',
        '{"op":"subscribe","id":1,"topic":{"name":"count"},"cursor":"' + "9" * 100 + '"}',
        '{"op":"unsubscribe","id":1,"more":1}',
    ],
)  # fmt: skip
async def test_nonsense_is_answered_once_and_the_socket_stays(
    events: Any, counters: Any, message: str
) -> None:
    client = await events()
    client.say(message)
    client.subscribe(3, "count")
    problem = await client.next()
    assert problem["type"] == "problem"
    assert problem["data"]["code"] == "bad-input"
    assert (await client.next())["type"] == "snapshot"


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        ({"name": "no-such"}, "bad-input"), ({}, "bad-input"), ({"name": ["x"]}, "bad-input"),
        ({"name": "count", "misspelt": 1}, "bad-input"), ({"name": "refused"}, "not-found"),
    ],
)  # fmt: skip
async def test_a_subscription_that_cannot_be_says_why_and_frees_its_number(
    events: Any, counters: Any, topic: Any, code: str
) -> None:
    client = await events()
    client.say({"op": "subscribe", "id": 3, "topic": topic})
    error = await client.next()
    assert (error["id"], error["type"], error["data"]["code"]) == (3, "problem", code)
    client.subscribe(3, "count")
    assert (await client.next())["type"] == "snapshot"


async def test_a_number_in_use_is_refused_and_its_subscription_stays(events: Any, counters: Any) -> None:
    client = await events()
    client.subscribe(3, "count")
    await client.of(3, "snapshot")
    client.subscribe(3, "count", which=2)
    assert (await client.next())["type"] == "problem"
    counters[0].add()
    assert (await client.next())["data"] == {"total": 1}


async def test_subscriptions_of_a_socket_are_limited(events: Any, counters: Any, services: Services) -> None:
    services.limits.subscriptions = 2
    client = await events()
    for number in range(3):
        client.subscribe(number, "count")
    refused = await client.of(2, "problem")
    assert (refused["id"], refused["data"]["code"]) == (2, "limit")
    client.say({"op": "unsubscribe", "id": 0})
    client.subscribe(2, "count")
    await client.of(2, "snapshot")


async def test_a_message_that_is_too_large_closes_the_socket(events: Any, counters: Any) -> None:
    client = await events()
    client.say("x" * (64 * 1024 + 1))
    with pytest.raises(EOFError):
        await client.read(10)


async def test_the_last_message_ends_a_subscription(events: Any, counters: Any, services: Services) -> None:
    client = await events()
    client.subscribe(1, "count")
    await client.of(1, "snapshot")
    old = counters[0]
    old.feed.end("gone", {})
    assert (await client.next())["type"] == "gone"
    assert len(services.hub) == 0
    await asyncio.wait_for(old.stopped.wait(), 5)
    del counters[0]
    client.subscribe(1, "count")
    assert (await client.next())["type"] == "snapshot"


async def test_what_was_subscribed_ends_when_nobody_reads(
    events: Any, counters: Any, services: Services
) -> None:
    services.limits.linger = 0
    client, other = await events(), await events()
    for one in (client, other):
        one.subscribe(1, "count")
        await one.of(1, "snapshot")
    await client.end()
    other.say({"op": "unsubscribe", "id": 1})
    await asyncio.wait_for(counters[0].stopped.wait(), 5)
    assert len(services.hub) == 0
    assert counters[0].feed.waiting == 0


async def test_frames_come_twenty_times_a_second_at_most(events: Any, counters: Any) -> None:
    client = await events()
    client.subscribe(1, "count")
    await client.of(1, "snapshot")
    loop = asyncio.get_running_loop()
    began, frames = loop.time(), client.frames
    while loop.time() < began + 1:
        counters[0].add()
        await asyncio.sleep(0.001)
    while client.order[-1]["data"] != {"total": counters[0].total}:
        await client.read(10)
    taken = loop.time() - began
    assert client.frames - frames <= taken * 20 + 2


async def test_frames_are_bounded_and_a_busy_subscription_leaves_room(events: Any, counters: Any) -> None:
    client = await events()
    for number in (0, 1):
        client.subscribe(number, "count", which=number)
        await client.of(number, "snapshot")
    for _ in range(300):
        counters[0].add(text="x" * 10_000)
    counters[1].add()
    await client.of(1, "count")
    assert sum(one["type"] == "count" for one in client.order) < 150  # the busy one was not sent whole before
    await client.until(0, lambda one: one["data"].get("total") == 300)
    assert client.largest <= FRAME_BYTES + 1024
    numbers = [one["data"]["total"] for one in client.order if one["id"] == 0 and one["type"] == "count"]
    assert numbers == list(range(1, 301))


async def test_a_reader_who_does_not_read_holds_up_nobody_and_costs_a_frame(
    events: Any, counters: Any, services: Services
) -> None:
    stalled, quick = await events(), await events()
    counters[0] = counter = Counter(size=1 << 20)
    for one in (stalled, quick):
        one.subscribe(1, "count")
        await one.of(1, "snapshot")
    # the client's end holds one frame and reads no more until somebody takes it
    sockets = [stop.__self__ for stop in services.hub._closers]
    assert len(sockets) == 2
    for _ in range(60):
        for _ in range(10):
            counter.add(text="y" * 100_000)
        await quick.until(1, lambda one: one["data"].get("total") == counter.total)
        quick.messages.clear()
        quick.order.clear()
    assert counter.feed._bytes <= 1 << 20
    assert max(len(one.ws_connection.stream._write_buffer) for one in sockets) <= FRAME_BYTES + 1024


async def test_who_is_not_logged_in_is_refused(jp_ws_fetch: Any) -> None:
    with pytest.raises(HTTPClientError) as refused:
        await jp_ws_fetch("chi-edge-lab", "api", "events", headers={"Authorization": "token wrong"})
    assert refused.value.code == 403


async def test_another_origin_is_refused(
    jp_ws_fetch: Any, jp_serverapp: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as a browser logged in by cookie: of a script with a token no origin is asked
    monkeypatch.setattr(type(jp_serverapp.identity_provider), "should_check_origin", lambda *_: True)
    path = ("chi-edge-lab", "api", "events")
    with pytest.raises(HTTPClientError) as refused:
        await jp_ws_fetch(*path, headers={"Origin": "https://evil.example"})
    assert refused.value.code == 403
    await Events(await jp_ws_fetch(*path)).end()


async def test_stopping_leaves_no_task(events: Any, counters: Any, services: Services) -> None:
    client = await events()
    client.subscribe(1, "count")
    await client.of(1, "snapshot")
    await services.hub.stop()
    assert counters[0].stopped.is_set()
    with pytest.raises(EOFError):
        await client.read(10)
    assert len(services.hub) == 0
    left = [one for one in asyncio.all_tasks() if "chi_edge_lab/server/feeds" in repr(one)]
    assert left == []
