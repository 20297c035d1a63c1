"""Starts real local sites for tests: one process per profile and engine, shared by the whole run."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


def clean_environment() -> dict[str, str]:
    """This process's environment without anybody's OpenStack or hub settings."""
    prefixes = ("OS_", "CHI_EDGE_LAB_", "JUPYTERHUB_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def site_command(*arguments: str, environment: dict[str, str] | None = None, check: bool = True) -> str:
    """Run `chi-edge-lab site ...` as a person would and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "chi_edge_lab.local", *arguments],
        env=environment or clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    if check and done.returncode:
        raise AssertionError(
            f"site {' '.join(arguments)} failed ({done.returncode}): {done.stderr}{done.stdout}"
        )
    return done.stdout


@dataclass
class LocalSite:
    """A running local site in a directory of its own."""

    profile: str
    engine: str
    directory: Path = field(init=False)
    env: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="chi-edge-lab-test-"))
        atexit.register(self.destroy)
        self.start()

    @property
    def _where(self) -> tuple[str, ...]:
        return ("--dir", str(self.directory), "--profile", self.profile)

    def start(self) -> dict[str, object]:
        started = json.loads(site_command("start", *self._where, "--engine", self.engine, "--json"))
        self.env = json.loads(site_command("env", *self._where, "--json"))
        return dict(started)

    def stop(self) -> None:
        site_command("stop", *self._where)

    def images(self) -> list[dict[str, object]]:
        return list(json.loads(site_command("images", *self._where, "--json")))

    def runtime(self) -> dict[str, object]:
        return dict(json.loads((self.directory / "runtime.json").read_text()))

    def environment(self) -> dict[str, str]:
        """For a subprocess that is to use this site by OS_* variables."""
        return {**clean_environment(), **self.env}

    def destroy(self) -> None:
        """Delete all containers, stop the site, remove its files."""
        if not self.directory.exists():
            return
        site_command("destroy", *self._where, check=False)
        shutil.rmtree(self.directory, ignore_errors=True)


_running: dict[tuple[str, str], LocalSite] = {}


def local_site(profile: str, engine: str = "namespaces") -> LocalSite:
    """The run's one site of this profile and engine, started when first asked for."""
    if (profile, engine) not in _running:
        _running[profile, engine] = LocalSite(profile, engine)
    return _running[profile, engine]
