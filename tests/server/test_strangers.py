"""A container of another project is not there, whatever is asked of it and however much the login may see."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chi_edge_lab import sites
from chi_edge_lab.core import create, lifecycle
from chi_edge_lab.server.operations import OPERATIONS
from chi_edge_lab.server.routes import load_operations
from chi_edge_lab.zun import Client
from tests.boxes import IDLE
from tests.localsite import site_command
from tests.server.conftest import PROFILES

MINE = {"containers", "lifecycle", "inspection", "execs", "resources", "floating_ips", "diagnostics"}
BODIES = {
    "rename_container": {"name": "taken-over"},
    "commit_container": {"repository": "mine"},
    "exec_command": {"command": "true"},
    "start_exec": {"command": "true"},
    "attach_floating_ip": {},
}


def variables(site: str, user: str) -> dict[str, str]:
    """OS_* variables of a user of a local site, which is started."""
    printed = site_command(
        "env", "--user", user, "--json", "--profile", PROFILES[site], environment=dict(os.environ)
    )
    return dict(json.loads(printed))


@pytest.fixture
def strangers(site: str, unique: str, edge_home: Path) -> Iterator[str]:
    """A running container of the user `other`."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(site, "other").items():
            patch.setenv(name, value)
        client = Client(sites.login())
        # the standing reservation is a project's own
        made = create.create(client, name=unique, image="busybox", command=IDLE, timeout=60)
    yield made.uuid
    lifecycle.delete(client, made.uuid)


def operations() -> list[Any]:
    load_operations()
    return [one for one in OPERATIONS if "uuid" in one.path_names and one.tag in MINE and one.function]


async def test_no_route_with_an_id_shows_or_changes_it(api: Any, site: str, strangers: str) -> None:
    assert len(operations()) >= 21
    for one in operations():
        path = one.path.format(site=site, uuid=strangers, address="127.0.0.1", id="x").strip("/").split("/")
        problem = await api(one.method, *path, body=BODIES.get(one.name), status=404)
        assert problem["code"] == "not-found", one.name


async def test_an_administrator_is_shown_one_project_at_a_time(
    api: Any, site: str, strangers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables(site, "admin").items():
        monkeypatch.setenv(name, value)
    assert (await api("GET", "sites", "default"))["user"] == "admin"
    # the site itself shows it to this login
    assert Client(sites.login()).get_container(strangers).uuid == strangers
    listed = await api("GET", "sites", "default", "containers")
    assert strangers not in {one["uuid"] for one in listed["containers"]}
    for one in operations():
        path = one.path.format(site="default", uuid=strangers, address="127.0.0.1", id="x")
        await api(one.method, *path.strip("/").split("/"), body=BODIES.get(one.name), status=404)
    # it is as it was
    found = Client(sites.login()).get_container(strangers)
    assert (found.status, found.name != "taken-over") == ("Running", True)
