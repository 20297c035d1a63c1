"""Start, stop and all the rest of a container's life, in both profiles."""

from __future__ import annotations

import time

import pytest

from tests.zunapi.running import RunningSite, until


def act(site: RunningSite, ref: str, verb: str, **query: object) -> int:
    return site.http("POST", f"/v1/containers/{ref}/{verb}", params=query).status_code


def delete(site: RunningSite, ref: str, **query: object) -> int:
    return site.http("DELETE", f"/v1/containers/{ref}", params=query).status_code


def test_stop_and_start(any_site: RunningSite) -> None:
    made = any_site.create()
    any_site.execute(made, "touch /tmp/kept")
    assert act(any_site, made, "stop", timeout=0) == 202
    row = any_site.wait(made, "Stopped")
    assert act(any_site, made, "stop", timeout=0) == 409
    assert act(any_site, made, "start") == 202
    started = any_site.wait(made, "Running")
    kept = any_site.execute(made, "ls /tmp/kept")["exit_code"] == 0
    # a pod is replaced: its files are gone, its address is another one, its port is the same
    assert kept == (any_site.profile == "zun")
    (before,), (after,) = row["addresses"].values(), started["addresses"].values()
    assert before[0]["port"] == after[0]["port"]


def test_stopped_containers_say_how_they_ended(zun: RunningSite) -> None:
    made = zun.create()
    act(zun, made, "stop", timeout=0)
    assert zun.wait(made, "Stopped")["status_detail"].startswith("Exited(")


def test_reboot(any_site: RunningSite) -> None:
    made = any_site.create(command=["sh", "-c", "date +%s%N; exec sleep 1000"])
    until(lambda: bool(any_site.http("GET", f"/v1/containers/{made}/logs").json()))
    assert act(any_site, made, "reboot", timeout=0) == 202
    any_site.wait(made, "Running")


def test_a_container_that_ends(zun: RunningSite) -> None:
    made = zun.create(command=["sh", "-c", "echo done; exit 3"], status=None)
    row = zun.wait(made, "Stopped")
    assert row["status_detail"].startswith("Exited(3) ")
    assert zun.http("GET", f"/v1/containers/{made}/logs").json() == "done\n"


def test_a_command_that_ends_is_restarted_by_the_deployment_and_then_an_error(edge: RunningSite) -> None:
    made = edge.create(command=["sh", "-c", "echo again"], status=None)
    until(lambda: edge.get(made)["status_detail"] == "ContainersNotReady")
    row = edge.get(made)
    assert row["status_reason"] == f"containers with unready status: [{row['name']}]"
    assert delete(edge, made) in {204, 409}  # it flaps: Running for a moment now and then
    delete(edge, made, stop=True)
    edge.gone(made)


def test_a_program_that_is_not_there(edge: RunningSite, zun: RunningSite) -> None:
    made = edge.create(command=["nosuchprogram"], status=None)
    until(lambda: edge.get(made)["status"] == "Error")
    # upstream forgets that it was an Error at the next look
    made = zun.create(command=["nosuchprogram"], status=None)
    until(lambda: zun.get(made)["status_reason"] is not None)
    row = zun.wait(made, "Created")
    assert row["status_reason"].startswith("Docker internal error: ")
    assert '"nosuchprogram": executable file not found in $PATH' in row["status_reason"]
    assert row["status_detail"] == "Exited(127)  ago (error)"


def test_restart_policies_are_dockers(zun: RunningSite) -> None:
    made = zun.create(
        command=["sh", "-c", "exit 1"],
        restart_policy={"Name": "on-failure", "MaximumRetryCount": "2"},
        status=None,
    )
    zun.wait(made, "Stopped")
    assert zun.site.containers.get(made).restarts == 2  # type: ignore[union-attr]


def test_auto_remove_leaves_a_deleted_row(zun: RunningSite) -> None:
    made = zun.create(command=["true"], auto_remove=True, status=None)
    zun.wait(made, "Deleted")
    assert delete(zun, made) == 204


