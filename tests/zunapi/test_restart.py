"""What is left after the site ends: in order, by kill -9, or in the middle of something."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chi_edge_lab.local.engines import probe
from tests.localsite import LocalSite, site_command
from tests.zunapi.running import RunningSite, engine_name, until


@pytest.fixture(params=["chi-edge", "zun"])
def own(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RunningSite]:
    """A site of the test's own."""
    site = RunningSite(tmp_path / "site", request.param)
    yield site
    site.destroy()


def rows(site: RunningSite, ref: str) -> dict[str, Any]:
    row = site.site.containers.get(ref)
    assert row is not None
    return {"status": row.status, "task_state": row.task_state, "status_reason": row.status_reason}


def test_containers_outlive_a_stop(own: RunningSite) -> None:
    made = own.create(exposed_ports={"80": {}})
    own.execute(made, "touch /tmp/kept")
    before = own.execute(made, "cat /proc/1/stat")["output"]
    own.stop()
    own.start()
    row = own.wait(made, "Running")
    assert own.execute(made, "ls /tmp/kept")["exit_code"] == 0
    assert (
        own.execute(made, "cat /proc/1/stat")["output"].split()[21] == before.split()[21]
    )  # the very process
    assert row["ports"] == [80]
    assert own.http("GET", f"/v1/containers/{made}/container_actions").json()["containerActions"]


def test_what_died_meanwhile(own: RunningSite) -> None:
    made = own.create()
    own.stop()
    engine = probe.open_engine(engine_name(), own.directory / "engine")
    engine.stop(made, 0.0)
    engine.close()
    own.start()
    if own.profile == "zun":
        assert own.wait(made, "Stopped")["status_detail"].startswith("Exited(")
    else:
        own.wait(made, "Running")  # the Deployment has made it anew


def test_what_vanished_meanwhile(own: RunningSite) -> None:
    made = own.create()
    own.stop()
    engine = probe.open_engine(engine_name(), own.directory / "engine")
    engine.remove(made)
    engine.close()
    own.start()
    if own.profile == "zun":
        assert "No such container" in own.wait(made, "Error")["status_reason"]
    else:
        own.wait(made, "Running")


def test_orphans_of_the_engine_are_removed(own: RunningSite) -> None:
    made = own.create()
    own.site.containers.table.delete(uuid=made)
    own.stop()
    own.start()
    assert own.site.engine.list() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"status": "Creating", "task_state": "container_creating"}, "Error"),
        ({"task_state": "container_stopping"}, "Stopped"),
        ({"status": "Restarting", "task_state": "container_rebooting"}, "Running"),
        ({"task_state": "container_pausing"}, "Running"),
        ({"status": "Deleting", "task_state": "container_deleting"}, None),
    ],
)
def test_what_was_under_way(own: RunningSite, changes: dict[str, str], expected: str | None) -> None:
    made = own.create()
    own.site.containers.table.update(made, **changes)
    own.stop()
    own.start()
    if expected is None:
        own.gone(made)
        assert own.site.engine.list() == []
    else:
        row = own.wait(made, expected)
        assert (row["status_reason"] == "Container failed to create correctly") == (expected == "Error")


@pytest.mark.parametrize("orderly", [True, False])
def test_what_was_refused_stays_refused(tmp_path: Path, orderly: bool) -> None:
    own = RunningSite(tmp_path / "site", "chi-edge")
    try:
        strangers = {"hints": {"reservation": "4d0dd8b9-0a50-4b5f-8b4b-59b0ae6d4a24"}}
        refused = [own.create(status="Error", **strangers), own.create(status="Error", image="nothing")]
        begun = own.create(status="Error", **strangers)
        if not orderly:  # as if killed in the middle of another start
            own.site.containers.table.update(begun, wanted=True, task_state="container_starting")
        before = [rows(own, ref) for ref in refused]
        for _ in range(2):
            own.stop()
            own.start()
            last = own.create()  # its queue is one of several, so wait for the engine too
            until(lambda: rows(own, begun)["status"] == "Error")
            assert own.wait(begun, "Error")["status_detail"] == "Unschedulable"
            for _ in range(10):
                assert [rows(own, ref) for ref in refused] == before
                assert set(own.site.engine.list()) == {last}
                time.sleep(0.02)
            own.http("DELETE", f"/v1/containers/{last}?stop=true")
            own.gone(last)
        own.http("POST", f"/v1/containers/{refused[0]}/start")
        assert own.wait(refused[0], "Error")["status_detail"] == "Unschedulable"
    finally:
        own.destroy()


def test_kill_9() -> None:
    """The process itself, as people run it: killed, started again, the container never noticed."""
    site = LocalSite("chi-edge", engine_name())
    try:
        from keystoneauth1 import session
        from keystoneauth1.identity import v3
        from zunclient.client import Client

        auth = v3.Password(
            auth_url=site.env["OS_AUTH_URL"], username=site.env["OS_USERNAME"], password=site.env["OS_PASSWORD"],
            project_name="edge", user_domain_name="Default", project_domain_name="Default",
        )  # fmt: skip
        client = Client("1.40", session=session.Session(auth=auth), interface="public", region_name="local")
        hints = {"reservation": site.env["CHI_EDGE_LAB_RESERVATION_ID"]}
        made = client.containers.run(
            name="survivor", image="busybox", command=["sleep", "100000"], hints=hints
        ).uuid
        until(lambda: client.containers.get(made).status == "Running")
        client.containers.execute(made, command="touch /tmp/kept", run=True)
        os.kill(int(str(site.runtime()["pid"])), signal.SIGKILL)
        started = json.loads(site_command("start", "--dir", str(site.directory), "--json"))
        assert started["started"]
        until(lambda: client.containers.get(made).status == "Running")
        assert client.containers.execute(made, command="ls /tmp/kept", run=True)["exit_code"] == 0
        client.containers.delete(made, stop=True)
    finally:
        site.destroy()
