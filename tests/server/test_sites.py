"""Sites: which there are, which is in use, logging in, projects, capabilities, the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.faultysite import FaultySite


async def test_nothing_is_sent_to_list_the_sites(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = FaultySite()
    try:
        for name, value in faulty.env().items():
            monkeypatch.setenv(name, value)
        found = await api("GET", "sites")
        assert found["default"]["title"] == "here"
        assert found["default"]["login"]["state"] == "not-tried"
        entry = next(one for one in found["sites"] if one["used"])
        assert (entry["name"], entry["title"], entry["source"]) == ("default", "here", "OS_* variables")
        assert {"local", "local-zun", "CHI@Edge"} < {one["name"] for one in found["sites"]} | {"x"}
        assert not faulty.requests
    finally:
        faulty.close()


async def test_a_login_is_remembered_with_user_and_project(api: Any, site: str) -> None:
    before = next(one for one in (await api("GET", "sites"))["sites"] if one["name"] == site)
    assert before["login"] == {"state": "not-tried", "user": None, "project": None, "problem": None}
    detail = await api("GET", "sites", site)
    assert detail["name"] == site
    assert (detail["user"], detail["dialect"]) == ("edge", "k8s" if site == "local" else "docker")
    after = next(one for one in (await api("GET", "sites"))["sites"] if one["name"] == site)
    assert after["login"] == {"state": "ok", "user": "edge", "project": "edge", "problem": None}
    assert (await api("POST", "sites", site, "login"))["state"] == "ok"


async def test_a_login_that_fails_says_why_and_can_be_tried_again(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = FaultySite()
    try:
        for name, value in faulty.env().items():
            monkeypatch.setenv(name, value)
        faulty.refuse_logins = True
        problem = await api("GET", "sites", "default", status=424)
        assert problem["code"] == "bad-credentials"
        assert "hunter2" not in str(problem)
        listed = await api("GET", "sites")
        assert listed["default"]["login"]["state"] == "failed"
        assert listed["default"]["login"]["problem"]["message"] == problem["message"]
        faulty.refuse_logins = False
        assert (await api("POST", "sites", "default", "login"))["user"] == "student"
        assert (await api("GET", "sites"))["default"]["login"]["state"] == "ok"
    finally:
        faulty.close()


async def test_the_site_in_use_is_chosen_and_found_again(api: Any) -> None:
    assert (await api("GET", "sites"))["default"]["name"] == "local"
    chosen = await api("PUT", "choice", body={"site": "LOCAL-ZUN", "project": "edge"})
    assert (chosen["name"], chosen["project"], chosen["chosen"]) == ("local-zun", "edge", True)
    assert (await api("GET", "sites", "default"))["dialect"] == "docker"
    # the chosen project is not another site's
    await api("PUT", "choice", body={"site": "local-zun", "project": "no-such-project"})
    assert (await api("GET", "sites", "local"))["project"] == "edge"
    await api("GET", "sites", "default", status=424)
    await api("DELETE", "choice", status=204)
    back = (await api("GET", "sites"))["default"]
    assert (back["name"], back["chosen"], back["project"]) == ("local", False, None)


@pytest.mark.parametrize(
    ("body", "status"),
    [({}, 400), ({"site": ""}, 400), ({"site": "local", "more": 1}, 400), ({"site": "no-such"}, 404)],
)
async def test_a_choice_that_cannot_be_is_one_sentence(api: Any, body: Any, status: int) -> None:
    problem = await api("PUT", "choice", body=body, status=status)
    assert problem["message"].endswith((".", "?"))
    assert "\n" not in problem["message"]


@pytest.mark.parametrize(
    "path", ["", "containers", "capabilities", "projects", "doctor", "images", "quotas", "diagnostics"]
)
async def test_an_unknown_site_is_not_there(api: Any, path: str) -> None:
    problem = await api("GET", "sites", "nowhere", *filter(None, [path]), status=404)
    assert problem["code"] == "no-site"
    assert "local" in problem["hint"]


async def test_the_projects_are_those_of_keystone(api: Any, site: str) -> None:
    assert await api("GET", "sites", site, "projects") == {"projects": ["edge"], "reason": ""}


async def test_the_doctor_looks_at_the_site(api: Any, site: str) -> None:
    found = {one["what"]: one for one in (await api("GET", "sites", site, "doctor"))["findings"]}
    assert found["login"]["state"] == "ok"
    assert site in found["login"]["sentence"]
    assert found["container API"]["state"] == "ok"


async def test_capabilities_have_a_reason_for_each_thing_that_is_missing(api: Any, site: str) -> None:
    found = await api("GET", "sites", site, "capabilities")
    pause = found["capabilities"]["pause"]
    if site == "local":
        assert pause["reason"] == "CHI@Edge's driver cannot pause a container."
        assert found["needs_reservation"]
    else:
        assert pause == {"supported": True, "reason": "", "statuses": ["Running"]}
    assert all(one["supported"] == (not one["reason"]) for one in found["capabilities"].values())
    assert found["capabilities"]["stop"]["statuses"] == ["Running"]
    assert found["name_pattern"].startswith("[a-z")
    assert found["exec_seconds"] == 5.0


class TestWithAllowedSites:
    @pytest.fixture
    def jp_server_config(self) -> dict[str, Any]:
        return {
            "ServerApp": {"jpserver_extensions": {"chi_edge_lab": True}},
            "EdgeLabLimits": {"allowed_sites": ["local-zun"]},
        }

    async def test_no_other_site_can_be_used(self, api: Any, edge_home: Path) -> None:
        listed = await api("GET", "sites")
        assert [one["name"] for one in listed["sites"]] == ["local-zun"]
        assert listed["default"]["problem"]["code"] == "no-site"  # it would be "local"
        for path in ("local", "default", "LOCAL"):
            await api("GET", "sites", path, "containers", status=404)
            await api("GET", "sites", path, "doctor", status=404)
            await api("GET", "sites", path, "diagnostics", status=404)
        await api("PUT", "choice", body={"site": "local"}, status=404)
        assert (await api("PUT", "choice", body={"site": "local-zun"}))["name"] == "local-zun"
        await api("GET", "sites", "default", "containers")


async def test_without_credentials_the_answer_says_what_to_do(api: Any) -> None:
    problem = await api("GET", "sites", "CHI@Edge", "containers", status=424)
    assert "credentials" in problem["message"]
    assert problem["hint"]
    listed = {one["name"]: one for one in (await api("GET", "sites"))["sites"]}
    assert listed["CHI@Edge"]["login"]["state"] == "failed"
