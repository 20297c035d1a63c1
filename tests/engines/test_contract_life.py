"""What every engine does with the life of a container (base.py)."""

from __future__ import annotations

import pathlib
import threading
import time

import pytest

from chi_edge_lab.local.engines.base import (
    Engine,
    EngineError,
    FileMount,
    ImageNotFound,
    NoSuchContainer,
    NotRunning,
)

from .conftest import Make, open_engine, wait_for

UNKNOWN = "00000000-0000-4000-8000-ffffffffffff"


def ended(engine: Engine, id: str) -> bool:
    return engine.inspect(id).status == "exited"


def test_a_container_is_created_runs_and_ends(engine: Engine, make: Make) -> None:
    told = threading.Event()
    engine.on_exit = lambda id: told.set()
    begin = time.time()
    id = make("sh", "-c", "sleep 0.2; exit 3", start=False)
    assert engine.inspect(id).status == "created"
    assert engine.inspect(id).exit_code is None
    assert id in engine.list()
    engine.start(id)
    running = engine.inspect(id)
    assert running.status == "running"
    assert running.exit_code is None
    assert begin - 1 < (running.started_at or 0) < time.time() + 1
    assert told.wait(10)
    state = engine.inspect(id)
    assert (state.status, state.exit_code) == ("exited", 3)
    assert begin < (state.finished_at or 0) < time.time() + 1
    engine.on_exit = None


def test_on_exit_is_called_once_with_the_id(engine: Engine, make: Make) -> None:
    seen: list[str] = []
    engine.on_exit = seen.append
    first, second = make("true"), make("true")
    wait_for(lambda: len(seen) >= 2)
    time.sleep(0.3)
    assert sorted(seen) == sorted([first, second])
    engine.on_exit = None


def test_create_with_an_unknown_image_leaves_nothing(engine: Engine, make: Make) -> None:
    before = engine.list()
    with pytest.raises(ImageNotFound, match="no-such-image"):
        make("true", image="no-such-image:1.0")
    assert engine.list() == before


def test_what_the_spec_says_is_what_the_container_has(engine: Engine, make: Make) -> None:
    id = make(
        environment={"A": "1 2", "B": "ä=$x\n'\""}, workdir="/var", hostname="edge-7", labels={"k": "v"}
    )
    result = engine.execute(
        id, ["sh", "-c", 'printf "%s|%s|%s|%s|%s" "$A" "$B" "$PWD" "$(hostname)" "$(id -u)"']
    )
    assert result.output.decode() == "1 2|ä=$x\n'\"|/var|edge-7|0"


def test_a_missing_workdir_is_made(engine: Engine, make: Make) -> None:
    id = make(workdir="/srv/made/for/it")
    assert engine.execute(id, ["pwd"]).output == b"/srv/made/for/it\n"


def test_entrypoint_and_command_are_joined(engine: Engine, make: Make) -> None:
    id = make("-c", "exit 5", entrypoint=("sh",))
    wait_for(lambda: ended(engine, id))
    assert engine.inspect(id).exit_code == 5


def test_a_program_that_is_missing_fails_at_start(engine: Engine, make: Make) -> None:
    id = make("no-such-program", start=False)
    with pytest.raises(EngineError, match="no-such-program"):
        engine.start(id)
    assert engine.inspect(id).status in ("created", "exited")


