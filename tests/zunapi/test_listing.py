"""Lists, names, projects, policy, actions and the other resources."""

from __future__ import annotations

from typing import Any

import pytest

from tests.zunapi.running import RunningSite, until


def names(site: RunningSite, query: str = "", user: str = "edge") -> list[str]:
    answer = site.http("GET", f"/v1/containers{query}", user=user)
    assert answer.status_code == 200, answer.text
    return [row["name"] for row in answer.json()["containers"]]


@pytest.fixture(scope="module")
def five(zun: RunningSite) -> list[str]:
    """Five containers of another project, in the order they were made."""
    return [zun.create(user="other", run=False, status="Created", name=f"many-{i}") for i in (3, 1, 5, 2, 4)]


def test_pages(zun: RunningSite, five: list[str]) -> None:
    answer = zun.http("GET", "/v1/containers?limit=2", user="other").json()
    assert [row["uuid"] for row in answer["containers"]] == five[:2]
    assert answer["next"].endswith(f"/v1/containers?sort_key=id&sort_dir=asc&limit=2&marker={five[1]}")
    assert "links" not in answer["containers"][0]
    seen, query = [], "?limit=2"
    while query:
        answer = zun.http("GET", f"/v1/containers{query}", user="other").json()
        seen += [row["uuid"] for row in answer["containers"]]
        query = "?" + answer["next"].partition("?")[2] if answer["next"] else ""
    assert seen == five
    client = zun.client("other")
    assert [one.uuid for one in client.containers.list(limit=3)] == five[:3]
    assert [one.uuid for one in client.containers.list()] == five


def test_order_and_filters(zun: RunningSite, five: list[str]) -> None:
    assert names(zun, "?sort_key=name", "other") == [f"many-{i}" for i in range(1, 6)]
    assert names(zun, "?sort_key=name&sort_dir=desc&limit=2", "other") == ["many-5", "many-4"]
    assert names(zun, "?name=many-3", "other") == ["many-3"]
    assert names(zun, "?status=Running", "other") == []
    assert len(names(zun, "?status=Created&auto_remove=false&image=busybox", "other")) == 5


