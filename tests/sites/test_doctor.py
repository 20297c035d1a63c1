"""`chi-edge-lab doctor` on sites that work and on those that do not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from chi_edge_lab.core.doctor import examine, main
from tests.faultysite import FaultySite, Reply


def states(findings: list[object]) -> dict[str, str]:
    return {one.what: one.state for one in findings}  # type: ignore[attr-defined]


def test_a_site_that_works(env: dict[str, str]) -> None:
    findings = examine()
    assert set(states(findings).values()) == {"ok"}
    text = " ".join(one.sentence for one in findings)
    for words in (
        "edge in project edge",
        "API 1.41",
        "driver is k8s",
        "in this project",
        "The site lends a standing one",
    ):
        assert words in text
    assert env["OS_PASSWORD"] not in text


def test_the_command_line(
    env: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"what", "state", "sentence", "next_step"} == set(findings[0])
    monkeypatch.setenv("OS_PASSWORD", "wrong")
    assert main([]) == 1
    shown = capsys.readouterr().out
    assert "BAD  login:" in shown
    assert "-> Check user, password" in shown


def test_a_site_nobody_knows() -> None:
    last = examine("nowhere")[-1]
    assert (last.what, last.state) == ("login", "bad")
    assert "local-zun" in last.next_step


def test_a_site_that_is_ill(faulty: FaultySite, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in faulty.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_ID", "i")
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", "s")
    monkeypatch.setenv("OS_AUTH_TYPE", "v3applicationcredential")
    faulty.say("GET", "/v1/containers", Reply(503))
    found = examine()
    assert [one.sentence.split(":")[0] for one in found if one.what == "credentials"]
    assert states(found)["containers"] == "bad"
    assert states(found)["container API"] == "ok"
    assert states(found)["reservation"] == "ok"
    faulty.say("GET", "/v1/containers", {"containers": []})
    faulty.say(
        "GET", "/v1/quotas/0123456789abcdef0123456789abcdef", {"containers": {"limit": 2, "in_use": 2}}
    )
    assert states(examine())["quota"] == "warn"


def test_a_broken_clouds_yaml_is_told_though_it_is_not_used(env: dict[str, str]) -> None:
    Path(os.environ["OS_CLIENT_CONFIG_FILE"]).write_text("clouds: [")
    found = states(examine())
    assert found["clouds.yaml"] == "warn"
    assert "bad" not in found.values()
