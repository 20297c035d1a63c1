"""The main job through `chi-edge-lab demo --check`, as `make demo` runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.localsite import clean_environment, site_command


@pytest.mark.parametrize("site", ["local", "local-zun"])
def test_demo(site: str, tmp_path: Path) -> None:
    environment = {**clean_environment(), "CHI_EDGE_LAB_HOME": str(tmp_path)}
    profile = "zun" if site == "local-zun" else "chi-edge"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "chi_edge_lab.cli", "demo", "--check", "--site", site],
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        assert [line[:4] for line in lines[:-1]] == ["ok  "] * 12
        assert ("not on this site" in lines[10]) == (profile == "chi-edge")
        assert lines[-1].startswith("All of it was true")
    finally:
        site_command("destroy", "--profile", profile, environment=environment, check=False)
