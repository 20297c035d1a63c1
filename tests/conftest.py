"""What all tests share."""

from __future__ import annotations

import functools
import os
import pathlib
import signal
from collections.abc import Iterator

import pytest

from chi_edge_lab.local.engines.base import EngineUnavailable
from chi_edge_lab.local.engines.docker import DockerEngine
from chi_edge_lab.local.engines.docker.daemon import find_daemon

pytest_plugins = ["pytest_jupyter.jupyter_server"]  # pytest takes plugins from the topmost conftest alone


def pytest_configure() -> None:
    """Ctrl-C works in the tests' own processes, also where a shell has started this run in the background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.cache
def docker_problem() -> str:
    """Why there is no Docker here; empty where there is."""
    try:
        find_daemon().close()
    except EngineUnavailable as error:
        return f"{error} scripts/docker-engine.sh starts one."
    return ""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `docker` without Docker fails in CI (it must be there) and is skipped elsewhere."""
    if item.get_closest_marker("docker") and docker_problem():
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(docker_problem(), pytrace=False)
        pytest.skip(docker_problem())


@pytest.fixture
def docker_engine(tmp_path: pathlib.Path) -> Iterator[DockerEngine]:
    """A docker engine of a site of its own; its containers go with the test. Mark the test `docker`."""
    engine = DockerEngine(tmp_path / "engine" / "docker")
    yield engine
    for id in engine.list():
        engine.remove(id)
    engine.close()
