"""Version documents, microversions and routing: compared with Zun 18."""

from __future__ import annotations

import pytest
import requests

from tests.zunapi.running import RunningSite


def test_root_needs_no_token_and_tells_the_range(any_site: RunningSite) -> None:
    answer = any_site.http("GET", "/", user=None, version=None)
    version = answer.json()["versions"][0]
    assert answer.status_code == 200
    assert (version["id"], version["status"], version["min_version"]) == ("v1", "CURRENT", "1.1")
    assert version["max_version"] == ("1.41" if any_site.profile == "chi-edge" else "1.40")


def test_zunclient_discovers_the_version(any_site: RunningSite) -> None:
    client = any_site.client(version="1")  # "1" makes it ask
    assert str(client.api_version) in {"1.40", "1.41"} or client.api_version.get_string() == "1.40"


def test_version_headers_and_request_id_are_on_every_answer(any_site: RunningSite) -> None:
    answer = any_site.http("GET", "/v1/containers", version="1.20")
    assert answer.headers["OpenStack-API-Version"] == "container 1.20"
    assert answer.headers["OpenStack-API-Minimum-Version"] == "container 1.1"
    assert answer.headers["X-Openstack-Request-Id"].startswith("req-")
    missing = any_site.http("GET", "/v1/containers/nope")
    assert missing.headers["X-Openstack-Request-Id"].startswith("req-")


def test_no_header_means_one_dot_one_and_latest_the_maximum(any_site: RunningSite) -> None:
    assert (
        any_site.http("GET", "/v1/containers", version=None).headers["OpenStack-API-Version"]
        == "container 1.1"
    )
    newest = "1.41" if any_site.profile == "chi-edge" else "1.40"
    answer = any_site.http("GET", "/v1/containers", version="latest")
    assert answer.headers["OpenStack-API-Version"] == f"container {newest}"


@pytest.mark.parametrize("version", ["1.42", "2.0", "1.0"])
def test_a_version_out_of_range(any_site: RunningSite, version: str) -> None:
    answer = any_site.http("GET", "/v1/containers", version=version)
    if any_site.profile == "zun":  # upstream's error handler breaks on it
        assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (500, "text/plain")
    else:
        assert answer.status_code == 406
        assert answer.json()["errors"][0]["title"] == ""


@pytest.mark.parametrize(
    "header", ["abc", "compute 1.1", "container x.y", "container 1.2.3", "container", ""]
)
def test_a_header_that_is_no_version(zun: RunningSite, header: str) -> None:
    answer = zun.http("GET", "/v1/containers", version=None, headers={"OpenStack-API-Version": header})
    assert answer.status_code == 406


def test_no_token(any_site: RunningSite) -> None:
    for headers in ({}, {"X-Auth-Token": "nonsense"}):
        answer = requests.get(any_site.site.container_url + "/v1/containers", headers=headers, timeout=10)
        assert answer.status_code == 401
        assert answer.json()["error"]["title"] == "Unauthorized"
        assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/bogus", 404),
        ("GET", "/v1/containers/x/bogus", 404),
        ("POST", "/v1/containers/x/logs", 404),
        ("GET", "/v1/quotas", 404),
        ("PUT", "/v1/containers", 405),
        ("GET", "/v1/networks", 405),
        ("GET", "/v1/%2e%2e/etc/passwd", 404),
    ],
)
def test_paths_and_methods_that_are_not_there(zun: RunningSite, method: str, path: str, status: int) -> None:
    answer = zun.http(method, path)
    assert answer.status_code == status
    assert answer.json() == {
        "errors": [
            {"request_id": "", "code": "container.", "status": status, "title": "", "detail": "", "links": []}
        ]
    }


def test_device_profiles_tell_the_fork_from_upstream(edge: RunningSite, zun: RunningSite) -> None:
    assert edge.http("GET", "/v1/drivers/k8s/device_profiles").json()["pi_gpio"]
    assert zun.http("GET", "/v1/drivers/k8s/device_profiles").status_code == 404
