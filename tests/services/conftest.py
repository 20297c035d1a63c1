"""A site that all tests here share, and sites of one's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.localsite import LocalSite, clean_environment, local_site

ENGINE = os.environ.get("CHI_EDGE_LAB_TEST_ENGINE", "auto")


@dataclass
class OwnSite:
    """A directory for a site and the command line on it."""

    directory: Path

    def run(self, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """One command, as a person types it."""
        return subprocess.run(
            [sys.executable, "-m", "chi_edge_lab.local", *arguments, "--dir", str(self.directory)],
            env={**clean_environment(), **extra},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def json(self, *arguments: str) -> Any:
        """What a command that must succeed prints with --json."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def start(self, *arguments: str) -> dict[str, Any]:
        """Start it; what it says."""
        return dict(self.json("start", "--engine", ENGINE, *arguments))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnSite]:
    """A site of the test's own, not started."""
    site = OwnSite(tmp_path / "site")
    yield site
    site.run("destroy")


@pytest.fixture(scope="session")
def site() -> LocalSite:
    """The shared site of the chi-edge profile."""
    return local_site("chi-edge", ENGINE)


@pytest.fixture
def shared(site: LocalSite) -> OwnSite:
    """The command line on the shared site: for what changes nothing."""
    return OwnSite(site.directory)
