"""No login of whoever runs the tests is used, and a local site is at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from chi_edge_lab import sites
from tests.faultysite import FaultySite
from tests.localsite import LocalSite, local_site


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("OS_", "JUPYTERHUB_", "CHI_EDGE_LAB_")):
            monkeypatch.delenv(name)
    # it comes before a clouds.yaml at home
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text("clouds: {}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    yield
    sites.use_site(None)
    sites.use_project(None)
    sites.forget_logins()


@pytest.fixture
def site() -> LocalSite:
    """A running local site, to be logged in to by OS_* variables or a clouds.yaml as to any cloud."""
    return local_site("chi-edge")


@pytest.fixture
def env(site: LocalSite, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The site's OS_* variables, set."""
    for name, value in site.env.items():
        monkeypatch.setenv(name, value)
    return site.env


@pytest.fixture
def faulty() -> Iterator[FaultySite]:
    site = FaultySite()
    yield site
    site.close()
