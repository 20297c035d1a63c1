"""Containers over REST: list, get, create, rename, delete, and what changes their state."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError


async def test_a_container_lives(api: Any, box: Any, site: str) -> None:
    uuid = await box.create(environment={"SECRET_KEY": "hunter2hunter2", "N": 3}, labels={"who": "me"})
    listed = await api("GET", "sites", site, "containers", status=200)
    mine = next(one for one in listed["containers"] if one["uuid"] == uuid)
    assert mine["environment"] == {"SECRET_KEY": "", "N": ""}
    assert mine["labels"]["who"] == "me"
    assert "hunter2" not in str(listed) + str(await box.ask("GET", uuid))
    shown = await box.ask("GET", uuid, reveal="environment")
    assert shown["environment"] == {"SECRET_KEY": "hunter2hunter2", "N": "3"}
    assert "links" not in shown

    renamed = await box.ask("PATCH", uuid, body={"name": f"{box.name}-new"})
    assert renamed["name"] == f"{box.name}-new"

    for _ in range(2):  # the second one is a double click
        await box.ask("POST", uuid, "stop", body={"grace": 2}, status=202)
    await box.until(uuid, "Stopped")
    await box.ask("POST", uuid, "stop", status=202)
    for _ in range(2):
        await box.ask("POST", uuid, "start", status=202)
    await box.until(uuid, "Running")
    await box.ask("POST", uuid, "restart", body={"grace": 1}, status=202)
    await box.until(uuid, "Running")

    history = (await box.ask("GET", uuid, "actions"))["actions"]
    assert history[0]["action"] == "create"
    assert {"stop", "start"} <= {one["action"] for one in history}
    assert [one["start_time"] for one in history] == sorted(one["start_time"] for one in history)
    with_events = (await box.ask("GET", uuid, "actions", events="true"))["actions"]
    assert with_events[0]["events"][0]["result"] == "Success"

    assert await box.ask("DELETE", uuid, status=202) == {"deleted": True}
    await box.ask("DELETE", uuid, status=202)
    for _ in range(200):
        listed = await api("GET", "sites", site, "containers")
        if uuid not in {one["uuid"] for one in listed["containers"]}:
            break
        await asyncio.sleep(0.05)
    assert await box.ask("DELETE", uuid, status=202) == {"deleted": False}


async def test_a_list_of_one_status(box: Any, jp_fetch: Any, api: Any, site: str) -> None:
    uuid = await box.create()

    async def of(status: str) -> set[str]:
        path = ("chi-edge-lab", "api", "sites", site, "containers")
        reply = await jp_fetch(*path, params={"status": status})
        return {one["uuid"] for one in json.loads(reply.body)["containers"]}

    assert uuid in await of("running")
    assert uuid not in await of("Stopped")


@pytest.mark.parametrize("verb", ["pause", "unpause", "kill", "commit", "rebuild"])
async def test_what_the_site_lacks_is_refused_with_the_reason(box: Any, site: str, verb: str) -> None:
    if site != "local":
        return  # the docker driver can: see the next test
    uuid = await box.create()
    body = {"repository": "mine"} if verb == "commit" else {}
    problem = await box.ask("POST", uuid, verb, body=body, status=409)
    assert problem["code"] == "not-supported"
    assert problem["message"].startswith("CHI@Edge's driver cannot")
    assert verb not in {one["action"] for one in (await box.ask("GET", uuid, "actions"))["actions"]}


async def test_upstream_pauses_kills_commits_and_lists_processes(box: Any, site: str) -> None:
    if site == "local":
        return  # CHI@Edge cannot: see the test before
    uuid = await box.create()
    for _ in range(2):
        await box.ask("POST", uuid, "pause", status=202)
    await box.until(uuid, "Paused")
    for _ in range(2):
        await box.ask("POST", uuid, "unpause", status=202)
    await box.until(uuid, "Running")
    top = await box.ask("GET", uuid, "top")
    assert any("sh" in " ".join(row) for row in top["rows"])
    assert (await box.ask("POST", uuid, "commit", body={"repository": box.name}, status=202))["image_id"]
    await box.until(uuid, "Running")  # upstream pauses it meanwhile
    await box.ask("POST", uuid, "rebuild", status=202)
    await box.until(uuid, "Running")
    await box.ask("POST", uuid, "kill", body={"signal": "term"}, status=202)
    await box.until(uuid, "Stopped")
    problem = await box.ask("POST", uuid, "kill", status=409)
    assert (problem["code"], problem["message"].split(" is ")[1]) == (
        "invalid-state", "Stopped, so the site does not kill it."
    )  # fmt: skip


async def test_a_wrong_state_is_a_sentence_with_the_state(box: Any, site: str) -> None:
    uuid = await box.create()
    await box.ask("POST", uuid, "stop", body={"grace": 1}, status=202)
    await box.until(uuid, "Stopped")
    problem = await box.ask("POST", uuid, "exec", body={"command": "true"}, status=409)
    assert "does not run" in problem["message"]
    problem = await box.ask("GET", uuid, "stats", status=409)
    assert problem["code"] == "invalid-state"
    if site == "local-zun":
        problem = await box.ask("POST", uuid, "pause", status=409)
        assert "Stopped, so the site does not pause it." in problem["message"]


async def test_a_double_click_on_create_makes_one_container(api: Any, box: Any, site: str) -> None:
    body = {"name": box.name, "image": "busybox", "command": "sleep 1000"}
    both = await asyncio.gather(
        *(api("POST", "sites", site, "containers", body=body, status=202) for _ in range(2))
    )
    box.made += sorted({one["uuid"] for one in both})
    assert len(box.made) == 1
    other = await api("POST", "sites", site, "containers", body={**body, "command": "sleep 1001"}, status=202)
    box.made.append(other["uuid"])
    assert len(set(box.made)) == 2


async def test_a_create_that_is_not_to_start(box: Any, site: str) -> None:
    if site == "local":
        uuid = await box.create(start=False, until="Running")  # CHI@Edge starts what it creates
    else:
        uuid = await box.create(start=False, until="Created")
        await box.ask("POST", uuid, "start", status=202)
        await box.until(uuid, "Running")


BAD = [
    ({}, "name"),
    ({"name": "x", "image": "busybox"}, "2 to"),
    ({"name": "good", "image": ""}, "image"),
    ({"name": "good", "image": "busybox", "exposed_ports": [99999]}, "99999"),
    ({"name": "good", "image": "busybox", "command": "sh -c 'oops"}, "quot"),
    ({"name": "good", "image": "busybox", "environment": {"A=B": "1"}}, "A=B"),
    ({"name": "good", "image": "busybox", "environment": {"A": {}}}, "A"),
    ({"name": "good", "image": "busybox", "environment": ["A"]}, "dict"),
    ({"name": "good", "image": "busybox", "cpu": "many"}, "cpu"),
    ({"name": "good", "image": "busybox", "surprise": 1}, "surprise"),
    ({"name": ["no"], "image": "busybox"}, "string"),
]


@pytest.mark.parametrize(("body", "said"), BAD)
async def test_a_bad_body_of_create_is_one_sentence(api: Any, site: str, body: Any, said: str) -> None:
    problem = await api("POST", "sites", site, "containers", body=body, status=400)
    assert said in f"{problem['message']} {problem['hint']}"
    assert "\n" not in problem["message"]


async def test_an_image_that_is_not_there_names_those_that_are(api: Any, box: Any, site: str) -> None:
    body = {"name": box.name, "image": "no-such-image:1"}
    reply = await api("POST", "sites", site, "containers", body=body, status=202)
    box.made.append(reply["uuid"])
    failed = await box.until(reply["uuid"], "Error")
    assert "no-such-image" in failed["status_reason"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", (), {}),
        ("PATCH", (), {"name": "-"}),
        ("PATCH", (), {"name": "ok-name", "cpu": 1}),
        ("POST", ("stop",), {"grace": -1}),
        ("POST", ("stop",), {"grace": "soon"}),
        ("POST", ("restart",), {"grace": 1e9}),
        ("POST", ("rebuild",), {"image": 7}),
        ("POST", ("exec",), {}),
        ("POST", ("exec",), {"command": ""}),
        ("POST", ("exec",), {"command": "true", "timeout": 0}),
        ("POST", ("exec",), {"command": "true", "timeout": 1e6}),
        ("POST", ("execs",), {"command": []}),
        ("POST", ("execs",), {"command": ["a\0b"]}),
        ("POST", ("floating_ips",), {"address": "not an address"}),
    ],
)
async def test_bad_bodies_are_one_sentence(box: Any, method: str, path: Any, body: Any) -> None:
    uuid = await box.create(until="")
    problem = await box.ask(method, uuid, *path, body=body, status=400)
    assert problem["code"] == "bad-input"
    assert "\n" not in problem["message"]


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', "\xff"])
async def test_a_body_that_is_no_object_is_refused(jp_fetch: Any, api: Any, site: str, text: str) -> None:
    with pytest.raises(HTTPClientError) as caught:
        await jp_fetch("chi-edge-lab", "api", "sites", site, "containers", method="POST", body=text)
    assert caught.value.code == 400


async def test_a_draft_is_checked_field_by_field(api: Any, site: str) -> None:
    async def check(**body: Any) -> tuple[dict[str, str], dict[str, str]]:
        reply = await api("POST", "sites", site, "containers", "check", body=body, status=200)
        problems, notes = (
            {one["field"]: one["message"] for one in reply[kind]} for kind in ("problems", "notes")
        )
        return problems, notes

    lent = (
        {"reservation_id": "The local site's standing reservation will be used."} if site == "local" else {}
    )
    assert await check() == ({}, lent)
    wrong = {
        "name": "-",
        "image": "a b",
        "exposed_ports": ["80/sctp"],
        "environment": {"": "x"},
        "command": "'",
    }
    assert set((await check(**wrong))[0]) == set(wrong)
    assert await check(name="fine", image="busybox") == ({}, lent)
    problems, notes = await check(name="good-name", image="busybox", command="echo a | cat")
    assert not problems
    assert "No shell interprets |" in notes["command"]
    problems, _ = await check(name="good-name", image="busybox", device_profiles=["pi_gpio"])
    assert set(problems) == (set() if site == "local" else {"device_profiles"})
    problems, _ = await check(exposed_ports=[80], security_groups=["default"])
    assert set(problems) == {"exposed_ports"}
    assert (await api("GET", "sites", site, "containers"))["containers"] == []
