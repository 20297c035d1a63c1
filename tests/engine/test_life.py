"""Create, start, inspect, stop, kill, remove: what a container is and how it ends."""

from __future__ import annotations

import time

import pytest

from chi_edge_lab.local.engines.base import (
    EngineError,
    FileMount,
    ImageNotFound,
    NoSuchContainer,
    NotRunning,
    Spec,
)

from .conftest import wait_until


def output_of(engine, identifier):
    wait_until(lambda: engine.inspect(identifier).status == "exited")
    return b"".join(line.data for line in engine.logs(identifier))


def test_a_created_container_is_not_started(engine, run):
    identifier = run(started=False)
    assert engine.inspect(identifier).status == "created"
    assert engine.inspect(identifier).started_at is None
    assert identifier in engine.list()
    with pytest.raises(NotRunning):
        engine.execute(identifier, ["true"])


def test_a_started_container_runs_until_it_is_stopped(engine, run):
    identifier = run()
    state = engine.inspect(identifier)
    assert state.status == "running"
    assert abs(state.started_at - time.time()) < 5
    begun = time.monotonic()
    engine.stop(identifier, timeout=0.2)
    assert time.monotonic() - begun < 3
    state = engine.inspect(identifier)
    assert (state.status, state.exit_code) == (
        "exited",
        137,
    )  # as in Docker, pid 1 without handler ignores TERM
    assert state.finished_at >= state.started_at


def test_a_program_that_handles_term_ends_by_itself(engine, run):
    identifier = run("sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done")
    wait_until(lambda: list(engine.logs(identifier)))
    engine.stop(identifier, timeout=10)
    assert engine.inspect(identifier).exit_code == 7


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -9 $$; exit 4", 4)])
def test_the_exit_code_is_that_of_the_first_process(engine, run, command, code):
    identifier = run("sh", "-c", command)
    wait_until(lambda: engine.inspect(identifier).status == "exited")
    assert engine.inspect(identifier).exit_code == code


def test_stopping_and_removing_twice_is_no_error(engine, run):
    identifier = run()
    for _ in range(2):
        engine.stop(identifier, timeout=0)
    for _ in range(2):
        engine.remove(identifier)
    assert identifier not in engine.list()
    with pytest.raises(NoSuchContainer):
        engine.inspect(identifier)


def test_starting_a_running_container_changes_nothing(engine, run):
    identifier = run()
    before = engine.inspect(identifier)
    engine.start(identifier)
    assert engine.inspect(identifier) == before


def test_a_container_can_be_started_again_with_its_files(engine, run, sh):
    identifier = run()
    sh(identifier, "echo kept > /root/file")
    engine.stop(identifier, timeout=0)
    engine.start(identifier)
    assert engine.inspect(identifier).exit_code is None
    assert sh(identifier, "cat /root/file") == "kept"


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "stat /no/such/program: no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ],
)
def test_a_program_that_cannot_be_executed_is_told_at_start(engine, run, command, text):
    identifier = run(command, started=False)
    with pytest.raises(EngineError, match=text.replace("$", r"\$")):
        engine.start(identifier)
    state = engine.inspect(identifier)
    assert (state.status, state.exit_code) == ("created", 127)
    assert text in state.error


def test_kill_sends_the_signal(engine, run):
    identifier = run("sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.02; done")
    wait_until(lambda: list(engine.logs(identifier)))
    engine.kill(identifier, "SIGUSR1")
    wait_until(lambda: engine.inspect(identifier).status == "exited")
    assert engine.inspect(identifier).exit_code == 9
    with pytest.raises(NotRunning):
        engine.kill(identifier)


@pytest.mark.parametrize("name", ["KILL", "SIGKILL", "9", 9])
def test_kill_takes_every_way_to_name_a_signal(engine, run, name):
    identifier = run()
    engine.kill(identifier, name)
    wait_until(lambda: engine.inspect(identifier).status == "exited")
    assert engine.inspect(identifier).exit_code == 137


def test_an_unknown_signal_is_an_error(engine, run):
    with pytest.raises(EngineError, match="no signal"):
        engine.kill(run(), "SIGNOTHING")


def test_an_image_that_is_not_there_is_not_found_and_the_catalogue_is_told(engine):
    with pytest.raises(ImageNotFound, match=r"alpine.*python:3.*busybox:latest"):
        engine.create(Spec(id="x", name="x", image="alpine"))
    assert "x" not in engine.list()


def test_an_id_is_taken_once_and_is_no_path(engine, run):
    identifier = run(started=False)
    with pytest.raises(EngineError, match="already"):
        engine.create(Spec(id=identifier, name="again", image="busybox"))
    for bad in ("", "..", "../x", ".hidden", "a/b"):
        with pytest.raises(NoSuchContainer):
            engine.create(Spec(id=bad, name="bad", image="busybox"))


def test_the_inside_is_as_the_spec_says(engine, run, sh):
    identifier = run(
        hostname="greenhouse",
        environment={"COLOUR": "grün", "PATH": "/bin"},
        workdir="/place/here",
        address="10.20.30.40",
    )
    assert (
        sh(identifier, "hostname; pwd; echo $COLOUR $HOME $PATH")
        == "greenhouse\n/place/here\ngrün /root /bin"
    )
    assert "10.20.30.40\tgreenhouse" in sh(identifier, "cat /etc/hosts")
    assert engine.inspect(identifier).address == "10.20.30.40"


def test_entrypoint_and_command_are_joined(engine, run):
    identifier = run("b", "c", entrypoint=("echo", "a"))
    assert output_of(engine, identifier) == b"a b c\n"


def test_the_image_tells_the_default_command(engine):
    engine.create(Spec(id="default", name="default", image="python"))
    engine.start("default")
    wait_until(lambda: engine.inspect("default").status == "exited")  # python3 without input ends at once
    assert engine.inspect("default").exit_code == 0
    engine.remove("default")


def test_an_interactive_container_waits_for_input(engine, run):
    identifier = run("cat", interactive=True)
    time.sleep(0.1)
    assert engine.inspect(identifier).status == "running"


def test_files_given_at_create_are_there(engine, run, sh):
    identifier = run(
        mounts=(
            FileMount("/etc/app/config.ini", b"[a]\nb = \xff\n", read_only=True),
            FileMount("/data/file", b"one"),
        )
    )
    assert engine.execute(identifier, ["cat", "/etc/app/config.ini"]).output == b"[a]\nb = \xff\n"
    assert engine.execute(identifier, ["sh", "-c", "echo x > /etc/app/config.ini"]).exit_code != 0
    sh(identifier, "echo two > /data/file")
    engine.stop(identifier, timeout=0)
    engine.start(identifier)
    assert sh(identifier, "cat /data/file") == "two"


def test_many_containers_start_at_once(engine, run):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        identifiers = list(pool.map(lambda _: run(), range(12)))
        outputs = list(pool.map(lambda each: engine.execute(each, ["hostname"]).output, identifiers))
    assert outputs == [f"{each[:12]}\n".encode() for each in identifiers]
