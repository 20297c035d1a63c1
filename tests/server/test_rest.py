"""What one asks about sites and containers, on both profiles."""

from __future__ import annotations

import asyncio
import io
import json
import time
import zipfile
from typing import Any

import pytest

SLEEP = ["sh", "-c", "trap 'exit 0' TERM; echo hello; sleep 3600 & wait"]
Api = Any


async def until(api: Api, site: str, uuid: str, status: str, seconds: float = 30) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        found: dict[str, Any] = await api("GET", "sites", site, "containers", uuid)
        if found["status"] == status and not found["task_state"]:
            return found
        assert time.monotonic() < end, found
        await asyncio.sleep(0.1)


async def test_a_life(api: Api, site: str, unique: str) -> None:
    where = ("sites", site, "containers")
    made = await api("POST", *where, body={"name": unique, "image": "busybox", "command": SLEEP}, status=202)
    uuid = made["uuid"]
    await until(api, site, uuid, "Running")
    assert uuid in [one["uuid"] for one in (await api("GET", *where))["containers"]]
    renamed = await api("PATCH", *where, uuid, body={"name": f"{unique}-b"})
    assert renamed["name"] == f"{unique}-b"
    await api("POST", *where, uuid, "stop", body={"grace": 2}, status=202)
    await until(api, site, uuid, "Stopped")
    await api("POST", *where, uuid, "stop", body={}, status=202)  # a double click
    await api("POST", *where, uuid, "start", status=202)
    await until(api, site, uuid, "Running")
    await api("POST", *where, uuid, "restart", body={"grace": 1}, status=202)
    await until(api, site, uuid, "Running")
    history = await api("GET", *where, uuid, "actions", events="true")
    assert {"create", "stop", "start"} <= {one["action"] for one in history["actions"]}
    await api("DELETE", *where, uuid, status=202)


async def test_what_the_dialect_lacks_is_refused_with_its_reason(api: Api, site: str, container: str) -> None:
    capabilities = (await api("GET", "sites", site, "capabilities"))["capabilities"]
    where = ("sites", site, "containers", container)
    if site == "local":
        assert not capabilities["pause"]["supported"]
        problem = await api("POST", *where, "pause", status=409)
        assert problem["message"] == capabilities["pause"]["reason"]
        assert problem["code"] == "not-supported"
    else:
        await api("POST", *where, "pause", status=202)
        await until(api, site, container, "Paused")
        await api("POST", *where, "unpause", status=202)
        await until(api, site, container, "Running")
        await api("GET", *where, "top")
        assert (await api("POST", *where, "commit", body={"repository": "mine"}, status=202))["image_id"]


async def test_environment_values_are_shown_on_request_only(api: Api, site: str, container: str) -> None:
    where = ("sites", site, "containers", container)
    assert (await api("GET", *where))["environment"] == {"PASSWORD": ""}
    assert "hunter2" not in json.dumps(await api("GET", "sites", site, "containers"))
    assert (await api("GET", *where, reveal="environment"))["environment"] == {"PASSWORD": "hunter2"}


async def test_exec_short_and_long(api: Api, site: str, container: str) -> None:
    where = ("sites", site, "containers", container)
    done = await api("POST", *where, "exec", body={"command": ["echo", "a b"]})
    assert (done["output"], done["exit_code"], done["running"]) == ("a b\n", 0, False)
    assert (await api("POST", *where, "exec", body={"command": "false"}))["exit_code"] == 1
    slow = await api(
        "POST", *where, "exec", body={"command": "sh -c 'echo one;sleep 3;echo two'", "timeout": 1}
    )
    assert slow["running"]
    while True:
        seen = await api("GET", "execs", slow["exec_id"])
        if not seen["running"]:
            break
        await asyncio.sleep(0.2)
    assert (seen["output"], seen["exit_code"]) == ("one\ntwo\n", 0)
    assert (await api("GET", "execs", slow["exec_id"], offset=4))["output"] == "two\n"
    endless = await api("POST", *where, "execs", body={"command": ["sleep", "1000"]}, status=201)
    await api("DELETE", "execs", endless["exec_id"], status=204)
    await api("GET", "execs", endless["exec_id"], status=404)
    left = await api("POST", *where, "exec", body={"command": "ps"})
    assert "sleep 1000" not in left["output"]


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("containers", {"image": "busybox"}, "name: Field required"),
        ("containers", {"name": "x_Y!", "image": "busybox"}, "name"),
        ("containers", {"name": "good-name", "image": "two words"}, "not an image reference"),
        ("containers", {"name": "good-name", "image": "busybox", "exposed_ports": [99999]}, "no port 99999"),
        ("containers", {"name": "good-name", "image": "busybox", "colour": "red"}, "colour"),
        ("containers", [], "The request does not fit"),
        ("floating_ips/detach", {"address": "nonsense"}, "not an IP address"),
    ],
)
async def test_bad_input_is_one_sentence(api: Api, site: str, path: str, body: Any, said: str) -> None:
    problem = await api("POST", "sites", site, *path.split("/"), body=body, status=400)
    assert said in problem["message"]
    assert "Traceback" not in json.dumps(problem)


