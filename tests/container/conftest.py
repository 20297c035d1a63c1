"""The public interface on the local site of each profile, logged in by OS_* variables as a notebook would be."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chi_edge_lab import container as containers
from chi_edge_lab import sites
from tests.boxes import IDLE, PROFILES, login_environment, unique


@pytest.fixture(params=PROFILES)
def profile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    login_environment(request.param, monkeypatch)
    sites.use_site(None)
    sites.use_project(None)
    yield request.param
    for one in containers.list_containers():
        if one.name and one.name.startswith("pub-"):
            one.delete()


@pytest.fixture
def running(profile: str) -> containers.Container:
    """A container submitted through the interface."""
    made = containers.Container(unique("pub"), "busybox", exposed_ports=[8080], command=IDLE)
    made.submit(show=None)
    return made
