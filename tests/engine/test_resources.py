"""Figures, processes, pausing and limits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from chi_edge_lab.local.engines.base import EngineError, NotRunning
from chi_edge_lab.local.engines.namespaces import processes
from chi_edge_lab.local.engines.namespaces.sandbox.cgroups import Group

from .conftest import wait_until

BUSY = ("sh", "-c", "echo ready; while :; do :; done")


def cpu(engine, identifier):
    first = engine._containers.first(engine._containers.home(identifier))
    return sum(process.cpu_seconds for process in processes.members(first))


def test_stats_count_what_is_used(engine, run):
    identifier = run(*BUSY)
    before, begun = engine.stats(identifier), time.monotonic()
    time.sleep(0.4)
    after, passed = engine.stats(identifier), time.monotonic() - begun
    assert 0.2 * passed < after.cpu_seconds - before.cpu_seconds < 1.3 * passed
    assert after.memory_bytes > 10_000
    assert after.memory_limit_bytes > 2**28
    assert after.pids == 1
    engine.stop(identifier, timeout=0)
    with pytest.raises(NotRunning):
        engine.stats(identifier)


def test_stats_count_memory_traffic_and_finished_commands(engine, run):
    identifier = run(
        "python3",
        "-c",
        "x = bytearray(60_000_000); print(1, flush=True); input()",
        image="python",
        interactive=True,
        memory_mib=512,
    )
    wait_until(lambda: list(engine.logs(identifier)))
    stats = engine.stats(identifier)
    assert 60_000_000 < stats.memory_bytes < 150_000_000
    assert stats.memory_limit_bytes == 512 * 2**20
    engine.execute(identifier, ["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"])
    later = engine.stats(identifier)
    assert later.cpu_seconds > stats.cpu_seconds + 0.02
    with pytest.raises(ConnectionRefusedError):
        engine.connect(identifier, 9)
    assert engine.stats(identifier).rx_bytes > 0


def test_stats_without_control_groups_come_from_proc(engine, run, monkeypatch):
    identifier = run(*BUSY)
    engine.execute(identifier, ["sh", "-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"])
    monkeypatch.setattr(Group, "cpu_seconds", lambda self: None)
    monkeypatch.setattr(Group, "memory_bytes", lambda self: None)
    before = engine.stats(identifier)
    time.sleep(0.3)
    after = engine.stats(identifier)
    assert after.cpu_seconds > before.cpu_seconds + 0.05
    assert before.cpu_seconds > 0.02
    assert 10_000 < after.memory_bytes < 50_000_000


def test_top_lists_processes_as_the_container_counts_them(engine, run):
    identifier = run("sh", "-c", "sleep 500 & echo ready; wait")
    wait_until(lambda: list(engine.logs(identifier)))
    titles, rows = engine.top(identifier)
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert rows[0][:3] == ["root", "1", "0"]
    assert rows[0][7].startswith("sh -c sleep 500")
    assert rows[1][1:3] == ["2", "1"]
    assert rows[1][7] == "sleep 500"
    terminal = engine.terminal(identifier, ["cat"])
    assert any(row[5].startswith("pts/") and row[7] == "cat" for row in engine.top(identifier)[1])
    terminal.close()


@pytest.mark.parametrize("with_group", [True, False])
def test_pause_stops_everything_and_unpause_goes_on(engine, run, monkeypatch, with_group):
    if not with_group:
        monkeypatch.setattr(Group, "freeze", lambda self, *, frozen: False)
    identifier = run("sh", "-c", "(while :; do :; done) & while :; do :; done")
    engine.pause(identifier)
    assert engine.inspect(identifier).status == "paused"
    for call in (
        lambda: engine.execute(identifier, ["true"]),
        lambda: engine.pause(identifier),
        lambda: engine.terminal(identifier, ["sh"]),
        lambda: engine.connect(identifier, 80),
    ):
        with pytest.raises(NotRunning, match="paused"):
            call()
    time.sleep(0.05)
    before = cpu(engine, identifier)
    time.sleep(0.3)
    assert cpu(engine, identifier) == before
    engine.unpause(identifier)
    assert engine.inspect(identifier).status == "running"
    wait_until(lambda: cpu(engine, identifier) > before)
    with pytest.raises(EngineError, match="not paused"):
        engine.unpause(identifier)


@pytest.mark.parametrize("way", ["stop", "kill", "remove"])
def test_a_paused_container_can_be_ended(engine, run, way):
    identifier = run()
    engine.pause(identifier)
    if way == "stop":
        engine.stop(identifier, timeout=0.1)
    elif way == "kill":
        engine.kill(identifier)
    else:
        engine.remove(identifier)
        return
    wait_until(lambda: engine.inspect(identifier).status == "exited")
    engine.start(identifier)
    assert engine.inspect(identifier).status == "running"


def test_a_memory_limit_is_kept_where_there_are_control_groups(engine, run):
    identifier = run(
        "python3", "-c", "x = bytearray(200_000_000)", image="python", memory_mib=64, started=False
    )
    engine.start(identifier)
    wait_until(lambda: engine.inspect(identifier).status == "exited", 10)
    state = engine.inspect(identifier)
    if not engine._containers.home(identifier).run()["cgroup"]:
        pytest.skip("no control group may be written here: limits are on record only")
    assert state.exit_code == 137
    assert "memory limit" in state.error


def test_a_limit_holds_for_commands_too_and_can_be_changed(engine, run):
    identifier = run(image="python", memory_mib=64, cpu=0.5)
    if not engine._containers.home(identifier).run()["cgroup"]:
        pytest.skip("no control group may be written here: limits are on record only")
    take = ["python3", "-c", "x = bytearray(100_000_000); print('had')"]
    assert engine.execute(identifier, take).exit_code == 137
    engine.update(identifier, memory_mib=300, cpu=2)
    assert engine.stats(identifier).memory_limit_bytes == 300 * 2**20
    assert engine.execute(identifier, take).output == b"had\n"
    engine.stop(identifier, timeout=0)
    engine.start(identifier)
    assert engine.stats(identifier).memory_limit_bytes == 300 * 2**20


def test_control_groups_go_with_the_container(engine, run):
    identifier = run()
    group = engine._containers.group(identifier)
    engine.remove(identifier)
    assert not group.is_real
    assert not list(Path("/sys/fs/cgroup").glob(f"*/chi-edge-lab/*{identifier}"))
