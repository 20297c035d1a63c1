"""Listing 500 containers: through the Jupyter server, and with python-zunclient alone, on the local zun profile."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
from keystoneauth1 import loading, session
from zunclient import client as zunclient

from benchmarks.row import Row
from tests.labserver import LabServer
from tests.localsite import LocalSite, site_command

CONTAINERS = 500
ROUNDS = 40
WARM_UP = 3  # rounds that do not count: logins, versions, the first encoding of each container


def zun_of(env: dict[str, str]) -> Any:
    """python-zunclient as its own documentation makes it."""
    auth = loading.get_plugin_loader("password").load_from_options(
        auth_url=env["OS_AUTH_URL"], username=env["OS_USERNAME"], password=env["OS_PASSWORD"],
        project_name=env["OS_PROJECT_NAME"], user_domain_name=env.get("OS_USER_DOMAIN_NAME", "Default"),
        project_domain_name=env.get("OS_PROJECT_DOMAIN_NAME", "Default"),
    )  # fmt: skip
    return zunclient.Client(
        "1.40", session=session.Session(auth=auth), region_name=env.get("OS_REGION_NAME"), interface="public"
    )


def fill(zun: Any) -> None:
    """Containers that are Created and never run."""
    for number in range(CONTAINERS):
        zun.containers.create(
            name=f"bench-{number}", image="busybox", command=["sleep", "1000"], labels={"student": f"s{number}"},
            environment={"SEED": str(number), "LANG": "C.UTF-8"},
        )  # fmt: skip
    until = time.monotonic() + 300
    while any(one.status != "Created" for one in zun.containers.list()):
        if time.monotonic() > until:
            raise AssertionError("the containers were not made in time")
        time.sleep(0.5)


def rows() -> list[Row]:
    site = LocalSite("zun", "namespaces")
    try:
        allow(site)
        zun = zun_of(site.env)
        fill(zun)
        with tempfile.TemporaryDirectory() as directory:
            lab = LabServer(Path(directory), env=site.env)
            try:
                return [measured(zun, lab), measured(zun, lab, changing=True)]
            finally:
                lab.stop()
    finally:
        site.destroy()


def allow(site: LocalSite) -> None:
    """Room for them, as an administrator gives it."""
    where = ("--dir", str(site.directory), "--profile", site.profile)
    admin = zun_of(json.loads(site_command("env", "--user", "admin", "--json", *where)))
    project = zun_of(site.env).containers.api.session.get_project_id()
    admin.quotas.update(project, containers=-1, memory=-1, disk=-1, cpu=-1)


def measured(zun: Any, lab: LabServer, *, changing: bool = False) -> Row:
    """Both in turn, so that what else the machine does hits both. `changing`: a container is renamed each time."""
    one = zun.containers.list()[0].uuid
    browser = requests.Session()
    browser.headers["Authorization"] = f"token {lab.token}"
    address = f"{lab.url}chi-edge-lab/api/sites/default/containers"

    def ours() -> bytes:
        return browser.get(address).content  # what reads it then is a browser's business

    def theirs() -> list[Any]:
        return list(zun.containers.list())

    taken: dict[Any, list[float]] = {ours: [], theirs: []}
    for number in range(ROUNDS + WARM_UP):
        for look in (ours, theirs):
            if changing:
                zun.containers.rename(one, f"renamed-{number}-{look.__name__}")
            began = time.perf_counter()
            look()
            if number >= WARM_UP:
                taken[look].append((time.perf_counter() - began) * 1000)
    listed = {one["uuid"] for one in json.loads(ours())["containers"]}
    if listed != {one.uuid for one in theirs()} or len(listed) != CONTAINERS:
        raise AssertionError(f"the lists differ: {len(listed)} through the server")
    mine, peer = statistics.median(taken[ours]), statistics.median(taken[theirs])
    return Row(
        f"list of {CONTAINERS} containers through the server{', one changed' if changing else ''}",
        mine,
        peer,
        "zunclient alone",
        "ms",
        1.1 * peer,
    )
