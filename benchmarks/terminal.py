"""A terminal through the extension against Jupyter's own: echo, output, and memory before a reader that stalls.

Both are served by one real Jupyter server; ours runs in a container of a local site (one websocket and one process
further away), Jupyter's on this machine.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from benchmarks.row import Row
from chi_edge_lab.core import lifecycle
from tests.boxes import start_box
from tests.labserver import LabServer
from tests.localsite import local_site

KEYS = 300
ROUNDS = 5  # of output; the best counts
OUTPUT = 32 << 20
SHORT, LONG = 80, 1000  # bytes of a line
STALL = 60.0  # seconds
PEER_STALL = 6.0  # Jupyter's own grows too fast for more
ECHO_MORE = 2.0  # ms that ours may take longer


class Ours:
    """A client of the extension's terminal socket."""

    name = "ours"

    def __init__(self, server: LabServer, container: str) -> None:
        self._server = server
        made = server.api("POST", f"sites/default/containers/{container}/terminals", {})
        self._url = server.websocket_url(f"terminals/{made['id']}/socket")
        self.socket: WebSocketClientConnection

    async def open(self) -> None:
        self.socket = await connect(self._server, self._url)

    async def type(self, text: str) -> None:
        await self.socket.write_message(text.encode(), binary=True)

    async def read(self) -> bytes:
        """What was shown, as it came."""
        while True:
            message = await self.socket.read_message()
            if message is None:
                raise EOFError("the terminal was closed")
            if isinstance(message, bytes):
                return message


class Jupyter(Ours):
    """A client of Jupyter's own."""

    name = "jupyter_server_terminals"

    def __init__(self, server: LabServer) -> None:
        self._server = server
        name = asyncio.run(_new_terminal(server))
        self._url = f"ws{server.url.removeprefix('http')}terminals/websocket/{name}"

    async def type(self, text: str) -> None:
        await self.socket.write_message(json.dumps(["stdin", text]))

    async def read(self) -> bytes:
        message = await self.socket.read_message()
        if message is None:
            raise EOFError("the terminal was closed")
        return message.encode() if isinstance(message, str) else message


async def connect(server: LabServer, url: str) -> WebSocketClientConnection:
    request = HTTPRequest(url, headers={"Authorization": f"token {server.token}"})
    return await websocket_connect(request, max_message_size=256 << 20)


async def _new_terminal(server: LabServer) -> str:
    from tornado.httpclient import AsyncHTTPClient

    request = HTTPRequest(
        f"{server.url}api/terminals",
        method="POST",
        body="",
        headers={"Authorization": f"token {server.token}"},
    )
    return str(json.loads((await AsyncHTTPClient().fetch(request)).body)["name"])


async def until(terminal: Ours, marker: bytes) -> None:
    tail = b""
    while marker not in tail:
        tail = tail[-200:] + await terminal.read()


async def echo_ms(one: Ours, two: Ours) -> tuple[float, float]:
    """Median times from a key to its echo of each, in turns."""
    taken: dict[Ours, list[float]] = {one: [], two: []}
    for terminal in taken:
        await terminal.open()
        await terminal.type("stty -icanon; echo rea''dy; cat >/dev/null\n")
        await until(terminal, b"ready")
    await asyncio.sleep(0.5)
    for number in range(KEYS):
        for terminal, times in taken.items():
            key = "abcdefgh"[number % 8]
            began = time.perf_counter()
            await terminal.type(key)
            await until(terminal, key.encode())
            times.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(0.01)
    for terminal in taken:
        await terminal.type("\x03")
        await terminal.type("stty sane\n")
    return statistics.median(taken[one][20:]), statistics.median(taken[two][20:])


async def output_s(one: Ours, two: Ours, line: int) -> tuple[float, float]:
    """Seconds for OUTPUT bytes in lines of `line` bytes of each: in turns, the best of some rounds."""
    best = {one: float("inf"), two: float("inf")}
    words = "x" * (line - 1)
    for terminal in best:
        await terminal.open()
        await terminal.type(f"yes '{words}' | head -c {OUTPUT} >/tmp/lines; echo rea''dy\n")
        await until(terminal, b"ready")
    for number in range(ROUNDS):
        for terminal, seconds in best.items():
            began = time.perf_counter()
            await terminal.type(f"cat /tmp/lines; echo do''ne{number}\n")
            await until(terminal, b"done%d" % number)
            best[terminal] = min(seconds, time.perf_counter() - began)
    return best[one], best[two]


async def stalled_mib(server: LabServer, terminal: Ours, seconds: float) -> float:
    """How far the server's memory has grown while a reader stalled under `yes`."""
    await terminal.open()
    await terminal.type("echo rea''dy\n")
    await until(terminal, b"ready")
    before = server.memory()
    await terminal.type("yes\n")
    # Tornado's client reads a frame ahead of `read_message` and no more, but it answers pings; a stalled one does not
    stream = terminal.socket.protocol.stream  # type: ignore[union-attr]
    asyncio.get_running_loop().remove_reader(stream.fileno())
    grown = 0
    until_then = time.monotonic() + seconds
    while time.monotonic() < until_then:
        await asyncio.sleep(0.25)
        grown = max(grown, server.memory() - before)
    stream.close()
    return grown / (1 << 20)


def rows(stall: float = STALL) -> list[Row]:
    box = start_box("zun gnu")  # the same `cat` on both sides
    with tempfile.TemporaryDirectory(prefix="chi-edge-lab-bench-") as folder:
        server = LabServer(Path(folder), env=dict(local_site("zun", "auto").env))
        try:
            echo, peer_echo = asyncio.run(echo_ms(Ours(server, box.uuid), Jupyter(server)))
            short = asyncio.run(output_s(Ours(server, box.uuid), Jupyter(server), SHORT))
            long = asyncio.run(output_s(Ours(server, box.uuid), Jupyter(server), LONG))
            grown = asyncio.run(stalled_mib(server, Ours(server, box.uuid), stall))
            peer_grown = asyncio.run(stalled_mib(server, Jupyter(server), min(stall, PEER_STALL)))
        finally:
            server.stop()
            lifecycle.delete(box.client, box.uuid)
    for line, (ours, theirs) in ((SHORT, short), (LONG, long)):
        rate = OUTPUT / (1 << 20)
        print(
            f"terminal, lines of {line}: {rate / ours:.0f} MiB/s, peer {rate / theirs:.0f}", file=sys.stderr
        )
    peer = Jupyter.name
    return [
        Row("terminal: key to echo", echo, peer_echo, peer, "ms", peer_echo + ECHO_MORE),
        # the kernel's tty handles each line by itself: with short ones it is what limits us, so no target
        Row("terminal: 32 MiB in lines of 80", 1000 * short[0], 1000 * short[1], peer, "ms", None),
        Row("terminal: 32 MiB in lines of 1000", 1000 * long[0], 1000 * long[1], peer, "ms", 500 * long[1]),
        Row(
            f"terminal: memory while a reader stalls {stall:g} s", grown, peer_grown, f"{peer}, 6 s", "MiB", 8
        ),
    ]
