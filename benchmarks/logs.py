"""Logs: search and jump in a ring of a million lines; a fast log followed with nothing lost or repeated; the lag."""

from __future__ import annotations

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.row import Row, median_ms
from chi_edge_lab.core import create, lifecycle
from chi_edge_lab.core.logs import Follower, LogLine
from chi_edge_lab.core.logs.lines import format_ns
from chi_edge_lab.core.logs.ring import Ring
from chi_edge_lab.core.logs.search import Query, search
from chi_edge_lab.zun import Client
from tests.boxes import client_of, image_of, unique

LINES = 1_000_000
START = 1_790_000_000_000_000_000
RATE, SECONDS = 10_000, 8  # lines a second, of the fast log
LAGS = 15
# a batch of lines, then the time by which it was printed
PRINTER = f"""
import sys, time
began, number = time.time(), 0
while number < {RATE * SECONDS}:
    due = int((time.time() - began) * {RATE})
    if due > number:
        sys.stdout.write("".join("line %d of a log that comes at ten thousand lines each second, as promised\\n" % n
                                 for n in range(number, due)))
        sys.stdout.flush()
        number = due
    time.sleep(0.01)
print("last", flush=True)
time.sleep(600)
"""
TICKER = "import time\nwhile True:\n    print(repr(time.time()), flush=True)\n    time.sleep(0.37)\n"


def filled(directory: Path) -> Ring:
    ring = Ring(directory, 256 << 20)
    for first in range(0, LINES, 10_000):
        ring.append(
            LogLine(
                format_ns(START + n * 1_000_000),
                f"INFO request {n} handled by worker-{n % 7} in 12 ms for user number {n} and some more text "
                + "." * 14,
            )
            for n in range(first, first + 10_000)
        )
    return ring


def ring_rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as place:
        ring = filled(Path(place))
        text = "request 777777 "

        def peer() -> object:
            return subprocess.run(["grep", "-rc", text, place], capture_output=True)

        assert search(ring, Query(text)).numbers == [777_777]
        assert ring.at_time(START + 750_000 * 1_000_000) == 750_000
        return [
            Row("logs: search 1,000,000 lines, plain", median_ms(lambda: search(ring, Query(text, case=True)), 5),
                median_ms(peer, 5), "grep -r", "ms", 300),
            Row("logs: search 1,000,000 lines, any case", median_ms(lambda: search(ring, Query(text)), 5),
                None, "", "ms", 300),
            Row("logs: jump to a time, and a page there",
                median_ms(lambda: ring.page(ring.at_time(START + 750_000 * 1_000_000), 500), 10), None, "", "ms", 50),
        ]  # fmt: skip


@contextmanager
def printing(client: Client, code: str) -> Iterator[str]:
    """A container that runs this Python code."""
    made = create.create(
        client,
        name=unique("bench"),
        image=image_of("python", "chi-edge"),
        command=["python3", "-c", code],
        timeout=60,
    )
    try:
        yield made.uuid
    finally:
        lifecycle.delete(client, made.uuid)


def fast_rows(client: Client, uuid: str) -> list[Row]:
    follower, lines = Follower(client, uuid, tail=100_000), list[LogLine]()
    began, used = time.monotonic(), time.process_time()
    while not lines or lines[-1].text != "last":
        lines += follower.poll()
        time.sleep(follower.pause)
    seconds, used = time.monotonic() - began, time.process_time() - used
    numbers = [int(line.text.split()[1]) for line in lines if line.text.startswith("line ")]
    wrong = len(set(range(RATE * SECONDS)) ^ set(numbers)) + len(numbers) - len(set(numbers))
    wrong += numbers != sorted(numbers)
    return [
        Row(f"logs: lines lost or repeated of {RATE * SECONDS} at {RATE}/s", wrong, None, "", "lines", 0),
        Row(f"logs: CPU of a follower at {RATE} lines/s", 100 * used / seconds, None, "", "%", 100),
    ]


def lag_rows(client: Client, uuid: str) -> list[Row]:
    follower, lags = Follower(client, uuid, tail=0), list[float]()
    follower.poll()
    while len(lags) < LAGS:
        found = follower.poll()
        now = time.time()
        lags += [(now - float(line.text)) * 1000 for line in found]
        time.sleep(follower.pause)
    # the pause grows to about 0.3 s between two lines that are 0.37 s apart
    return [Row("logs: a line to a follower's hands, median", statistics.median(lags), None, "", "ms", 500)]


def rows() -> list[Row]:
    client = client_of("chi-edge")
    with printing(client, PRINTER) as uuid:
        fast = fast_rows(client, uuid)
    with printing(client, TICKER) as uuid:
        lag = lag_rows(client, uuid)
    return [*ring_rows(), *fast, *lag]
