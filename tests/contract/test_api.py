"""What Zun's API says of itself: versions, errors, requests it does not take."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.conftest import ZunSite


def test_version_document_names_the_range(site: ZunSite) -> None:
    endpoint = site.session.get_endpoint(service_type="container", region_name=site.env.get("OS_REGION_NAME"))
    assert endpoint.rstrip("/").endswith("/v1")
    document = site.session.get(endpoint.rstrip("/")[: -len("v1")], authenticated=False).json()
    version = document["versions"][0]
    assert (version["id"], version["status"]) == ("v1", "CURRENT")
    assert (version["min_version"], version["max_version"]) == ("1.1", site.max_version)


def test_answers_carry_version_and_request_id(site: ZunSite) -> None:
    answer = site.request("GET", "/containers")
    assert answer.headers["OpenStack-API-Version"] == f"container {site.max_version}"
    assert answer.headers["OpenStack-API-Minimum-Version"] == "container 1.1"
    assert answer.headers["OpenStack-API-Maximum-Version"] == f"container {site.max_version}"
    assert answer.headers["X-Openstack-Request-Id"].startswith("req-")


def test_no_version_header_means_1_1(site: ZunSite) -> None:
    answer = site.request("GET", "/containers", headers={"OpenStack-API-Version": ""})
    assert answer.headers["OpenStack-API-Version"] == "container 1.1"


def test_latest_means_the_maximum(site: ZunSite) -> None:
    answer = site.request("GET", "/containers", version="latest")
    assert answer.headers["OpenStack-API-Version"] == f"container {site.max_version}"


@pytest.mark.parametrize("header", ["container abc", "compute 1.1"])
def test_malformed_version_is_406(site: ZunSite, header: str) -> None:
    assert site.request("GET", "/containers", headers={"OpenStack-API-Version": header}).status_code == 406


def test_version_above_the_maximum(site: ZunSite) -> None:
    """Upstream answers a bare 500 where it means 406 (http_error.py); either way it is not served."""
    assert site.request("GET", "/containers", version="1.99").status_code in (406, 500)


def test_no_token_is_401_of_keystonemiddleware(site: ZunSite) -> None:
    answer = site.request("GET", "/containers", authenticated=False)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def error(answer: Any) -> dict[str, Any]:
    errors: list[dict[str, Any]] = answer.json()["errors"]
    assert len(errors) == 1
    assert errors[0]["status"] == answer.status_code
    assert errors[0]["request_id"] == ""
    return errors[0]


def test_unknown_container_is_404(site: ZunSite) -> None:
    answer = site.request("GET", "/containers/no-such-container")
    assert answer.status_code == 404
    assert error(answer)["code"] == "container.container-not-found"
    assert error(answer)["title"] == "Container no-such-container could not be found."


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"image": "x"},
        {"image": "busybox", "bogus": 1},
        {"image": "busybox", "name": "c"},
        {"image": "busybox", "command": "sleep 1"},
        {"image": "busybox", "environment": {"A": {}}},
        {"image": "busybox", "exposed_ports": {"99999x": {}}},
        {"image": "busybox", "memory": "1"},
    ],
    ids=["no image", "image too short", "unknown key", "name too short", "command a string", "environment a dict",
         "a port that is none", "memory below 4"],
)  # fmt: skip
def test_create_bodies_that_do_not_fit_the_schema_are_400(site: ZunSite, body: dict[str, Any]) -> None:
    answer = site.request("POST", "/containers", json=body)
    assert answer.status_code == 400, answer.text
    error(answer)


def test_body_that_is_not_json_is_400(site: ZunSite) -> None:
    answer = site.request("POST", "/containers", data=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


@pytest.mark.parametrize("query", ["bogus=1", "sort_key=bogus", "limit=-1"])
def test_list_queries_that_are_refused(site: ZunSite, query: str) -> None:
    assert site.request("GET", f"/containers?{query}").status_code == 400


@pytest.mark.parametrize("path", ["/services", "/containers?all_projects=true"])
def test_admin_calls_are_403(site: ZunSite, path: str) -> None:
    answer = site.request("GET", path)
    assert answer.status_code == 403
    assert error(answer)["code"] == "container.policy-not-authorized"


def test_privileged_is_403(site: ZunSite) -> None:
    answer = site.request("POST", "/containers", json={**site.create_arguments(), "privileged": True})
    assert answer.status_code == 403


def test_rename_by_post_ended_with_1_13(site: ZunSite, running: Any) -> None:
    assert site.request("POST", f"/containers/{running.uuid}/rename?name=other-name").status_code == 406


def test_device_profiles_tell_the_dialect(site: ZunSite) -> None:
    answer = site.request("GET", "/drivers/k8s/device_profiles")
    assert answer.status_code == (200 if site.dialect == "k8s" else 404)


def test_quotas_of_the_own_project(site: ZunSite) -> None:
    own = site.session.get_project_id()
    limits = site.request("GET", f"/quotas/{own}").json()
    assert set(limits) == {"containers", "memory", "disk", "cpu"}
    used = site.request("GET", f"/quotas/{own}", params={"usages": "True"}).json()
    assert set(used["containers"]) == {"limit", "in_use"}
    assert site.request("GET", "/quotas/00000000000000000000000000000000").status_code == 403
