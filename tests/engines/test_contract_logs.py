"""What every engine does with what pid 1 prints (base.py)."""

from __future__ import annotations

import time

from chi_edge_lab.local.engines.base import Engine, LogLine

from .conftest import Make, wait_for


def logs_of(engine: Engine, id: str) -> list[LogLine]:
    wait_for(lambda: engine.inspect(id).status == "exited")
    return list(engine.logs(id))


def test_lines_streams_and_times(engine: Engine, make: Make) -> None:
    before = time.time_ns()
    id = make("sh", "-c", "echo one; sleep 0.05; echo two >&2; sleep 0.05; echo three")
    lines = logs_of(engine, id)
    assert [(line.stream, line.data) for line in lines] == [
        ("stdout", b"one\n"),
        ("stderr", b"two\n"),
        ("stdout", b"three\n"),
    ]
    times = [line.time_ns for line in lines]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= time.time_ns()
    assert times[-1] - times[0] >= 80_000_000


def test_only_one_stream(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "echo one; echo two >&2")
    logs_of(engine, id)
    assert [line.data for line in engine.logs(id, stderr=False)] == [b"one\n"]
    assert [line.data for line in engine.logs(id, stdout=False)] == [b"two\n"]
    assert list(engine.logs(id, stdout=False, stderr=False)) == []


def test_tail(engine: Engine, make: Make) -> None:
    id = make("seq", "1", "5000")
    assert len(logs_of(engine, id)) == 5000
    assert [line.data for line in engine.logs(id, tail=3)] == [b"4998\n", b"4999\n", b"5000\n"]
    assert list(engine.logs(id, tail=0)) == []
    assert len(list(engine.logs(id, tail=10**6))) == 5000


def test_since_is_exact_to_the_nanosecond_and_includes_its_moment(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "for i in 1 2 3 4; do echo $i; sleep 0.02; done")
    lines = logs_of(engine, id)
    assert list(engine.logs(id, since_ns=lines[2].time_ns)) == lines[2:]
    assert list(engine.logs(id, since_ns=lines[2].time_ns + 1)) == lines[3:]
    assert list(engine.logs(id, since_ns=time.time_ns() + 10**9)) == []


def test_bytes_are_kept(engine: Engine, make: Make) -> None:
    id = make("printf", "\\000\\377\\376 caf\\303\\251\\r\\rprogress\\r\\nlast without newline")
    lines = [line.data for line in logs_of(engine, id)]
    # Docker keeps logs as JSON: what is not UTF-8 arrives as U+FFFD there
    assert b"".join(lines).replace("\ufffd".encode(), b"?").replace(b"\xff", b"?").replace(b"\xfe", b"?") == (
        b"\x00?? caf\xc3\xa9\r\rprogress\r\nlast without newline"
    )
    assert len(lines) == 2


def test_a_long_line_stays_one(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo next")
    assert [line.data for line in logs_of(engine, id)] == [b"x" * 100_000 + b"\n", b"next\n"]


def test_letters_cut_by_the_runtime_are_whole_again(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "printf x; i=0; while [ $i -lt 15000 ]; do printf 'é€'; i=$((i+1)); done; echo")
    assert logs_of(engine, id)[0].data.decode().count("é€") >= 14990


def test_a_log_with_a_tty(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "echo one; echo two >&2", tty=True)
    assert [(line.stream, line.data) for line in logs_of(engine, id)] == [
        ("stdout", b"one\r\n"),
        ("stdout", b"two\r\n"),
    ]


def test_a_long_line_with_a_tty(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo next", tty=True)
    assert [line.data for line in logs_of(engine, id)] == [b"x" * 100_000 + b"\r\n", b"next\r\n"]


def test_the_log_goes_on_after_a_restart(engine: Engine, make: Make) -> None:
    id = make("echo", "said")
    assert len(logs_of(engine, id)) == 1
    engine.start(id)
    assert [line.data for line in logs_of(engine, id)] == [b"said\n", b"said\n"]


def test_nothing_printed_yet(engine: Engine, make: Make) -> None:
    assert list(engine.logs(make(start=False))) == []


def test_a_running_container_has_a_log(engine: Engine, make: Make) -> None:
    id = make("sh", "-c", "echo here; sleep 100")
    wait_for(lambda: [line.data for line in engine.logs(id)] == [b"here\n"])
