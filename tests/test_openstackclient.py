"""The unmodified `openstack appcontainer` (python-openstackclient with python-zunclient): a whole life."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.localsite import LocalSite, local_site

# pid 1 handles TERM, so that stopping it takes no ten seconds
SERVE = "trap 'exit 0' TERM; echo into-log; sleep 600 & wait"


class OpenStack:
    """The command line, as a person uses it after `eval "$(chi-edge-lab site env)"`."""

    def __init__(self, site: LocalSite, folder: Path) -> None:
        self.site = site
        self.folder = folder

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        program = Path(sys.executable).with_name("openstack")
        done = subprocess.run(
            [str(program), *arguments],
            env=self.site.environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=90,
        )
        if check:
            assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done

    def json(self, command: str, *arguments: str) -> Any:
        """The options before the arguments: what follows an image is the container's command."""
        return json.loads(self(*command.split(), "-f", "json", *arguments).stdout)

    def until(self, id: str, status: str) -> None:
        deadline = time.monotonic() + 60
        while (now := self.json("appcontainer show", id)["status"]) != status:
            assert time.monotonic() < deadline, f"still {now}, wanted {status}"


@pytest.mark.parametrize("profile", ["chi-edge", "zun"])
def test_whole_life(profile: str, tmp_path: Path) -> None:
    site = local_site(profile)
    openstack = OpenStack(site, tmp_path)
    hints = (
        ["--hint", f"reservation={site.env['CHI_EDGE_LAB_RESERVATION_ID']}"] if profile == "chi-edge" else []
    )
    image = str(site.images()[0]["name"])

    made = openstack.json(
        "appcontainer create",
        "--name",
        "from-openstack",
        "--expose-port",
        "8080",
        *hints,
        image,
        "sh",
        "-c",
        SERVE,
    )
    id = made["uuid"]
    if profile == "zun":  # upstream leaves it to be started; Kubernetes starts it
        openstack.until(id, "Created")
        openstack("appcontainer", "start", id)
    openstack.until(id, "Running")
    assert id in [listed["uuid"] for listed in openstack.json("appcontainer list")]

    assert "hello" in openstack("appcontainer", "exec", id, "sh", "-c", "echo hello").stdout
    assert "into-log" in openstack("appcontainer", "logs", id).stdout

    (tmp_path / "there.txt").write_text("there and back\n")
    openstack("appcontainer", "cp", "there.txt", f"{id}:/tmp")
    # on k8s an archive of a single file comes back empty (ZUN.md 0.7), so a directory makes the way back
    openstack("appcontainer", "exec", id, "mkdir", "-p", "/tmp/back")
    openstack("appcontainer", "exec", id, "cp", "/tmp/there.txt", "/tmp/back/back.txt")
    (tmp_path / "got").mkdir()
    openstack("appcontainer", "cp", f"{id}:/tmp/back", "got")
    back = next((tmp_path / "got").rglob("back.txt"))
    assert back.read_text() == "there and back\n"

    openstack("appcontainer", "stop", "--time", "0", id)
    openstack.until(id, "Stopped")
    openstack("appcontainer", "start", id)
    openstack.until(id, "Running")
    openstack("appcontainer", "delete", "--stop", id)
    deadline = time.monotonic() + 30
    while id in [listed["uuid"] for listed in openstack.json("appcontainer list")]:
        assert time.monotonic() < deadline