async def test_a_draft_is_checked_field_by_field(api: Api, site: str) -> None:
    draft = {"name": "-", "image": "", "exposed_ports": ["80/sctp"], "environment": {"": "x"}}
    problems = (await api("POST", "sites", site, "containers", "check", body=draft))["problems"]
    assert {one["field"] for one in problems} == set(draft)
    assert (await api("POST", "sites", site, "containers", "check", body={"name": "fine"}))["problems"] == []


async def test_what_is_not_there(api: Api, site: str) -> None:
    nobody = "00000000-0000-0000-0000-000000000000"
    for method, tail in (
        ("GET", ()),
        ("DELETE", ()),
        ("POST", ("start",)),
        ("GET", ("actions",)),
        ("GET", ("stats",)),
    ):
        problem = await api(method, "sites", site, "containers", nobody, *tail, status=404)
        assert problem["code"] == "not-found"
    assert (await api("GET", "sites", "nowhere", "containers", status=404))["code"] == "no-site"
    await api("GET", "sites", site, "containers", "not-a-uuid", status=404)


async def test_sites_and_their_login(api: Api, site: str) -> None:
    detail = await api("GET", "sites", site)
    assert (detail["name"], detail["dialect"]) == (site, "k8s" if site == "local" else "docker")
    listed = {one["name"]: one for one in (await api("GET", "sites"))["sites"]}
    assert listed[site]["login"]["state"] == "ok"
    assert listed["CHI@Edge"]["login"]["state"] == "not-tried"
    assert detail["project"] in (await api("GET", "sites", site, "projects"))["projects"]
    assert (await api("POST", "sites", site, "login"))["state"] == "ok"
    findings = (await api("GET", "sites", site, "doctor"))["findings"]
    assert not [one for one in findings if one["state"] == "bad"]


async def test_a_chosen_site_is_the_default(api: Api, site: str) -> None:
    await api("PUT", "choice", body={"site": site})
    assert (await api("GET", "sites", "default"))["name"] == site
    await api("PUT", "choice", body={"site": "nowhere"}, status=404)
    await api("DELETE", "choice", status=204)


async def test_without_credentials_the_answer_says_what_to_do(api: Api) -> None:
    problem = await api("GET", "sites", "CHI@Edge", "containers", status=424)
    assert "credentials" in problem["message"]
    assert problem["hint"]
    listed = {one["name"]: one for one in (await api("GET", "sites"))["sites"]}
    assert listed["CHI@Edge"]["login"]["state"] == "failed"


async def test_resources(api: Api, site: str, container: str) -> None:
    where = ("sites", site)
    images = await api("GET", *where, "images")
    assert any(one["repo"] == "busybox" for one in images["images"])
    assert (await api("GET", *where, "availability_zones"))["zones"]
    assert (await api("GET", *where, "quotas"))["quotas"]["containers"]["limit"]
    profiles = await api("GET", *where, "device_profiles")
    assert bool(profiles["reason"]) == (site == "local-zun") or profiles["profiles"] is not None
    reservations = await api("GET", *where, "reservations")
    assert reservations["needed"] == (site == "local")
    attached = await api("POST", *where, "containers", container, "floating_ip", body={})
    listed = (await api("GET", *where, "floating_ips"))["floating_ips"]
    assert attached["address"] in [one["floating_ip_address"] for one in listed]
    await api("POST", *where, "floating_ips", "detach", body=attached, status=204)
    assert (await api("DELETE", *where, "floating_ips", address=attached["address"]))["released"]
    sample = (await api("GET", *where, "containers", container, "stats"))["stats"]
    assert (sample is None) == (site == "local")  # metrics-server has nothing of a young pod


async def test_the_bundle_has_no_secrets(api: Api, site: str, container: str) -> None:
    for tail in (("diagnostics",), ("containers", container, "diagnostics")):
        data = await api("GET", "sites", site, *tail)
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            text = "".join(bundle.read(name).decode() for name in bundle.namelist())
        assert "hunter2" not in text
        assert "could not be had" not in text
        assert "dialect" in text