@pytest.mark.parametrize(
    ("query", "status", "title"),
    [
        ("bogus=1", 400, "Unknown parameters: bogus"),
        ("limit=-1", 400, "Limit must be positive integer"),
        ("limit=x", 400, "Limit must be positive integer"),
        ("sort_dir=up", 400, "Invalid sort direction: up. Acceptable values are 'asc' or 'desc'"),
        ("sort_key=bogus", 400, 'The sort_key value "bogus" is an invalid field for sorting'),
        ("marker=nosuch", 404, "Container nosuch could not be found."),
        ("host=x", 403, "Policy doesn't allow container:get_one:host to be performed."),
        ("all_projects=1", 403, "Policy doesn't allow container:get_all_all_projects to be performed."),
    ],
)
def test_what_lists_refuse(any_site: RunningSite, query: str, status: int, title: str) -> None:
    answer = any_site.http("GET", f"/v1/containers?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["title"]) == (status, title)


def test_projects_do_not_see_each_other(any_site: RunningSite) -> None:
    made = any_site.create(image="nosuch", status="Error", name="secret-name")
    for ref in (made, "secret-name"):
        for method, path in (
            ("GET", ""), ("DELETE", ""), ("POST", "/start"), ("POST", "/execute?command=id"), ("GET", "/logs"),
            ("GET", "/attach"), ("GET", "/container_actions"), ("GET", "/get_archive?path=/"),
        ):  # fmt: skip
            answer = any_site.http(method, f"/v1/containers/{ref}{path}", user="other")
            assert answer.status_code == 404, (method, path)
            assert answer.json()["errors"][0]["title"] == f"Container {ref} could not be found."
    assert "secret-name" not in names(any_site, user="other")
    assert "secret-name" in names(any_site, "?all_projects=1", user="admin")
    assert any_site.http("GET", f"/v1/containers/{made}", user="admin").status_code == 200


def test_two_of_one_name(any_site: RunningSite) -> None:
    first, second = (any_site.create(image="nosuch", status="Error", name="twin") for _ in range(2))
    answer = any_site.http("GET", "/v1/containers/twin")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (409, "container.conflict")
    assert answer.json()["errors"][0]["title"] == (
        "Multiple containers exist with same name. Please use the container uuid instead."
    )
    any_site.http("DELETE", f"/v1/containers/{first}")
    any_site.gone(first)
    assert any_site.get("twin")["uuid"] == second
    assert any_site.get(second.upper())["uuid"] == second


# -- actions


def test_actions(any_site: RunningSite) -> None:
    answer = any_site.http("POST", "/v1/containers?run=true", json=any_site.body())
    made, request_id = answer.json()["uuid"], answer.headers["X-Openstack-Request-Id"]
    any_site.wait(made, "Running")
    stopped = any_site.http("POST", f"/v1/containers/{made}/stop?timeout=0")
    any_site.wait(made, "Stopped")
    path = f"/v1/containers/{made}/container_actions"

    def finished() -> bool:
        return all(one["finish_time"] for one in any_site.http("GET", path).json()["containerActions"])

    until(finished)
    actions = any_site.http("GET", path).json()["containerActions"]
    assert [one["action"] for one in actions] == ["stop", "create"]
    assert actions[1]["request_id"] == request_id
    assert actions[0]["request_id"] == stopped.headers["X-Openstack-Request-Id"]
    assert actions[1]["message"] is None
    assert actions[1]["start_time"] < actions[1]["finish_time"]
    one = any_site.http("GET", f"{path}/{request_id}").json()
    assert [event["event"] for event in one["events"]] == [
        "compute__do_container_start",
        "compute__do_container_create",
    ]
    assert {event["result"] for event in one["events"]} == {"Success"}
    missing = any_site.http("GET", f"{path}/req-none")
    assert missing.status_code == 404
    assert missing.json()["errors"][0]["title"] == "The Action resource req-none could not be found."


def test_actions_that_failed(any_site: RunningSite) -> None:
    made = any_site.create(image="nosuch", status="Error")
    path = f"/v1/containers/{made}/container_actions"
    until(lambda: any_site.http("GET", path).json()["containerActions"][0]["message"] == "Error")
    request_id = any_site.http("GET", path).json()["containerActions"][0]["request_id"]
    (event,) = any_site.http("GET", f"{path}/{request_id}").json()["events"]
    assert (event["result"], event["traceback"]) == ("Error", None)
    (event,) = any_site.http("GET", f"{path}/{request_id}", user="admin").json()["events"]
    assert "nosuch" in event["traceback"]


# -- everything else python-zunclient asks for


def test_availability_zones(any_site: RunningSite) -> None:
    assert [zone.availability_zone for zone in any_site.client().availability_zones.list()] == ["nova"]


def test_for_administrators(any_site: RunningSite) -> None:
    client = any_site.client("admin")
    (host,) = client.hosts.list()
    assert host.cpus >= 1
    assert client.hosts.get(host.uuid).hostname == host.hostname
    (service,) = client.services.list()
    assert (service.binary, service.state) == ("zun-compute", "up")
    images = client.images.list()
    assert "busybox" in [image.repo for image in images]
    assert client.images.get(images[0].uuid).repo == images[0].repo
    assert client.quotas.get("p").containers == 40
    assert client.quotas.get("p", usages=True).containers["limit"] == 40
    client.quotas.update("p", containers=7)
    assert client.quotas.get("p").containers == 7
    assert client.quotas.defaults("p").containers == 40
    client.quotas.delete("p")
    assert client.quotas.get("p").containers == 40
    client.quota_classes.update("default", containers=30)
    assert client.quotas.get("p").containers == 30
    client.quota_classes.update("default", containers=40)


@pytest.mark.parametrize("path", ["/v1/hosts", "/v1/services", "/v1/quotas/x", "/v1/quota_classes/default"])
def test_not_for_members(any_site: RunningSite, path: str) -> None:
    answer = any_site.http("GET", path)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (
        403,
        "container.policy-not-authorized",
    )


def test_registries(any_site: RunningSite) -> None:
    client = any_site.client()
    made = client.registries.create(name="mine", domain="registry.invalid", username="me", password="secret")
    assert client.registries.get("mine").registry["password"] == "***"
    client.registries.update("mine", username="you")
    assert client.registries.get(made.registry["uuid"]).registry["username"] == "you"
    assert "mine" not in [one.name for one in any_site.client("other").registries.list()]
    assert any_site.http("GET", "/v1/registries/mine", user="other").status_code == 404
    client.registries.delete(made.registry["uuid"])
    assert client.registries.list() == []
    assert any_site.http("POST", "/v1/registries", json={"registry": {"name": "xx"}}).status_code == 400
    assert any_site.http("GET", "/v1/registries", version="1.29").status_code == 406


def test_image_search(zun: RunningSite, edge: RunningSite) -> None:
    found: list[Any] = zun.http("GET", "/v1/images/busybox/search", user="admin").json()
    assert found[0]["name"] == "busybox"
    assert edge.http("GET", "/v1/images/busybox/search", user="admin").status_code == 500


def test_capsules_and_networks_are_not_there(any_site: RunningSite) -> None:
    assert any_site.http("GET", "/v1/capsules").json()["capsules"] == []
    assert any_site.http("POST", "/v1/capsules", json={}).status_code == 400
    assert any_site.http("POST", "/v1/capsules", json={"template": {}}).status_code == 500
    assert any_site.http("GET", "/v1/capsules/x").status_code == 404
    assert any_site.http("POST", "/v1/networks", json={"neutron_net_id": "x"}).status_code == 400
    assert any_site.http("POST", "/v1/networks", json={"neutron_net_id": "x", "name": "y"}).status_code == 403
