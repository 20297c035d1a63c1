"""Create: what is refused with 4xx, what ends in Error later, and what a new container looks like."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.zunapi.running import RunningSite, until


def refused(site: RunningSite, body: dict[str, Any], version: str = "1.40") -> tuple[int, str, str]:
    answer = site.http("POST", "/v1/containers", json=body, version=version)
    assert "errors" in answer.json(), answer.text
    error = answer.json()["errors"][0]
    return answer.status_code, error["code"], error["title"]


def test_a_new_container(any_site: RunningSite) -> None:
    body = any_site.body(
        environment={"A": "1"}, labels={"x": "y"}, exposed_ports={"80/tcp": {}, "53/udp": {}}
    )
    answer = any_site.http("POST", "/v1/containers?run=true", json=body)
    made = answer.json()
    assert answer.status_code == 202
    assert made["status"] == "Creating"
    assert answer.headers["Location"].endswith(f"/v1/containers/{made['uuid']}")
    assert (made["environment"], made["labels"], made["command"]) == ({"A": "1"}, {"x": "y"}, body["command"])
    row = any_site.wait(made["uuid"], "Running")
    assert sorted(row["ports"]) == [53, 80]
    (entries,) = row["addresses"].values()
    assert entries[0]["version"] == 4
    assert entries[0]["port"]
    assert ("created_at" in row) == (any_site.profile == "zun")
    assert not {"host", "runtime", "privileged"} & row.keys()
    assert {"host", "runtime", "privileged", "image_pull_policy"} <= any_site.get(row["uuid"], "admin").keys()


def test_what_the_k8s_driver_makes_of_it(edge: RunningSite) -> None:
    row = edge.get(edge.create())
    assert row["command"] == []  # it shows the pod's command, which is Docker's entrypoint
    assert (row["interactive"], row["tty"], row["auto_remove"]) == (True, True, True)
    assert (row["cpu"], row["memory"]) == (1.0, "512")


def test_without_run_upstream_only_creates_and_the_fork_starts(edge: RunningSite, zun: RunningSite) -> None:
    made = zun.create(run=False, status="Created")
    assert zun.get(made)["status_detail"] == "Created"
    edge.create(run=False, status="Running")


def test_names_are_generated_in_greek(zun: RunningSite) -> None:
    body = zun.body(name=None)
    assert zun.http("POST", "/v1/containers", json=body).json()["name"].endswith("-container")


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"image": None}, "container.schema-validation-error"),
        ({"bogus": 1}, "container.schema-validation-error"),
        ({"name": "x"}, "container.schema-validation-error"),
        ({"name": "a" * 256}, "container.schema-validation-error"),
        ({"name": "<img src=x>"}, "container.schema-validation-error"),
        ({"command": "sleep 1"}, "container.schema-validation-error"),
        ({"memory": "2"}, "container.schema-validation-error"),
        ({"memory": "9999"}, "container.schema-validation-error"),
        ({"cpu": 99}, "container.schema-validation-error"),
        ({"environment": {"A": 1}}, "container.schema-validation-error"),
        ({"exposed_ports": ["80"]}, "container.schema-validation-error"),
        ({"exposed_ports": {"80/icmp": {}}}, "container.invalid-value"),
        ({"exposed_ports": {"http": {}}}, "container.invalid-value"),
        ({"exposed_ports": {"80": {}}, "security_groups": ["default"]}, "container.schema-validation-error"),
        ({"security_groups": ["nosuch"]}, "container.invalid-value"),
        ({"restart_policy": {"Name": "sometimes"}}, "container.schema-validation-error"),
        ({"restart_policy": {"Name": "always", "MaximumRetryCount": "3"}}, "container.invalid-value"),
    ],
)
def test_refused_at_once(any_site: RunningSite, more: dict[str, Any], code: str) -> None:
    assert refused(any_site, any_site.body(**more))[:2] == (400, code)


def test_zuns_words(zun: RunningSite) -> None:
    assert refused(zun, {})[2] == "'image' is a required property"
    assert (
        refused(zun, zun.body(bogus=1))[2] == "Additional properties are not allowed ('bogus' was unexpected)"
    )
    title = refused(zun, zun.body(name="x"))[2]
    assert title.startswith(
        "Invalid input for field 'name'.Value: 'x'. 'x' is too short\n\nFailed validating"
    )
    assert refused(zun, zun.body(exposed_ports={"80/icmp": {}}))[2] == "value icmp is an invalid protocol"


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_counts_as_empty(zun: RunningSite, data: bytes) -> None:
    answer = zun.http("POST", "/v1/containers", data=data, headers={"Content-Type": "application/json"})
    assert answer.json()["errors"][0]["title"] == "'image' is a required property"


@pytest.mark.parametrize("name", ["privileged", "image_pull_policy", "host"])
def test_what_only_administrators_may_ask(any_site: RunningSite, name: str) -> None:
    value = {"privileged": True, "image_pull_policy": "always", "host": "x"}[name]
    status, code, title = refused(any_site, any_site.body(**{name: value}))
    assert (status, code) == (403, "container.policy-not-authorized")
    rule = "requested_destination" if name == "host" else name
    assert title == f"Policy doesn't allow container:create:{rule} to be performed."


def test_runtime_is_for_everybody_on_chi_edge_only(edge: RunningSite, zun: RunningSite) -> None:
    made = edge.create(runtime="nvidia")
    assert edge.get(made)["environment"]["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert refused(zun, zun.body(runtime="nvidia"))[0] == 403


def test_a_network_that_is_not_there(any_site: RunningSite) -> None:
    assert refused(any_site, any_site.body(nets=[{"network": "nosuch"}])) == (
        404,
        "container.network-not-found",
        "Neutron network nosuch could not be found.",
    )


def test_volumes_need_cinder(any_site: RunningSite) -> None:
    body = any_site.body(mounts=[{"type": "volume", "source": "vol", "destination": "/data"}])
    assert refused(any_site, body)[0] == 500


def test_files_given_at_create(any_site: RunningSite) -> None:
    mount = {"type": "bind", "source": base64.b64encode(b"given\n").decode(), "destination": "/tmp/given.txt"}
    made = any_site.create(mounts=[mount])
    assert any_site.execute(made, "cat /tmp/given.txt")["output"] == "given\n"


def test_environment_workdir_and_entrypoint(any_site: RunningSite) -> None:
    made = any_site.create(
        environment={"GREETING": "hello world"},
        workdir="/tmp",
        entrypoint=["sh", "-c"],
        command=["sleep 1000"],
    )
    assert any_site.execute(made, "sh -c 'echo $GREETING'")["output"] == "hello world\n"
    assert any_site.execute(made, "pwd")["output"] == "/tmp\n"


def test_an_unknown_image_ends_in_error_with_the_catalogue(any_site: RunningSite) -> None:
    row = any_site.get(any_site.create(image="nosuch/image:9", status="Error"))
    assert "nosuch/image:9 could not be found" in row["status_reason"]
    assert "busybox" in row["status_reason"]


def test_disk_quotas_are_not_supported(any_site: RunningSite) -> None:
    row = any_site.get(any_site.create(disk=2, status="Error"))
    assert row["status_reason"] == "Your host does not support disk quota feature."


# -- microversions


def test_before_1_20_the_command_is_a_string(zun: RunningSite) -> None:
    body = zun.body(command='sh -c "sleep 1000"')
    answer = zun.http("POST", "/v1/containers?run=true", json=body, version="1.19")
    assert answer.json()["command"] == ["sh", "-c", "sleep 1000"]
    assert refused(zun, zun.body(), version="1.19")[1] == "container.schema-validation-error"
    assert refused(zun, zun.body(command="'x"), version="1.19")[0] == 500


@pytest.mark.parametrize(
    ("more", "before"),
    [
        ({"auto_remove": True}, "1.2"),
        ({"hostname": "abc"}, "1.8"),
        ({"healthcheck": {"cmd": "true"}}, "1.21"),
        ({"exposed_ports": {"80": {}}}, "1.23"),
    ],
)
def test_attributes_are_refused_in_older_versions(
    zun: RunningSite, more: dict[str, Any], before: str
) -> None:
    command: object = ["sleep", "1"] if before == "1.21" or before == "1.23" else "sleep 1"
    status, code, title = refused(zun, zun.body(command=command, **more), version=before)
    assert (status, code) == (400, "container.invalid-param-in-version")
    assert title.startswith(f"Invalid param {next(iter(more))} because current request version is {before}.")


def test_host_entrypoint_and_device_profiles_come_late(edge: RunningSite) -> None:
    assert refused(edge, edge.body(host="x"), version="1.38")[1] == "container.schema-validation-error"
    assert (
        refused(edge, edge.body(entrypoint=["x"]), version="1.39")[1] == "container.schema-validation-error"
    )
    assert (
        refused(edge, edge.body(device_profiles=[]), version="1.40")[1] == "container.schema-validation-error"
    )
    edge.create(device_profiles=[], version="1.41")


def test_tty_follows_interactive_before_1_36(zun: RunningSite) -> None:
    made = zun.http("POST", "/v1/containers", json=zun.body(interactive=True), version="1.35").json()
    assert made["tty"] is True
    made = zun.http("POST", "/v1/containers", json=zun.body(interactive=True), version="1.36").json()
    assert made["tty"] is False


# -- what CHI@Edge wants


def test_without_a_reservation(edge: RunningSite) -> None:
    made = edge.create(hints={}, status="Error")
    assert edge.get(made)["status_reason"] == f"container {made} has no reservaton ID set."


def test_hints_null_breaks_the_call(edge: RunningSite) -> None:
    assert refused(edge, edge.body(hints=None))[0] == 500


def test_a_reservation_that_is_none_is_unschedulable(edge: RunningSite) -> None:
    row = edge.get(edge.create(hints={"reservation": "4d0dd8b9-0a50-4b5f-8b4b-59b0ae6d4a24"}, status="Error"))
    assert row["status_detail"] == "Unschedulable"
    assert row["status_reason"].startswith(
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity"
    )


@pytest.mark.parametrize("name", ["Upper", "under_score", "dot.ted", "a" * 64, "ends-"])
def test_names_must_be_labels(edge: RunningSite, name: str) -> None:
    row = edge.get(edge.create(name=name, status="Error"))
    assert row["status_reason"].startswith("(422)\nReason: Unprocessable Entity")
    assert name in row["status_reason"]


@pytest.mark.parametrize(
    "more",
    [
        {"restart_policy": {"Name": "on-failure"}},
        {"labels": {"a": "not a label!"}},
        {"healthcheck": {"cmd": "true"}},
        {"exposed_ports": {"99999/tcp": {}}},
        {"hostname": "Not_ok"},
    ],
)
def test_what_kubernetes_finds_wrong(edge: RunningSite, more: dict[str, Any]) -> None:
    assert edge.get(edge.create(status="Error", **more))["status_reason"].startswith("(422)")


def test_device_profiles(edge: RunningSite) -> None:
    row = edge.get(edge.create(device_profiles=["nosuch"], version="1.41", status="Error"))
    assert row["status_reason"].startswith("Missing mapping for device_profile 'nosuch'")
    row = edge.get(edge.create(device_profiles=["pi_gpio"], version="1.41", status="Error"))
    assert "Insufficient smarter-devices/gpiomem" in row["status_reason"]


def test_a_large_file_does_not_fit_into_a_config_map(edge: RunningSite) -> None:
    source = base64.b64encode(bytes(2**20 + 10)).decode()
    mounts = [{"type": "bind", "source": source, "destination": "/x"}]
    assert edge.get(edge.create(mounts=mounts, status="Error"))["status_reason"].startswith("(422)")


def test_too_many_containers(zun: RunningSite) -> None:
    path = f"/v1/quotas/{zun.project('other')}"
    zun.http("PUT", path, user="admin", json={"containers": 1})
    made = zun.create(user="other", run=False, status="Created")
    answer = zun.http("POST", "/v1/containers", user="other", json=zun.body())
    assert answer.status_code == 403
    assert answer.json()["errors"][0]["title"] == "Quota exceeded for resources: ['containers']"
    zun.http("DELETE", path, user="admin")
    zun.http("DELETE", f"/v1/containers/{made}", user="other")
    until(lambda: zun.http("GET", f"/v1/containers/{made}", user="other").status_code == 404)
