"""The life of a container as Zun tells it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from zunclient.common.apiclient import exceptions as zun_errors

from tests.contract.conftest import ZunSite

Create = Callable[..., Any]


def test_create_answers_at_once_and_runs(site: ZunSite, create: Create) -> None:
    answer = create(wait=False, environment={"GREETING": "hello"}, labels={"team": "blue"}, workdir="/tmp")
    assert answer.status == "Creating"
    container = site.wait(answer.uuid, "Running")
    assert container.image == site.image
    assert container.environment["GREETING"] == "hello"
    assert container.labels == {"team": "blue"}
    assert container.workdir == "/tmp"
    assert container.project_id
    assert isinstance(container.addresses, dict)
    assert "exposed_ports" not in container.to_dict()


def test_create_without_run(site: ZunSite) -> None:
    """Upstream leaves it in Created until it is started; Kubernetes has no such thing."""
    container = site.zun.containers.create(**site.create_arguments())
    try:
        site.wait(container.uuid, "Running" if site.dialect == "k8s" else "Created")
        if site.dialect == "docker":
            site.wait_idle(container.uuid)
            site.zun.containers.start(container.uuid)
            site.wait(container.uuid, "Running")
    finally:
        site.remove(container.uuid)


def test_created_at_is_only_upstream(site: ZunSite, running: Any) -> None:
    fields = site.zun.containers.get(running.uuid).to_dict()
    assert ("created_at" in fields) == (site.dialect == "docker")


def test_actions_tell_when_it_was_created(site: ZunSite, running: Any) -> None:
    actions = site.zun.actions.list(running.uuid)
    created = next(action for action in actions if action.action == "create")
    assert created.start_time.startswith("20")
    assert "T" in created.start_time
    one = site.zun.actions.get(running.uuid, created.request_id)
    assert created.request_id.startswith("req-")
    assert {event["result"] for event in one.events} == {"Success"}


def test_image_that_is_not_there_ends_in_error(site: ZunSite, create: Create) -> None:
    container = create(wait=False, image="no-such-image-anywhere:1")
    failed = site.wait(container.uuid, "Error", timeout=90)
    assert failed.status_reason


def test_stop_start_delete(site: ZunSite, create: Create) -> None:
    container = create()
    with pytest.raises(zun_errors.Conflict) as running:
        site.zun.containers.delete(container.uuid)
    assert "in Running state" in str(running.value)
    site.zun.containers.stop(container.uuid, 0)
    site.wait(container.uuid, "Stopped")
    with pytest.raises(zun_errors.Conflict) as stopped:
        site.zun.containers.stop(container.uuid, 1)
    assert f"Cannot stop container {container.uuid} in Stopped state" in str(stopped.value)
    with pytest.raises(zun_errors.Conflict):
        site.zun.containers.execute(container.uuid, command="true", run=True, interactive=False)
    site.zun.containers.start(container.uuid)
    site.wait(container.uuid, "Running")
    site.zun.containers.stop(container.uuid, 0)
    site.wait(container.uuid, "Stopped")
    site.zun.containers.delete(container.uuid)
    site.wait_gone(container.uuid)


def test_files_after_stop_and_start(site: ZunSite, create: Create) -> None:
    """Kubernetes makes a new pod (files are lost); Docker starts the same container again."""
    container = create()
    site.zun.containers.execute(container.uuid, command="touch /tmp/kept", run=True, interactive=False)
    site.zun.containers.stop(container.uuid, 0)
    site.wait(container.uuid, "Stopped")
    site.zun.containers.start(container.uuid)
    site.wait(container.uuid, "Running")
    answer = site.zun.containers.execute(
        container.uuid, command="test -e /tmp/kept", run=True, interactive=False
    )
    assert (answer["exit_code"] == 0) == (site.dialect == "docker")


def test_restart(site: ZunSite, create: Create) -> None:
    container = create()
    site.zun.containers.restart(container.uuid, 0)
    time.sleep(0.3)
    site.wait(container.uuid, "Running")


def test_stop_with_a_timeout_that_is_no_number_is_400(site: ZunSite, running: Any) -> None:
    assert site.request("POST", f"/containers/{running.uuid}/stop?timeout=None").status_code == 400


def test_names_are_not_unique(site: ZunSite, create: Create) -> None:
    first = create()
    assert site.zun.containers.get(first.name).uuid == first.uuid
    second = create(wait=False, name=first.name)
    with pytest.raises(zun_errors.Conflict) as twice:
        site.zun.containers.get(first.name)
    assert "Multiple containers exist with same name" in str(twice.value)
    site.wait(second.uuid, "Running")


def test_rename_by_patch(site: ZunSite, create: Create) -> None:
    container = create()
    assert site.zun.containers.update(container.uuid, name="another-name").name == "another-name"
    assert site.zun.containers.get(container.uuid).name == "another-name"


def test_list_filters_and_pages(site: ZunSite, create: Create) -> None:
    made = [create(wait=False) for _ in range(3)]
    ids = {container.uuid for container in made}
    for id in ids:
        site.wait(id, "Running")
    listed = {container.uuid for container in site.zun.containers.list()}
    assert ids <= listed
    assert [c.uuid for c in site.zun.containers.list(name=made[0].name)] == [made[0].uuid]
    page = site.request("GET", "/containers?limit=2").json()
    assert len(page["containers"]) == 2
    assert "marker=" in page["next"]
    marker = page["containers"][-1]["uuid"]
    rest = site.request("GET", f"/containers?limit=1000&marker={marker}").json()["containers"]
    assert {c["uuid"] for c in page["containers"]}.isdisjoint({c["uuid"] for c in rest})
    assert {c["uuid"] for c in page["containers"]} | {c["uuid"] for c in rest} == listed


def test_delete_with_stop_is_gone_soon(site: ZunSite, create: Create) -> None:
    container = create()
    assert site.request("DELETE", f"/containers/{container.uuid}?stop=true").status_code == 204
    site.wait_gone(container.uuid)
    assert site.request("DELETE", f"/containers/{container.uuid}?stop=true").status_code == 404


def test_delete_by_force_is_for_admins(site: ZunSite, running: Any) -> None:
    assert site.request("DELETE", f"/containers/{running.uuid}?force=true").status_code == 403


def test_pause_and_unpause(site: ZunSite, create: Create) -> None:
    container = create()
    site.zun.containers.pause(container.uuid)
    if site.dialect == "k8s":  # the API says 202, the driver lacks it, nothing happens
        time.sleep(0.5)
        assert site.zun.containers.get(container.uuid).status == "Running"
        return
    site.wait(container.uuid, "Paused")
    site.zun.containers.unpause(container.uuid)
    site.wait(container.uuid, "Running")


def test_kill(site: ZunSite, create: Create) -> None:
    container = create()
    site.zun.containers.kill(container.uuid, "KILL")
    if site.dialect == "k8s":
        time.sleep(0.5)
        assert site.zun.containers.get(container.uuid).status == "Running"
        return
    site.wait(container.uuid, "Stopped")


def test_commit(site: ZunSite, create: Create) -> None:
    container = create()  # one of its own: it is paused meanwhile
    answer = site.request("POST", f"/containers/{container.uuid}/commit?repository=kept&tag=one")
    if site.dialect == "k8s":
        assert answer.status_code == 500
        assert "Error Correlation id is" in answer.json()["errors"][0]["detail"]
    else:
        assert answer.status_code == 202
        assert answer.json()["uuid"]


def test_top(site: ZunSite, running: Any) -> None:
    answer = site.request("GET", f"/containers/{running.uuid}/top")
    if site.dialect == "k8s":
        assert answer.status_code == 500
    else:
        table = answer.json()
        assert {"UID", "PID", "CMD"} <= set(table["Titles"])
        assert any("sleep" in " ".join(row) for row in table["Processes"])


def test_stats(site: ZunSite, running: Any) -> None:
    stats = site.zun.containers.stats(running.uuid)
    if site.dialect == "k8s":
        assert stats is None or set(stats) == {"cpu", "memory"}
    else:
        assert {"CONTAINER", "CPU %", "MEM USAGE(MiB)", "MEM LIMIT(MiB)", "MEM %"} < set(stats)
        assert {"BLOCK I/O(B)", "NET I/O(B)"} < set(stats)


def test_reservation_is_needed_on_the_edge(site: ZunSite, create: Create) -> None:
    if site.dialect != "k8s":
        assert create(hints={}).status == "Running"
        return
    container = create(wait=False, hints={})
    failed = site.wait(container.uuid, "Error")
    assert f"container {container.uuid} has no reservaton ID set" in failed.status_reason


def test_names_that_kubernetes_refuses(site: ZunSite, create: Create) -> None:
    container = create(wait=False, name="Under_Score")
    if site.dialect == "k8s":
        assert site.wait(container.uuid, "Error").status_reason
    else:
        site.wait(container.uuid, "Running")
