"""Starting a container, running a command in it and noticing that it runs, on local sites."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks.row import Row, median_ms
from tests.contract.conftest import ZunSite
from tests.localsite import local_site

STARTS = 15
EXECS = 60
WAITS = 4
POLL = 0.002  # seconds between the looks of the observer
CHI_POLL = 5.0  # seconds between the looks of python-chi 1.2.6's wait (chi/container.py, _wait_for_status)


def open_site(engine: str, profile: str = "zun") -> ZunSite:
    running = local_site(profile, engine)
    dialect = "k8s" if profile == "chi-edge" else "docker"
    return ZunSite(f"{profile}-{engine}", running.env, dialect, str(running.images()[0]["name"]))


def until_running(site: ZunSite, id: str) -> float:
    """When the site first said Running."""
    while site.zun.containers.get(id).status != "Running":
        time.sleep(POLL)
    return time.perf_counter()


def start_ms(site: ZunSite) -> tuple[float, float]:
    """Median times of `start` of a made container, and of create and start in one, until Running."""
    started, made = [], []
    for number in range(STARTS + 1):
        began = time.perf_counter()
        container = site.zun.containers.run(**site.create_arguments())
        both = until_running(site, container.uuid) - began
        site.zun.containers.stop(container.uuid, 0)
        site.wait(container.uuid, "Stopped")
        began = time.perf_counter()
        site.zun.containers.start(container.uuid)
        again = until_running(site, container.uuid) - began
        site.remove(container.uuid)
        if number:  # the first one warms up
            made.append(both * 1000)
            started.append(again * 1000)
    return statistics.median(started), statistics.median(made)


def exec_ms(site: ZunSite) -> float:
    container = site.zun.containers.run(**site.create_arguments())
    until_running(site, container.uuid)
    try:
        return median_ms(
            lambda: site.zun.containers.execute(container.uuid, command="true", run=True, interactive=False),
            EXECS,
        )
    finally:
        site.remove(container.uuid)


def wait_lag_ms(site: ZunSite, wait: Callable[[Any, str], None]) -> float:
    """Median time between the site first saying Running and the wait returning."""
    lags = []
    for _ in range(WAITS):
        container = site.zun.containers.run(**site.create_arguments())
        seen: list[float] = []
        observer = threading.Thread(
            target=lambda id=container.uuid, seen=seen: seen.append(until_running(site, id))
        )
        observer.start()
        wait(site, container.uuid)
        returned = time.perf_counter()
        observer.join()
        lags.append(max(0.0, returned - seen[0]) * 1000)
        site.remove(container.uuid)
    return statistics.median(lags)


def wait_as_python_chi(site: ZunSite, id: str) -> None:
    while site.zun.containers.get(id).status != "Running":
        time.sleep(CHI_POLL)


def rows(docker: bool) -> list[Row]:
    namespaces = open_site("namespaces")
    peer = open_site("docker") if docker else None
    edge = open_site("namespaces", "chi-edge")

    def wait_as_we_do(_: ZunSite, id: str) -> None:
        from chi_edge_lab.container import get_container

        get_container(id).wait("Running")

    started, made = start_ms(namespaces)
    peer_started, peer_made = start_ms(peer) if peer else (None, None)
    return [
        Row(
            "container: start to Running (namespaces engine)",
            started,
            peer_started,
            "docker engine",
            "ms",
            100,
        ),
        Row("container: create to Running (namespaces engine)", made, peer_made, "docker engine", "ms", None),
        Row(
            "exec round trip through the API (namespaces engine)",
            exec_ms(namespaces),
            exec_ms(peer) if peer else None,
            "docker engine",
            "ms",
            15,
        ),
        Row(
            "wait: Running on the site to wait() returning",
            wait_lag_ms(edge, wait_as_we_do),
            wait_lag_ms(edge, wait_as_python_chi),
            "python-chi's loop",
            "ms",
            500,
        ),
    ]
