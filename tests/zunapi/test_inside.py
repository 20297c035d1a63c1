"""execute, logs, top and stats, as the two drivers do them."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.zunapi.running import RunningSite, until


def call(site: RunningSite, method: str, ref: str, verb: str, **query: object) -> tuple[int, Any]:
    answer = site.http(method, f"/v1/containers/{ref}/{verb}", params=query)
    return answer.status_code, answer.json()


def run(site: RunningSite, ref: str, command: str) -> tuple[int, Any]:
    return call(site, "POST", ref, "execute", command=command, run="True", interactive="False")


def code(answer: Any) -> str:
    return str(answer["errors"][0]["code"])


# -- execute


def test_output_and_exit_code(any_site: RunningSite, any_container: str) -> None:
    status, answer = run(any_site, any_container, "sh -c 'echo out; sleep 0.2; echo err >&2; exit 7'")
    assert status == 200
    assert answer == {"output": "out\nerr\n", "exit_code": 7, "exec_id": None, "proxy_url": None}


def test_there_is_no_shell(any_site: RunningSite, any_container: str) -> None:
    assert run(any_site, any_container, "echo a | cat > x; $(id) `id` 'b c'")[1]["output"] == (
        "a | cat > x; $(id) `id` b c\n"
    )


@pytest.mark.parametrize(
    "word", ["\N{SNOWMAN}", "a b", "'", '"', "$HOME", "*", "\\", "-n", "a\nb", "%s%d%2F", "%"]
)
def test_words_arrive_as_they_are(any_site: RunningSite, any_container: str, word: str) -> None:
    import shlex

    assert run(any_site, any_container, f"printf %s {shlex.quote(word)}")[1]["output"] == word


def test_a_program_that_is_not_there(
    edge: RunningSite, edge_container: str, zun: RunningSite, zun_container: str
) -> None:
    answer = run(edge, edge_container, "nosuch")[1]
    assert (answer["output"], answer["exit_code"]) == (
        "Malformed command, or binary not found in container",
        -1,
    )
    answer = run(zun, zun_container, "nosuch")[1]
    assert answer["exit_code"] == 126
    assert '"nosuch": executable file not found in $PATH' in answer["output"]


def test_the_five_seconds(
    edge: RunningSite, edge_container: str, zun: RunningSite, zun_container: str
) -> None:
    command = "sh -c 'echo part; sleep 2; touch /tmp/went-on'"
    begun = time.monotonic()
    status, answer = run(edge, edge_container, command)
    assert (status, answer["output"], answer["exit_code"]) == (200, "part\n", None)
    status, answer = run(zun, zun_container, command)
    assert (status, code(answer)) == (409, "container.conflict-remote")
    assert answer["errors"][0]["title"] == f"Timeout on executing command: {command}"
    assert time.monotonic() - begun < 4
    for site, ref in ((edge, edge_container), (zun, zun_container)):
        until(lambda site=site, ref=ref: run(site, ref, "ls /tmp/went-on")[1]["exit_code"] == 0)  # type: ignore[misc]


def test_output_that_is_not_utf8(
    edge: RunningSite, edge_container: str, zun: RunningSite, zun_container: str
) -> None:
    command = r"printf '\377\376x'"
    assert run(edge, edge_container, command)[1]["output"] == "\ufffd\ufffdx"
    assert run(zun, zun_container, command)[0] == 500


@pytest.mark.parametrize("command", ["'unbalanced", " ", ""])
def test_commands_that_are_none(any_site: RunningSite, any_container: str, command: str) -> None:
    assert run(any_site, any_container, command)[0] == (400 if command == "" else 500)


def test_execute_without_command(any_site: RunningSite, any_container: str) -> None:
    assert call(any_site, "POST", any_container, "execute")[0] == 500


def test_parameters_may_be_in_the_body(zun: RunningSite, zun_container: str) -> None:
    answer = zun.http("POST", f"/v1/containers/{zun_container}/execute", json={"command": "echo x"})
    assert answer.json()["output"] == "x\n"


@pytest.mark.parametrize("query", [{"run": "perhaps"}, {"interactive": "1"}, {"bogus": "1"}])
def test_parameters_are_checked(zun: RunningSite, zun_container: str, query: dict[str, str]) -> None:
    status, answer = call(zun, "POST", zun_container, "execute", command="true", **query)
    assert (status, code(answer)) == (400, "container.schema-validation-error")


def test_interactive_execs_are_upstreams(
    edge: RunningSite, edge_container: str, zun: RunningSite, zun_container: str
) -> None:
    status, answer = call(
        zun, "POST", zun_container, "execute", command="sh", run="false", interactive="true"
    )
    assert status == 200
    assert len(answer["exec_id"]) == 64
    assert answer["proxy_url"].startswith(zun.site.ws_url + "?token=")
    # the fork runs the command and then breaks
    command = "touch /tmp/ran"
    assert (
        call(edge, "POST", edge_container, "execute", command=command, run="false", interactive="true")[0]
        == 500
    )
    assert run(edge, edge_container, "ls /tmp/ran")[1]["exit_code"] == 0


def test_in_a_container_that_does_not_run(any_site: RunningSite) -> None:
    made = any_site.create(image="nosuch", status="Error")
    for method, verb in (
        ("POST", "execute"),
        ("GET", "top"),
        ("GET", "stats"),
        ("GET", "attach"),
        ("POST", "resize"),
    ):
        status, answer = call(any_site, method, made, verb)
        assert (status, code(answer)) == (409, "container.invalid-state-exception"), verb


# -- logs


def logs(site: RunningSite, ref: str, **query: object) -> Any:
    status, answer = call(site, "GET", ref, "logs", **query)
    return answer if status == 200 else status


def test_logs(any_site: RunningSite) -> None:
    script = "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three; exec sleep 1000"
    made = any_site.create(command=["sh", "-c", script])
    until(lambda: "three" in logs(any_site, made))
    assert logs(any_site, made) == "one\ntwo\nthree\n"
    assert logs(any_site, made, tail=1) == "three\n"
    assert logs(any_site, made, tail="all") == "one\ntwo\nthree\n"
    stamped = logs(any_site, made, timestamps="true", tail=1)
    moment, _, line = stamped.partition(" ")
    assert line == "three\n"
    assert moment[10] == "T"
    assert moment.endswith("Z")
    assert len(moment) == 30
    only = logs(any_site, made, stderr="false")
    assert only == ("one\nthree\n" if any_site.profile == "zun" else "one\ntwo\nthree\n")


def test_the_stranger_parameters_of_logs(
    edge: RunningSite, edge_container: str, zun: RunningSite, zun_container: str
) -> None:
    assert logs(zun, zun_container, stdout="false", stderr="false") == 500
    assert logs(edge, edge_container, stdout="false", stderr="false") == ""
    assert logs(zun, zun_container, tail="xyz") == ""
    assert logs(edge, edge_container, tail="xyz") == 500
    assert logs(zun, zun_container, since="2026-11-23 12:00:00,000") == ""
    assert logs(edge, edge_container, since="2026-11-23 12:00:00,000") == 500
    assert logs(zun, zun_container, since="yesterday") == 400
    assert logs(zun, zun_container, stdout="maybe") == 400
    assert logs(zun, zun_container, bogus=1) == 400


def test_since(edge: RunningSite, zun: RunningSite) -> None:
    script = ["sh", "-c", "echo early; sleep 2.2; echo late; exec sleep 1000"]
    slow_edge, slow_zun = edge.create(command=script), zun.create(command=script)
    for site, ref in ((edge, slow_edge), (zun, slow_zun)):
        until(lambda site=site, ref=ref: "late" in logs(site, ref))  # type: ignore[misc]
    now = int(time.time())
    # upstream: a moment; the fork passes it to Kubernetes as seconds ago
    assert logs(zun, slow_zun, since=now - 1) in {"late\n", ""}
    assert logs(zun, slow_zun, since=now - 1000) == "early\nlate\n"
    assert logs(edge, slow_edge, since=1) in {"late\n", ""}
    assert logs(edge, slow_edge, since=now) == "early\nlate\n"


def test_a_log_that_is_not_utf8(edge: RunningSite, zun: RunningSite) -> None:
    command = ["sh", "-c", r"printf 'a\377b\n'; exec sleep 1000"]
    made = zun.create(command=command)
    until(lambda: logs(zun, made) == "a\ufffdb\n")
    if edge.site.engine.name == "namespaces":  # Docker has replaced it before the site can see it
        made = edge.create(command=command)
        until(lambda: logs(edge, made) == 500)


def test_without_a_pod_there_is_no_log(edge: RunningSite) -> None:
    made = edge.create(command=["sh", "-c", "echo x; exec sleep 1000"])
    edge.http("POST", f"/v1/containers/{made}/stop?timeout=0")
    edge.wait(made, "Stopped")
    assert logs(edge, made) is None


# -- top, stats, terminals' sizes


def test_top(zun: RunningSite, zun_container: str, edge: RunningSite, edge_container: str) -> None:
    status, answer = call(zun, "GET", zun_container, "top", ps_args="None")
    assert status == 200
    assert answer["Titles"] == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert any("sleep" in row[-1] for row in answer["Processes"])
    assert call(edge, "GET", edge_container, "top")[0] == 500


def test_stats(zun: RunningSite, zun_container: str, edge: RunningSite) -> None:
    status, answer = call(zun, "GET", zun_container, "stats")
    assert status == 200
    assert answer["CONTAINER"] == zun.get(zun_container)["name"]
    assert answer["MEM USAGE(MiB)"] > 0
    assert answer["NET I/O(B)"].count("/") == 1
    fresh = edge.create()
    assert call(edge, "GET", fresh, "stats") == (200, None)


def test_metrics_of_a_pod_come_after_a_while(edge: RunningSite, monkeypatch: pytest.MonkeyPatch) -> None:
    from chi_edge_lab.local.zunapi import driver_k8s

    monkeypatch.setattr(driver_k8s, "METRICS_AFTER", 0.0)
    made = edge.create(command=["sh", "-c", "while :; do :; done"])
    time.sleep(1.2)
    answer = call(edge, "GET", made, "stats")[1]
    assert answer["cpu"].endswith("n")
    assert int(answer["cpu"][:-1]) > 10_000_000
    assert answer["memory"].endswith("Ki")
    edge.http("DELETE", f"/v1/containers/{made}?stop=true")


def test_resize(zun: RunningSite, zun_container: str, edge: RunningSite, edge_container: str) -> None:
    assert call(zun, "POST", zun_container, "resize", w=80, h=24) == (200, None)
    assert call(zun, "POST", zun_container, "resize", w=0, h=24)[0] == 400
    assert call(edge, "POST", edge_container, "resize", w=80, h=24)[0] == 500
    status, answer = call(zun, "POST", zun_container, "execute_resize", exec_id="a" * 64, w=80, h=24)
    assert (status, code(answer)) == (400, "container.invalid-remote")
    assert call(zun, "POST", zun_container, "execute_resize", exec_id="zz", w=80, h=24)[0] == 400
    assert call(edge, "POST", edge_container, "execute_resize", exec_id="a" * 64, w=80, h=24)[0] == 500
