"""The log of a container: every line once, in order, as it was."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chi_edge_lab.local.engines.base import NoSuchContainer
from chi_edge_lab.local.engines.namespaces import Limits, NamespacesEngine, lines, logs
from chi_edge_lab.local.engines.namespaces.sandbox.logfile import Clock, LogFile, Splitter

from .conftest import wait_until


def ended(engine, identifier):
    wait_until(lambda: engine.inspect(identifier).status == "exited", 20)
    return identifier


def text(lines):
    return b"".join(line.data for line in lines)


def test_lines_have_stream_and_time(engine, run):
    before = time.time_ns()
    identifier = ended(
        engine, run("sh", "-c", "echo one; sleep 0.05; echo two >&2; sleep 0.05; printf three")
    )
    lines = list(engine.logs(identifier))
    assert [(line.stream, line.data) for line in lines] == [
        ("stdout", b"one\n"),
        ("stderr", b"two\n"),
        ("stdout", b"three"),
    ]
    times = [line.time_ns for line in lines]
    assert before < times[0] < times[1] < times[2] < time.time_ns()


def test_tail_since_and_streams_choose(engine, run):
    line = "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; sleep 0.01; done"
    identifier = ended(engine, run("sh", "-c", line))
    everything = list(engine.logs(identifier))
    assert len(everything) == 10
    assert list(engine.logs(identifier, tail=3)) == everything[-3:]
    assert list(engine.logs(identifier, tail=0)) == []
    assert list(engine.logs(identifier, tail=100)) == everything
    assert text(engine.logs(identifier, stderr=False)) == b"o1\no2\no3\no4\no5\n"
    assert text(engine.logs(identifier, stdout=False, tail=2)) == b"e4\ne5\n"
    assert list(engine.logs(identifier, since_ns=everything[7].time_ns)) == everything[7:]
    assert list(engine.logs(identifier, since_ns=everything[7].time_ns, tail=2)) == everything[8:]
    assert list(engine.logs(identifier, since_ns=everything[7].time_ns, tail=9)) == everything[7:]
    assert list(engine.logs(identifier, stdout=False, stderr=False)) == []


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe\x00\n",
        "für ü €😀\n".encode(),
        b"a\r\nb\rc\n",
        b"\n\n\n",
        b" leading\n",
        b"\x1b[31mred\x1b[0m\n",
    ],
)
def test_bytes_are_kept_as_they_are(engine, run, data):
    octal = "".join(f"\\{byte:03o}" for byte in data)
    identifier = ended(engine, run("printf", octal))
    assert text(engine.logs(identifier)) == data


def test_a_character_split_between_two_writes_is_whole(engine, run):
    identifier = ended(engine, run("sh", "-c", r"printf '\342\202'; sleep 0.05; printf '\254\n'"))
    assert [line.data for line in engine.logs(identifier)] == ["€\n".encode()]


def test_a_long_line_is_one_up_to_a_mebibyte(engine, run):
    identifier = ended(engine, run("sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo after"))
    found = list(engine.logs(identifier))
    assert text(found) == b"x" * 10_000_000 + b"\nafter\n"
    assert max(len(line.data) for line in found) == 2**20
    assert len(found) == 11
    assert list(engine.logs(identifier, tail=5)) == found[-5:]


def test_a_line_that_is_being_written_is_not_shown_before_its_end(engine, run):
    identifier = run(
        "sh", "-c", "echo first; head -c 100000 /dev/zero | tr '\\0' x; read y; echo", interactive=True
    )
    time.sleep(0.3)
    for tail in (None, 10):
        assert text(engine.logs(identifier, tail=tail)) == b"first\n"
    attached = engine.attach(identifier)
    attached.write(b"\n")
    ended(engine, identifier)
    attached.close()
    assert [len(line.data) for line in engine.logs(identifier)] == [6, 100_001]


@given(
    st.lists(
        st.tuples(st.sampled_from(["stdout", "stderr"]), st.binary(max_size=40_000)), min_size=1, max_size=12
    )
)
def test_streams_that_mix_are_put_together_apart(writes):
    clock = Clock()
    splitters = {stream: Splitter(stream) for stream in ("stdout", "stderr")}
    records = b"".join(splitters[stream].feed(chunk, clock) for stream, chunk in writes)
    records += b"".join(splitter.end(clock) for splitter in splitters.values())
    texts = records.split(b"\n")[:-1]
    found = list(lines.forward(texts))
    for stream in splitters:
        whole = b"".join(chunk for each, chunk in writes if each == stream)
        assert b"".join(line.data for line in found if line.stream == stream) == whole
    assert [line.time_ns for line in found] == sorted(line.time_ns for line in found)
    assert list(lines.backward(texts[::-1]))[::-1] == found


def test_a_line_whose_end_was_never_written_is_shown_when_another_follows():
    texts = [b"1 o F a", b"2 o B begun", b"3 o M on", b"4 o F next", b"5 o B again", b"6 o M being written"]
    expected = [b"a\n", b"begunon", b"next\n"]
    assert [line.data for line in lines.forward(texts)] == expected
    assert [line.data for line in lines.backward(texts[::-1])][::-1] == expected


def test_a_line_whose_beginning_was_dropped_is_shown_as_far_as_it_is_there():
    texts = [b"3 o M middle", b"4 o E end", b"5 o F next"]
    for found in (lines.forward(texts), reversed(list(lines.backward(texts[::-1])))):
        assert [line.data for line in found] == [b"middleend\n", b"next\n"]


def test_logs_go_on_over_a_restart(engine, run):
    identifier = ended(engine, run("echo", "again"))
    engine.start(identifier)
    ended(engine, identifier)
    assert text(engine.logs(identifier)) == b"again\nagain\n"


def test_a_burst_is_complete_and_the_files_bounded(tmp_path):
    limits = Limits(log_bytes=100_000, log_files=3)
    engine = NamespacesEngine(tmp_path, limits=limits)
    try:
        from chi_edge_lab.local.engines.base import Spec

        engine.create(Spec(id="burst", name="burst", image="busybox", command=("seq", "1", "20000")))
        engine.start("burst")
        ended(engine, "burst")
        numbers = [int(line.data) for line in engine.logs("burst")]
        assert numbers[-1] == 20000
        assert numbers == list(range(numbers[0], 20001))
        assert numbers[0] > 1  # the oldest were dropped
        sizes = [path.stat().st_size for path in (tmp_path / "containers/burst/log").iterdir()]
        assert len(sizes) <= 3
        assert max(sizes) <= 100_000
        assert [int(line.data) for line in engine.logs("burst", tail=9000)] == numbers[-9000:]
        engine.remove("burst")
    finally:
        engine.close()


def test_a_burst_loses_nothing(engine, run):
    identifier = ended(engine, run("seq", "1", "100000"))
    lines = list(engine.logs(identifier))
    assert text(lines) == b"".join(b"%d\n" % number for number in range(1, 100001))
    times = [line.time_ns for line in lines]
    assert all(earlier < later for earlier, later in itertools.pairwise(times))


def test_reading_while_it_is_written_sees_whole_lines(engine, run):
    identifier = run("sh", "-c", "i=0; while :; do echo line $i of the log; i=$((i+1)); done")
    wait_until(lambda: list(engine.logs(identifier, tail=1)))
    for _ in range(20):
        for line in engine.logs(identifier, tail=50):
            assert line.data.startswith(b"line ")
            assert line.data.endswith(b" of the log\n")
    engine.stop(identifier, timeout=0)


def test_no_container_no_log(engine, run):
    with pytest.raises(NoSuchContainer):
        engine.logs("nobody")
    assert list(engine.logs(run(started=False))) == []


@given(st.lists(st.binary(max_size=50_000), max_size=12))
def test_however_output_is_cut_the_log_has_all_of_it(chunks):
    splitter, clock = Splitter("stdout"), Clock()
    records = b"".join(splitter.feed(chunk, clock) for chunk in chunks if chunk) + splitter.end(clock)
    texts = records.split(b"\n")[:-1]
    assert None not in [lines.parse(text) for text in texts]
    found = list(lines.forward(texts))
    assert b"".join(line.data for line in found) == b"".join(chunks)
    assert all(line.data.count(b"\n") <= 1 and len(line.data) <= 2**20 + 1 for line in found)
    assert list(lines.backward(texts[::-1]))[::-1] == found


@given(records=st.lists(st.binary(max_size=300).map(lambda data: data.replace(b"\n", b"")), max_size=60))
def test_backward_is_forward_turned_round(tmp_path_factory, records):
    directory = tmp_path_factory.mktemp("log")
    log, clock = LogFile(str(directory / "log"), 4000, 1000), Clock()
    splitter = Splitter("stderr")
    for record in records:
        log.append(splitter.feed(record + b"\n", clock))
    log.close()
    streams = frozenset({"stderr"})
    forward = list(logs.read(directory / "log", since_ns=None, tail=None, streams=streams))
    assert [line.data for line in forward] == [record + b"\n" for record in records]
    for tail in (1, 7, 1000):
        found = list(logs.read(directory / "log", since_ns=None, tail=tail, streams=streams))
        assert found == forward[-tail:]


def test_damaged_records_are_left_out(tmp_path):
    (tmp_path / "00000001").write_bytes(
        b"17 o F good\n17 o\nnonsense\n\n18 x F y\n19 e L last\n20 o F cut off"
    )
    streams = frozenset({"stdout", "stderr"})
    for tail in (None, 10):
        found = list(logs.read(tmp_path, since_ns=None, tail=tail, streams=streams))
        assert [(line.time_ns, line.data) for line in found] == [(17, b"good\n"), (19, b"last")]