def test_stop_asks_first(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done")
    begin = time.monotonic()
    engine.stop(id, 10)
    assert time.monotonic() - begin < 5
    assert (engine.inspect(id).status, engine.inspect(id).exit_code) == ("exited", 7)


def test_stop_kills_what_does_not_listen(engine: Engine, make: Make) -> None:
    id = make("sleep", "1000")  # pid 1 without a handler does not get TERM
    begin = time.monotonic()
    engine.stop(id, 1)
    assert 0.9 < time.monotonic() - begin < 8
    assert engine.inspect(id).exit_code == 137


def test_stopping_what_has_ended_is_no_error(engine: Engine, make: Make) -> None:
    id = make("true")
    wait_for(lambda: ended(engine, id))
    engine.stop(id, 1)
    assert engine.inspect(id).exit_code == 0


@pytest.mark.parametrize("signal", ["KILL", "SIGKILL", 9])
def test_kill(engine: Engine, make: Make, signal: str | int) -> None:
    id = make("sleep", "1000")
    engine.kill(id, signal)
    wait_for(lambda: ended(engine, id))
    assert engine.inspect(id).exit_code == 137


def test_kill_with_a_signal_that_is_handled(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "trap 'exit 9' USR1; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: bool(list(engine.logs(id))))
    engine.kill(id, "USR1")
    wait_for(lambda: ended(engine, id))
    assert engine.inspect(id).exit_code == 9


def test_kill_with_an_unknown_signal(engine: Engine, make: Make) -> None:
    id = make()
    with pytest.raises(EngineError, match="NONSENSE"):
        engine.kill(id, "NONSENSE")
    assert engine.inspect(id).status == "running"


def test_a_stopped_container_starts_again_with_its_files(engine: Engine, make: Make) -> None:
    id = make()
    engine.execute(id, ["sh", "-c", "echo kept > /root/file"])
    engine.stop(id, 5)
    engine.start(id)
    assert engine.inspect(id).status == "running"
    assert engine.inspect(id).finished_at is None
    assert engine.execute(id, ["cat", "/root/file"]).output == b"kept\n"


def test_pause_and_unpause(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; sleep 0.02; done")
    engine.pause(id)
    assert engine.inspect(id).status == "paused"
    with pytest.raises(NotRunning):
        engine.execute(id, ["true"])
    engine.unpause(id)
    assert engine.inspect(id).status == "running"
    assert engine.execute(id, ["true"]).exit_code == 0


def test_remove_a_running_container_and_again(engine: Engine, make: Make) -> None:
    id = make()
    engine.remove(id)
    assert id not in engine.list()
    engine.remove(id)
    with pytest.raises(NoSuchContainer):
        engine.inspect(id)


def test_what_is_not_there(engine: Engine) -> None:
    calls = [
        lambda: engine.inspect(UNKNOWN),
        lambda: engine.start(UNKNOWN),
        lambda: engine.stop(UNKNOWN),
        lambda: engine.kill(UNKNOWN),
        lambda: engine.execute(UNKNOWN, ["true"]),
        lambda: list(engine.logs(UNKNOWN)),
        lambda: engine.stats(UNKNOWN),
        lambda: engine.attach(UNKNOWN),
    ]
    for call in calls:
        with pytest.raises(NoSuchContainer, match=UNKNOWN):
            call()
    engine.remove(UNKNOWN)


def test_what_needs_a_running_container_says_so(engine: Engine, make: Make) -> None:
    id = make("true")
    wait_for(lambda: ended(engine, id))
    calls = [
        lambda: engine.execute(id, ["true"]),
        lambda: engine.terminal(id, ["sh"]),
        lambda: engine.kill(id),
        lambda: engine.pause(id),
        lambda: engine.stats(id),
        lambda: engine.top(id),
        lambda: engine.connect(id, 80),
    ]
    for call in calls:
        with pytest.raises(NotRunning):
            call()


def test_files_given_at_create(engine: Engine, make: Make) -> None:
    mounts = (
        FileMount("/etc/app/settings.ini", b"\x00\xffbinary"),
        FileMount("/srv/fixed", b"fixed", read_only=True),
    )
    id = make(mounts=mounts)
    assert engine.execute(id, ["cat", "/etc/app/settings.ini"]).output == b"\x00\xffbinary"
    assert engine.execute(id, ["sh", "-c", "echo x >> /etc/app/settings.ini"]).exit_code == 0
    assert engine.execute(id, ["sh", "-c", "echo x >> /srv/fixed"]).exit_code != 0
    assert engine.execute(id, ["cat", "/srv/fixed"]).output == b"fixed"


def test_containers_are_apart(engine: Engine, make: Make) -> None:
    one, other = make(), make()
    engine.execute(one, ["sh", "-c", "echo mine > /tmp/mine"])
    assert engine.execute(other, ["cat", "/tmp/mine"]).exit_code != 0
    pids = engine.execute(other, ["sh", "-c", "echo /proc/[0-9]*"]).output.split()
    assert len(pids) < 10


def test_another_process_takes_over(
    engine: Engine, engine_name: str, engine_directory: pathlib.Path, make: Make
) -> None:
    running, over = make(), make("sh", "-c", "echo said; exit 4")
    wait_for(lambda: ended(engine, over))
    second = open_engine(engine_name, engine_directory)
    try:
        assert {running, over} <= set(second.list())
        assert second.inspect(over).exit_code == 4
        assert [line.data for line in second.logs(over)] == [b"said\n"]
        assert second.execute(running, ["echo", "hi"]).output == b"hi\n"
        told = threading.Event()
        second.on_exit = lambda id: told.set() if id == running else None
        second.kill(running)
        assert told.wait(10)
    finally:
        second.close()
    assert engine.inspect(running).exit_code == 137


def test_another_site_sees_nothing(
    engine: Engine, engine_name: str, tmp_path: pathlib.Path, make: Make
) -> None:
    id = make()
    other = open_engine(engine_name, tmp_path / "other")
    try:
        assert other.list() == []
        with pytest.raises(NoSuchContainer):
            other.inspect(id)
        other.remove(id)
    finally:
        other.close()
    assert engine.inspect(id).status == "running"


def test_stats(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "while :; do :; done", memory_mib=128)
    wait_for(lambda: engine.stats(id).cpu_seconds > 0.2)
    stats = engine.stats(id)
    assert 0 < stats.memory_bytes < 128 * 2**20
    assert stats.memory_limit_bytes > 0
    assert stats.pids >= 1
    assert min(stats.rx_bytes, stats.tx_bytes, stats.read_bytes, stats.write_bytes) >= 0


def test_top(engine: Engine, make: Make) -> None:
    id = make("sleep", "1234")
    titles, rows = engine.top(id)
    assert titles == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert len(rows) == 1
    assert rows[0][7] == "sleep 1234"
    assert rows[0][0] in ("root", "0")


def test_update(engine: Engine, make: Make) -> None:
    id = make(memory_mib=64)
    engine.update(id, memory_mib=128, cpu=0.5)
    assert engine.inspect(id).status == "running"