def test_pause_and_unpause(zun: RunningSite) -> None:
    made = zun.create()
    assert act(zun, made, "pause") == 202
    zun.wait(made, "Paused")
    assert act(zun, made, "pause") == 409
    assert zun.http("POST", f"/v1/containers/{made}/execute", params={"command": "true"}).status_code == 409
    assert act(zun, made, "unpause") == 202
    zun.wait(made, "Running")


@pytest.mark.parametrize("signal", ["None", "SIGTERM", "term", "9"])
def test_kill(zun: RunningSite, signal: str) -> None:
    made = zun.create(command=["sh", "-c", "trap 'exit 4' TERM; while :; do sleep 0.05; done"])
    assert act(zun, made, "kill", signal=signal) == 202
    row = zun.wait(made, "Stopped")
    assert row["status_detail"].startswith("Exited(4)" if "term" in signal.lower() else "Exited(137)")


@pytest.mark.parametrize(
    ("verb", "query", "task"),
    [
        ("pause", {}, "container_pausing"),
        ("kill", {"signal": "SIGTERM"}, "container_killing"),
    ],
)
def test_202_and_then_nothing(edge: RunningSite, verb: str, query: dict[str, str], task: str) -> None:
    made = edge.create()
    assert act(edge, made, verb, **query) == 202
    path = f"/v1/containers/{made}/container_actions"
    until(lambda: edge.http("GET", path).json()["containerActions"][0]["message"] == "Error")
    row = edge.get(made)
    assert (row["status"], row["task_state"]) == ("Running", task)


def test_rebuild(zun: RunningSite) -> None:
    made = zun.create()
    zun.execute(made, "touch /tmp/x")
    assert act(zun, made, "rebuild", image="busybox") == 202
    zun.wait(made, "Running")
    assert zun.execute(made, "ls /tmp/x")["exit_code"] == 1
    assert act(zun, made, "rebuild", image="nosuch") == 202
    assert "could not be found" in zun.wait(made, "Error")["status_reason"]


def test_rebuild_on_chi_edge_never_ends(edge: RunningSite) -> None:
    made = edge.create()
    assert act(edge, made, "rebuild") == 202
    until(lambda: edge.get(made)["task_state"] == "container_rebuilding")
    assert edge.get(made)["status"] == "Rebuilding"
    assert delete(edge, made, stop=True) == 409
    assert edge.http("DELETE", f"/v1/containers/{made}?force=true", user="admin").status_code == 204
    edge.gone(made)


def test_rename_and_limits(any_site: RunningSite) -> None:
    made = any_site.create()
    path = f"/v1/containers/{made}"
    assert any_site.http("PATCH", path, json={"name": "renamed"}).json()["name"] == "renamed"
    assert any_site.http("PATCH", path, json={"name": "x"}).status_code == 400
    assert any_site.http("PATCH", path, json={"image": "x"}).status_code == 400
    answer = any_site.http("PATCH", path, json={"memory": "64"})
    resized = any_site.http("POST", f"{path}/resize_container", json={"memory": "32", "cpu": 0.5})
    assert resized.status_code == 202
    if any_site.profile == "zun":
        assert answer.json()["memory"] == "64"
        until(lambda: any_site.get(made)["memory"] == "32")
    else:
        assert answer.status_code == 500
        assert any_site.get(made)["memory"] == "512"
    assert any_site.http("POST", f"{path}/rename?name=again", version="1.13").json()["name"] == "again"
    assert any_site.http("POST", f"{path}/rename?name=again", version="1.13").status_code == 409
    assert any_site.http("POST", f"{path}/rename?name=more", version="1.14").status_code == 406


def test_delete(any_site: RunningSite) -> None:
    made = any_site.create()
    assert delete(any_site, made) == 409
    answer = any_site.http("DELETE", f"/v1/containers/{made}?force=true")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (
        403,
        "container.policy-not-authorized",
    )
    begun = time.monotonic()
    assert delete(any_site, made, stop=True) == 204
    assert time.monotonic() - begun < 1
    any_site.gone(made)
    assert delete(any_site, made) == 404
    assert made not in any_site.site.engine.list()


def test_delete_of_what_never_was_is_immediate(any_site: RunningSite) -> None:
    made = any_site.create(image="nosuch", status="Error")
    assert delete(any_site, made) == 204
    assert any_site.http("GET", f"/v1/containers/{made}").status_code == 404


