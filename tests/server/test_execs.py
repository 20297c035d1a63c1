"""Commands in containers: short and long ones, their output, their end."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest


async def ended(api: Any, id: str) -> dict[str, Any]:
    """A long exec with all its output, once it has ended."""
    for _ in range(300):
        found = await api("GET", "execs", id)
        if not found["running"]:
            return dict(found)
        await asyncio.sleep(0.05)
    raise AssertionError(f"still running: {found}")


async def test_a_short_command_gives_output_and_exit_code(api: Any, box: Any) -> None:
    uuid = await box.create()
    reply = await box.ask("POST", uuid, "exec", body={"command": "sh -c 'echo hé; exit 3'"})
    assert (reply["running"], reply["output"], reply["exit_code"], reply["exec_id"]) == (
        False,
        "hé\n",
        3,
        None,
    )
    assert (reply["offset"], reply["next"]) == (0, 4)  # bytes
    words = await box.ask("POST", uuid, "exec", body={"command": ["echo", "a  b", "$HOME", ""]})
    assert words["output"] == "a  b $HOME \n"
    missing = await box.ask("POST", uuid, "exec", body={"command": "no-such-program"})
    assert missing["exit_code"] == 127
    assert (await api("GET", "execs"))["execs"] == []


async def test_a_command_that_takes_longer_goes_on(api: Any, box: Any) -> None:
    uuid = await box.create()
    body = {"command": ["sh", "-c", "echo one; sleep 4; echo two; exit 7"], "timeout": 1}
    reply = await box.ask("POST", uuid, "exec", body=body)
    assert (reply["running"], reply["output"], reply["exit_code"]) == (True, "one\n", None)
    found = await ended(api, reply["exec_id"])
    assert (found["output"], found["exit_code"]) == ("one\ntwo\n", 7)
    assert found["uuid"] == uuid
    rest = await api("GET", "execs", reply["exec_id"], offset=4)
    assert (rest["offset"], rest["output"], rest["next"]) == (4, "two\n", 8)
    assert (await box.ask("POST", uuid, "exec", body={**body, "timeout": 10}))["output"] == "one\ntwo\n"


async def test_a_long_command_is_followed_on_the_event_socket(api: Any, box: Any, events: Any) -> None:
    uuid = await box.create()
    body = {"command": ["sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.4; done; exit 2"]}
    begun = await box.ask("POST", uuid, "execs", body=body, status=201)
    assert begun["running"]
    client = await events()
    client.subscribe(1, "exec", exec_id=begun["exec_id"])
    last = await client.until(1, "exit")
    assert last["data"] == {"exit_code": 2, "problem": None}
    texts = [one["data"] for one in client.messages[1] if one["type"] in {"snapshot", "output"}]
    assert "".join(one["text"] for one in texts) == "1\n2\n3\n4\n5\n"
    assert [one["offset"] for one in texts[1:]] == [
        one["next"] for one in texts[:-1]
    ]  # none lost, none twice
    await client.until(1, "end")
    client.subscribe(2, "exec", exec_id=begun["exec_id"])  # after its end
    snapshot = await client.until(2, "snapshot")
    assert snapshot["data"]["text"] == "1\n2\n3\n4\n5\n"
    assert (snapshot["data"]["running"], snapshot["data"]["exit_code"]) == (False, 2)
    await client.until(2, "end")
    client.subscribe(3, "exec", exec_id="no-such-exec")
    assert (await client.until(3, "problem"))["data"]["code"] == "missing"


async def test_a_long_command_is_killed_and_leaves_nothing(api: Any, box: Any) -> None:
    uuid = await box.create()
    begun = await box.ask("POST", uuid, "execs", body={"command": "sleep 4321"}, status=201)
    listed = await api("GET", "execs")
    assert [one["exec_id"] for one in listed["execs"]] == [begun["exec_id"]]
    await api("DELETE", "execs", begun["exec_id"], status=204)
    await api("GET", "execs", begun["exec_id"], status=404)
    await api("DELETE", "execs", begun["exec_id"], status=404)
    script = "ps; ls -A ${TMPDIR:-/tmp} /tmp | grep chi-edge-lab-run | sort -u"
    left = (await box.ask("POST", uuid, "exec", body={"command": ["sh", "-c", script]}))["output"]
    assert "sleep 4321" not in left
    assert left.count("\n.chi-edge-lab-run-") == 1  # this command's own


async def test_a_command_in_a_container_that_is_deleted_is_lost_and_says_so(api: Any, box: Any) -> None:
    uuid = await box.create()
    begun = await box.ask("POST", uuid, "execs", body={"command": "sleep 600"}, status=201)
    await box.delete()
    found = await ended(api, begun["exec_id"])
    assert found["exit_code"] is None
    assert found["problem"]["message"]


async def test_a_command_that_cannot_be_started(box: Any) -> None:
    uuid = await box.create(until="")
    problem = await box.ask("POST", uuid, "execs", body={"command": "echo '"}, status=400)
    assert "quot" in problem["message"]


class TestWithSmallLimits:
    @pytest.fixture
    def jp_server_config(self) -> dict[str, Any]:
        limits = {"execs": 2, "exec_output": 4096, "exec_keep": 60.0, "exec_longest": 10.0}
        return {"ServerApp": {"jpserver_extensions": {"chi_edge_lab": True}}, "EdgeLabLimits": limits}

    async def test_output_and_number_are_bounded(self, api: Any, box: Any) -> None:
        uuid = await box.create()
        script = "i=0; while [ $i -lt 3000 ]; do echo é$i; i=$((i+1)); done; sleep 1"
        begun = await box.ask("POST", uuid, "execs", body={"command": ["sh", "-c", script]}, status=201)
        found = await ended(api, begun["exec_id"])
        assert found["next"] == sum(len(f"é{i}\n".encode()) for i in range(3000))
        assert found["offset"] == found["next"] - 4096
        assert found["output"].endswith("é2999\n")
        # one that has ended makes room
        for _ in range(2):
            await box.ask("POST", uuid, "execs", body={"command": "sleep 100"}, status=201)
        problem = await box.ask("POST", uuid, "execs", body={"command": "sleep 100"}, status=429)
        assert "c.EdgeLabLimits.execs" in problem["hint"]
        await api("GET", "execs", begun["exec_id"], status=404)

    async def test_what_still_runs_is_killed_when_the_server_stops(
        self, api: Any, box: Any, jp_serverapp: Any
    ) -> None:
        uuid = await box.create()
        await box.ask("POST", uuid, "execs", body={"command": "sleep 5432"}, status=201)
        services = jp_serverapp.web_app.settings["chi_edge_lab_services"]
        began = time.monotonic()
        await services.execs.stop()
        assert time.monotonic() - began < 6
        assert len(services.execs) == 0
        assert "5432" not in (await box.ask("POST", uuid, "exec", body={"command": "ps"}))["output"]
