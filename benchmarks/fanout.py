"""One feed, 10,000 lines a second, thirty readers over real websockets: nothing lost, nothing twice, and what it costs.

The server and the readers are two processes, so that the readers' own work is not counted.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import sys
import time
from typing import Any

from benchmarks.row import Row

READERS = 30
LINES = 10_000  # a second
SECONDS = 10
BATCH = 50  # lines in one message, as the log followers publish them
LINE = "2026-01-01T00:00:00.000000000Z request handled in 12 ms, status 200, path /data/%d"


async def _serve(ready: Any) -> dict[str, float]:
    from jupyter_server.auth import User
    from tornado import web
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets

    from chi_edge_lab.server.feeds import topics
    from chi_edge_lab.server.feeds.feed import Feed
    from chi_edge_lab.server.feeds.hub import Hub, Producer
    from chi_edge_lab.server.feeds.socket import EventSocket
    from chi_edge_lab.server.limits import EdgeLabLimits

    class Lines(Producer):
        def __init__(self) -> None:
            self.feed = Feed(entries=limits.feed_entries, size=limits.feed_bytes)

        async def run(self) -> None:
            await asyncio.Event().wait()

    class Socket(EventSocket):
        """Without Jupyter's login, which is not what is measured."""

        current_user = User("reader")
        authorizer: Any = None

        def prepare(self) -> None: ...

        def check_origin(self, *_: Any) -> bool:
            return True

        def set_default_headers(self) -> None: ...

        async def get(self, *args: Any, **kwargs: Any) -> None:
            await self._upgrade(*args, **kwargs)

    class Everyone:
        def is_authorized(self, *_: Any) -> bool:
            return True

    class Services:
        pass

    limits = EdgeLabLimits()
    services: Any = Services()
    services.limits = limits
    services.hub = Hub(services)
    Socket.authorizer = Everyone()
    lines = Lines()

    async def opened(*_: Any) -> Any:
        return services.hub.acquire("lines", lines)

    topics.TOPICS["lines"] = topics.Topic("lines", "read", topics.TopicRequest, opened)
    server = HTTPServer(web.Application([("/events", Socket)], chi_edge_lab_services=services))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    ready.send(sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, ready.recv)  # all readers have subscribed
    before, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    for first in range(0, LINES * SECONDS, BATCH):
        lines.feed.publish("lines", {"lines": [LINE % number for number in range(first, first + BATCH)]})
        ahead = began + (first + BATCH) / LINES - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
    published = time.perf_counter() - began
    await loop.run_in_executor(None, ready.recv)  # all readers have everything
    spent = time.process_time() - before
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
    await services.hub.stop()
    server.stop()
    return {"cpu": 100 * spent / published, "seconds": published, "grown": grown / 1024}


def _server(ready: Any, result: Any) -> None:
    result.send(asyncio.run(_serve(ready)))


async def _read(port: int, subscribed: Any) -> tuple[int, int, int]:
    """(lines, lines twice or out of order, gaps) of one reader."""
    from tornado.websocket import websocket_connect

    socket = await websocket_connect(f"ws://127.0.0.1:{port}/events", max_message_size=64 << 20)
    await socket.write_message(json.dumps({"op": "subscribe", "id": 1, "topic": {"name": "lines"}}))
    subscribed()
    seen = wrong = gaps = 0
    while seen < LINES * SECONDS and not gaps:
        frame = await socket.read_message()
        if frame is None:
            break
        for message in json.loads(frame):
            gaps += message["type"] == "gap"
            for line in message["data"].get("lines", ()):
                wrong += int(line.rpartition("/")[2]) != seen
                seen += 1
    socket.close()
    return seen, wrong, gaps


async def _readers(port: int, ready: Any) -> list[tuple[int, int, int]]:
    subscribed: list[None] = []
    tasks = [asyncio.create_task(_read(port, lambda: subscribed.append(None))) for _ in range(READERS)]
    while len(subscribed) < READERS:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # the subscriptions are opened on the other side
    ready.send("go")
    found = await asyncio.gather(*tasks)
    ready.send("done")
    return found


def rows() -> list[Row]:
    context = multiprocessing.get_context("spawn")
    ready, theirs = context.Pipe()
    result, their_result = context.Pipe()
    server = context.Process(target=_server, args=(theirs, their_result), daemon=True)
    server.start()
    found = asyncio.run(_readers(ready.recv(), ready))
    told = result.recv()
    server.join(10)
    lost = sum(LINES * SECONDS - seen for seen, _, _ in found)
    wrong = sum(wrong for _, wrong, _ in found)
    print(
        f"fan-out: published in {told['seconds']:.1f} s, memory grew {told['grown']:.1f} MiB", file=sys.stderr
    )
    name = f"fan-out, {LINES} lines/s to {READERS} readers"
    return [
        Row(f"{name}: lost", lost, None, "", "lines", 0),
        Row(f"{name}: twice or out of order", wrong, None, "", "lines", 0),
        Row(f"{name}: CPU", told["cpu"], None, "", "%", 100),
    ]


if __name__ == "__main__":
    for row in rows():
        print(f"{row.name}: {row.ours:g} {row.unit}{'' if row.met else ' MISSED'}")