def test_parameters_of_delete(any_site: RunningSite) -> None:
    made = any_site.create(image="nosuch", status="Error")
    assert delete(any_site, made, stop="perhaps") == 400
    assert any_site.http("DELETE", f"/v1/containers/{made}?stop=true", version="1.11").status_code == 400
    assert delete(any_site, made, bogus=1) == 400


@pytest.mark.parametrize("timeout", ["abc", "None", "-1"])
def test_timeouts_are_numbers(any_site: RunningSite, timeout: str) -> None:
    made = any_site.create(image="nosuch", status="Error")
    for verb in ("stop", "reboot"):
        assert act(any_site, made, verb, timeout=timeout) == 400


def test_wrong_states_have_zuns_sentence(any_site: RunningSite) -> None:
    made = any_site.create(image="nosuch", status="Error")
    answer = any_site.http("POST", f"/v1/containers/{made}/stop?timeout=1")
    error = answer.json()["errors"][0]
    assert (answer.status_code, error["code"]) == (409, "container.invalid-state-exception")
    assert error["title"] == error["detail"] == f"Cannot stop container {made} in Error state"


def test_networks_of_a_container(zun: RunningSite) -> None:
    made = zun.create()
    net = zun.site.network.network_id
    path = f"/v1/containers/{made}"
    assert zun.http("GET", f"{path}/network_list").json()["networks"][0]["fixed_ips"][0]["version"] == 4
    assert zun.http("GET", f"{path}/network_list", version="1.13").json()["networks"][0]["ip_address"]
    assert zun.http("GET", f"{path}/network_list", version="1.12").status_code == 406
    assert act(zun, made, "network_attach", network=net) == 400
    assert act(zun, made, "network_detach", network="nosuch") == 404
    assert act(zun, made, "network_detach") == 400
    assert act(zun, made, "network_detach", network=net) == 202
    until(lambda: zun.get(made)["addresses"] == {})
    assert act(zun, made, "network_detach", network=net) == 400
    assert act(zun, made, "network_attach", network=net) == 200
    until(lambda: net in zun.get(made)["addresses"])


def test_security_groups_until_1_14(zun: RunningSite) -> None:
    made = zun.create()
    path = f"/v1/containers/{made}/add_security_group?name=default"
    assert zun.http("POST", path, version="1.15").status_code == 406
    assert zun.http("POST", path, version="1.14").status_code == 202
    until(lambda: len(zun.get(made)["security_groups"]) == 1)
    assert zun.http("POST", path, version="1.14").status_code == 400
    path = path.replace("add_", "remove_")
    assert zun.http("POST", path, version="1.14").status_code == 202
    until(lambda: zun.get(made)["security_groups"] == [])
    assert zun.http("POST", path.replace("default", "nosuch"), version="1.14").status_code == 400


def test_commit(zun: RunningSite, edge: RunningSite) -> None:
    made = zun.create()
    zun.execute(made, "touch /kept")
    answer = zun.http("POST", f"/v1/containers/{made}/commit?repository=mine&tag=v1")
    assert answer.status_code == 202
    until(lambda: "mine:v1" in [image.name for image in zun.site.engine.images()])
    for image in ("mine:v1", answer.json()["uuid"]):
        again = zun.create(image=image, image_driver="glance")
        assert zun.execute(again, "ls /kept")["exit_code"] == 0
    for one in (
        made,
        *(row["uuid"] for row in zun.http("GET", "/v1/containers?image=mine:v1").json()["containers"]),
    ):
        delete(zun, one, stop=True)
    zun.site.engine.remove_image("mine:v1")
    assert edge.http("POST", f"/v1/containers/{edge.create()}/commit?repository=mine").status_code == 500


def test_the_end_of_a_lease_takes_its_containers(edge: RunningSite) -> None:
    made = edge.create()
    other = edge.site.containers.table.update(edge.create(), reservation_id="another").uuid
    edge.site.containers.leases_ended([edge.reservation])
    edge.wait(made, "Deleted")  # listed until somebody deletes them
    assert edge.get(other)["status"] == "Running"
    assert made not in edge.site.engine.list()
    assert delete(edge, made) == 204
    edge.gone(made)
