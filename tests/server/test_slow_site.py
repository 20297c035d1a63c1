"""A site that sleeps holds up nobody who does not ask it: measured, with fifty requests that wait for it."""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.labserver import LabServer
from tests.localsite import local_site
from tests.server.faultproxy import Fault, FaultProxy

REQUESTS = 50
SLEEP = 30.0  # seconds for which Zun sleeps
MEASURED = 5.0  # seconds for which the status is asked
PROMISE = 0.050  # seconds, at the 95th percentile
LIST = "sites/default/containers"


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    site = local_site("chi-edge")
    found = FaultProxy(site.env["OS_AUTH_URL"])
    found.variables = found.env(site.env)
    yield found
    found.close()


@pytest.fixture
def lab(tmp_path: Path, proxy: FaultProxy) -> Iterator[LabServer]:
    # sixteen threads, as it comes; and room for just these requests
    options = (f"--EdgeLabLimits.waiting_calls={REQUESTS - 16}",)
    found = LabServer(tmp_path, env=proxy.variables, options=options)
    yield found
    found.stop()


def status_times(lab: LabServer, seconds: float) -> list[float]:
    """How long each of many requests for the status took, on one connection kept open."""
    parts = urlsplit(lab.url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    took = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.perf_counter()
        connection.request(
            "GET", f"{parts.path}chi-edge-lab/api/status", headers={"Authorization": f"token {lab.token}"}
        )
        reply = connection.getresponse()
        body = json.loads(reply.read())
        took.append(time.perf_counter() - began)
        assert reply.status == 200
        assert body["calls"] == REQUESTS
        time.sleep(0.005)
    connection.close()
    return took


def test_the_status_is_quick_while_zun_sleeps_under_fifty_requests(lab: LabServer, proxy: FaultProxy) -> None:
    lab.api("GET", LIST)  # logged in, and the dialect known
    with ThreadPoolExecutor(REQUESTS + 4) as pool, proxy.spoiling(Fault(" /container/", delay=SLEEP)):
        asked = [pool.submit(lab.request, "GET", LIST) for _ in range(REQUESTS)]
        wait_until(lambda: lab.api("GET", "status")["calls"] == REQUESTS)
        took = sorted(one for times in pool.map(status_times, [lab] * 4, [MEASURED] * 4) for one in times)
        assert len(took) > 100
        p95 = statistics.quantiles(took, n=20)[-1]
        print(
            f"status: {len(took)} requests, median {took[len(took) // 2] * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms"
        )
        assert p95 < PROMISE

        began = time.monotonic()
        code, body = lab.request("GET", LIST)
        assert (code, json.loads(body)["code"]) == (503, "busy")
        assert time.monotonic() - began < 1.0, "one too many is told so at once"
        assert not any(one.done() for one in asked)

        proxy.faults = []
        proxy.drop_all()  # Zun wakes; what it had not answered is asked again
        for one in asked:
            code, body = one.result(20)
            assert code == 200, body
    assert lab.api("GET", "status")["calls"] == 0
    assert threading.active_count() < 20


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)
