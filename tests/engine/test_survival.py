"""Containers outlive who started them, and how they ended is known in every case."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chi_edge_lab.local.engines.base import NotRunning, Spec
from chi_edge_lab.local.engines.namespaces import NamespacesEngine, client, scratch
from chi_edge_lab.local.engines.namespaces.containers import Containers
from chi_edge_lab.local.engines.namespaces.home import read_json, write_json
from chi_edge_lab.local.engines.namespaces.sandbox import procs

from .conftest import processes_named, wait_until

FIRST = """
import pathlib, sys, time
from chi_edge_lab.local.engines.base import Spec
from chi_edge_lab.local.engines.namespaces import NamespacesEngine
engine = NamespacesEngine(pathlib.Path(sys.argv[1]))
for name, command in (
    ("lives", "i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.01; done"),
    ("dies", "sleep 0.5; echo last; exit 6"),
):
    engine.create(Spec(id=name, name=name, image="busybox", command=("sh", "-c", command)))
    engine.start(name)
print("ready", flush=True)
time.sleep(100)
"""


@pytest.fixture
def fresh(tmp_path):
    """An engine of its own, and a way to have another on the same directory."""
    engines = []

    def make():
        engines.append(NamespacesEngine(tmp_path))
        return engines[-1]

    yield make
    for identifier in make().list():
        engines[-1].remove(identifier)
    for engine in engines:
        engine.close()


def test_containers_outlive_a_killed_site(tmp_path, fresh):
    site = subprocess.Popen(
        [sys.executable, "-c", FIRST, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert site.stdout.readline() == b"ready\n"
    site.kill()
    site.wait()
    site.stdout.close()
    time.sleep(0.6)
    engine = fresh()
    ended = []
    engine.on_exit = ended.append
    assert engine.list() == ["dies", "lives"]
    state = engine.inspect("dies")
    assert (state.status, state.exit_code) == ("exited", 6)  # although nobody watched
    assert abs(state.finished_at - time.time()) < 3
    wait_until(lambda: ended == ["dies"])
    assert [line.data for line in engine.logs("dies")] == [b"last\n"]
    assert engine.inspect("lives").status == "running"
    assert engine.execute("lives", ["echo", "here"]).output == b"here\n"
    numbers = [int(line.data.split()[1]) for line in engine.logs("lives")]
    assert numbers == list(range(len(numbers)))
    engine.kill("lives")
    wait_until(lambda: ended == ["dies", "lives"])
    again = fresh()
    again.on_exit = ended.append
    time.sleep(0.1)
    assert ended == ["dies", "lives"]  # told once


def test_the_end_of_a_container_is_told_at_once(fresh):
    engine = fresh()
    ended = []
    engine.on_exit = lambda identifier: ended.append((identifier, engine.inspect(identifier).exit_code))
    engine.create(Spec(id="short", name="short", image="busybox", command=("sh", "-c", "exit 5")))
    for count in (1, 2):
        engine.start("short")
        wait_until(lambda count=count: len(ended) == count)
    assert ended == [("short", 5)] * 2


def test_a_callback_that_fails_does_not_end_the_watch(fresh):
    engine = fresh()
    ended = []

    def fail(identifier):
        ended.append(identifier)
        raise RuntimeError("a mistake of the site")

    engine.on_exit = fail
    for name in ("one", "two"):
        engine.create(Spec(id=name, name=name, image="busybox", command=("true",)))
        engine.start(name)
        wait_until(lambda name=name: name in ended)


def test_killing_the_supervisor_kills_the_container(fresh):
    engine = fresh()
    ended = []
    engine.on_exit = ended.append
    marker = f"sleep 98{os.getpid()}"
    command = ("sh", "-c", f"(trap '' TERM HUP; {marker}) & {marker}")
    engine.create(Spec(id="orphan", name="orphan", image="busybox", command=command))
    engine.start("orphan")
    engine.execute("orphan", marker.split(), timeout=0.05)
    run = engine._containers.home("orphan").run()
    assert processes_named(marker.replace(" ", "\0"))
    os.kill(run["shim"], signal.SIGKILL)
    wait_until(lambda: not processes_named(marker.replace(" ", "\0")), 2)
    wait_until(lambda: ended == ["orphan"])
    state = engine.inspect("orphan")
    assert (state.status, state.exit_code) == ("exited", 137)
    assert "supervisor" in state.error
    with pytest.raises(NotRunning):
        engine.execute("orphan", ["true"])
    engine.start("orphan")
    assert engine.inspect("orphan").status == "running"


def test_terminating_the_supervisor_ends_the_container_in_good_order(fresh):
    engine = fresh()
    command = ("sh", "-c", "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done")
    engine.create(Spec(id="polite", name="polite", image="busybox", command=command))
    engine.start("polite")
    wait_until(lambda: list(engine.logs("polite")))
    os.kill(engine._containers.home("polite").run()["shim"], signal.SIGTERM)
    wait_until(lambda: engine.inspect("polite").status == "exited")
    assert engine.inspect("polite").exit_code == 0
    assert [line.data for line in engine.logs("polite")] == [b"ready\n", b"bye\n"]


def test_a_number_that_went_to_another_process_is_not_taken_for_the_container(fresh):
    engine = fresh()
    engine.create(Spec(id="old", name="old", image="busybox", command=("sleep", "100")))
    engine.start("old")
    home = engine._containers.home("old")
    os.kill(home.run()["shim"], signal.SIGKILL)
    wait_until(lambda: not procs.is_alive(home.run()["pid"], home.run()["pid_started"]))
    innocent = subprocess.Popen(["sleep", "100"])
    try:
        # As if both numbers had been used again: the start times tell.
        write_json(home.path / "state.json", {**home.run(), "shim": innocent.pid, "pid": innocent.pid})
        assert engine.inspect("old").status == "exited"
        engine.stop("old")
        engine.remove("old")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_restart_of_the_machine_is_told(fresh):
    engine = fresh()
    engine.create(Spec(id="old", name="old", image="busybox", command=("sleep", "100")))
    engine.start("old")
    home = engine._containers.home("old")
    run = home.run()
    write_json(home.path / "state.json", {**run, "boot": "another"})
    state = engine.inspect("old")
    os.kill(run["shim"], signal.SIGKILL)
    assert (state.status, state.exit_code, state.error) == ("exited", 137, "The host restarted.")


def test_a_zombie_counts_as_dead():
    child = subprocess.Popen(["true"])
    started = procs.start_time(child.pid)
    wait_until(lambda: not procs.is_alive(child.pid, started))
    assert procs.stat_fields(child.pid)[0] == "Z"
    child.wait()


def test_leftovers_of_a_crash_are_cleared(tmp_path, fresh):
    fresh()
    containers = tmp_path / "containers"
    for name in (".new-1-1-half", ".trash-999999999-17-half", ".new-x-y-z"):
        (containers / name / "rootfs/d").mkdir(parents=True)
    at_work = scratch.path(containers, "new")  # of another process on the same directory
    at_work.mkdir()
    engine = fresh()
    assert engine.list() == []
    assert list(containers.iterdir()) == [at_work]


def test_a_container_whose_directory_was_removed_ends(tmp_path, fresh, monkeypatch):
    monkeypatch.setattr(Containers, "look_seconds", 0.1)
    engine = fresh()
    engine.create(Spec(id="lost", name="lost", image="busybox", command=("sleep", "100")))
    engine.start("lost")
    run = engine._containers.home("lost").run()
    shutil.rmtree(tmp_path / "containers/lost")
    wait_until(lambda: not procs.is_alive(run["pid"], run["pid_started"]))
    wait_until(lambda: not procs.is_alive(run["shim"], run["shim_started"]))


def test_a_look_while_it_is_removed_sees_it_or_does_not(fresh):
    from chi_edge_lab.local.engines.base import NoSuchContainer

    engine = fresh()
    for number in range(15):
        name = f"gone{number}"
        engine.create(Spec(id=name, name=name, image="busybox", command=("true",)))
        engine.start(name)
        wait_until(lambda name=name: engine.inspect(name).status == "exited")
        remover = threading.Thread(target=engine.remove, args=(name,))
        remover.start()
        seen = set()
        with contextlib.suppress(NoSuchContainer):
            while remover.is_alive():
                seen.add(engine.inspect(name).status)
        remover.join()
        assert seen <= {"exited"}


def test_a_mistake_with_one_client_does_not_end_the_container(fresh):
    engine = fresh()
    engine.create(Spec(id="firm", name="firm", image="busybox", command=("sleep", "100")))
    engine.start("firm")
    home = engine._containers.home("firm")
    for message in ({}, {"op": "nothing"}, {"op": "exec"}, {"op": "signal", "signal": "x"}, {"op": "attach"}):
        with client.connection(home) as connection:
            client.send(connection, message)
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                connection.recv(1000)
    with client.connection(home) as connection:
        connection.send(b"not json")
    assert engine.execute("firm", ["echo", "still"]).output == b"still\n"


def test_shims_hold_no_connection_to_the_terminal_of_the_site(fresh):
    engine = fresh()
    engine.create(Spec(id="own", name="own", image="busybox", command=("sleep", "100")))
    engine.start("own")
    run = engine._containers.home("own").run()
    assert os.getsid(run["shim"]) == run["shim"]
    assert Path(f"/proc/{run['shim']}/fd/0").readlink() == Path("/dev/null")
    assert int(procs.stat_fields(run["shim"])[1]) == 1


def test_a_path_longer_than_a_socket_address_works(tmp_path):
    deep = tmp_path / ("long" * 40) / ("longer" * 20)
    engine = NamespacesEngine(deep)
    engine.create(Spec(id="deep", name="deep", image="busybox", command=("sleep", "100")))
    engine.start("deep")
    assert engine.execute("deep", ["echo", "x"]).output == b"x\n"
    engine.remove("deep")
    engine.close()


def test_a_damaged_record_is_told_and_can_be_removed(fresh):
    from chi_edge_lab.local.engines.base import EngineError

    engine = fresh()
    engine.create(Spec(id="torn", name="torn", image="busybox"))
    (engine._containers.home("torn").path / "container.json").write_text("{")
    with pytest.raises(EngineError, match="damaged"):
        engine.inspect("torn")
    engine.remove("torn")
    assert engine.list() == []
    assert read_json(engine._containers.home("torn").path / "container.json") is None
