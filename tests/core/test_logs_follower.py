"""A follower against a log with known lines: each exactly once and in order, whatever happens."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chi_edge_lab.core.logs import Follower, Gap, Incarnation, LogLine
from chi_edge_lab.core.logs import fetch as fetching
from chi_edge_lab.core.logs import follower as following
from chi_edge_lab.core.logs.lines import LINE_LONGEST
from chi_edge_lab.errors import ContainerGone, NotFound, ReplyTooLong, ServerError
from chi_edge_lab.zun import Client
from tests.core.growinglog import RECORD, GrowingLog

DIALECTS = ("k8s", "docker")


def follower_of(log: GrowingLog, **options: Any) -> Follower:
    options.setdefault("tail", None)
    options.setdefault("until_stopped", False)
    options.setdefault("patience", None)
    return Follower(cast("Client", log), "uuid", **options)


def lines_of(found: list[LogLine]) -> list[str]:
    return [line.text for line in found if not isinstance(line, Gap | Incarnation)]


def drain(log: GrowingLog, follower: Follower) -> list[LogLine]:
    """What comes after the container has ended, the site being well."""
    log.end()
    log.status = "Stopped"
    log.faults.clear()
    follower._status_at = 0.0  # the look at the status is not waited for
    follower._busy = False
    return [*follower.poll(), *follower.poll()]


# -- the property ------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.sampled_from(["x", "", "same", "50%\r60%", "nul\0", "ünïcödé ☃", "\x1b[31mred", "a Z b"]),
    st.integers(0, 3).map(lambda number: "y" * (RECORD * number + number)),
)
STEPS = st.sampled_from([1_000_000, 1_000_000, 0, -500_000_000])
HAPPENINGS = st.one_of(
    st.tuples(st.just("print"), st.lists(TEXTS, max_size=30), STEPS),
    st.tuples(st.just("partial"), st.sampled_from(["no newline yet", "z" * (RECORD + 5)]), STEPS),
    st.tuples(st.just("restart"), st.none(), st.none()),
    st.tuples(
        st.just("fault"), st.sampled_from(["unreachable", "server", "state", "empty"]), st.integers(1, 4)
    ),
    st.tuples(st.just("poll"), st.none(), st.none()),
)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=250, deadline=None)
@given(st.lists(HAPPENINGS, max_size=25), st.integers(0, 3))
@example([("print", ["x"] * 20, 0), ("poll", None, None), ("print", ["x"] * 20, 0)], 1)
@example([("partial", "no newline yet", 1), ("restart", None, None), ("print", ["first"], 1)], 1)
def test_each_line_comes_once_and_in_order(dialect: str, happenings: list[Any], polls: int) -> None:
    log = GrowingLog(dialect)
    follower = follower_of(log)
    found = follower.poll()
    numbers = itertools.count()
    for what, value, extra in happenings:
        if what == "print":
            for text in value:
                # numbered, or the lines that are not could not be told apart by anyone
                log.write(f"{text} {next(numbers)}\n" if extra <= 0 else f"{text}\n", step=extra)
        elif what == "partial":
            log.write(value, step=extra)
        elif what == "restart":
            log.restart()
        elif what == "fault":
            # more in a row is another test: then less is asked for
            log.faults.extend([value] * min(extra, 5 - len(log.faults)))
        else:
            found += follower.poll()
        for _ in range(polls):
            found += follower.poll()
    found += drain(log, follower)
    assert lines_of(found) == log.expected
    assert [line.seq for line in found] == list(range(len(found)))
    assert not any(isinstance(line, Gap) for line in found)


@pytest.mark.parametrize("dialect", DIALECTS)
@settings(max_examples=60, deadline=None)
@given(bursts=st.lists(st.integers(0, 3000), max_size=8))
def test_a_burst_of_any_size_is_whole(dialect: str, bursts: list[int]) -> None:
    log = GrowingLog(dialect)
    follower = follower_of(log)
    found = follower.poll()
    number = 0
    for burst in bursts:
        log.write("".join(f"line {number + more}\n" for more in range(burst)))
        number += burst
        found += follower.poll()
    found += drain(log, follower)
    assert lines_of(found) == log.expected


# -- single facts --------------------------------------------------------------------------------------


def test_lines_that_come_faster_than_any_answer_leave_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "WINDOW_LARGEST", 800)
    log = GrowingLog("docker")
    follower = follower_of(log)
    log.write("first\n")
    assert lines_of(follower.poll()) == ["first"]
    log.write("".join(f"{number}\n" for number in range(1000)))
    found = follower.poll()
    assert isinstance(found[0], Gap)
    assert found[0].text == following.LOST
    assert lines_of(found) == [str(number) for number in range(200, 1000)]
    assert max(log.requests) == 800


def test_an_empty_log_that_fills_beyond_the_first_window_is_whole() -> None:
    log = GrowingLog("k8s")
    follower = follower_of(log)
    assert follower.poll() == []
    log.write("".join(f"{number}\n" for number in range(1000)))
    assert lines_of(follower.poll()) == [str(number) for number in range(1000)]


def test_a_replaced_pod_begins_a_new_incarnation() -> None:
    log = GrowingLog("k8s")
    follower = follower_of(log)
    log.write("one\ntwo\nthree without end")
    assert lines_of(follower.poll()) == ["one", "two"]
    log.restart()
    log.faults.append("empty")
    assert follower.poll() == []
    log.write("one\n")
    found = follower.poll()
    assert [type(line) for line in found] == [Incarnation, LogLine]
    assert found[1].text == "one"


def test_a_restart_on_docker_goes_on_in_the_same_log() -> None:
    log = GrowingLog("docker")
    follower = follower_of(log)
    log.write("one\n")
    assert lines_of(follower.poll()) == ["one"]
    log.restart()
    log.write("two\n")
    assert [type(line) for line in follower.poll()] == [LogLine]


def test_a_line_without_newline_is_held_until_its_container_ends() -> None:
    log = GrowingLog("docker")
    follower = follower_of(log, until_stopped=True)
    log.records.append((log.clock, "half", "stdout"))
    assert follower.poll() == []
    assert lines_of(drain(log, follower)) == ["half"]
    assert follower.ended


def test_what_a_restarted_container_prints_behind_a_line_without_newline_is_a_line_of_its_own() -> None:
    log = GrowingLog("docker")
    follower = follower_of(log)
    log.write("half")
    assert lines_of(drain(log, follower)) == ["half"]
    log.status = "Running"
    log.restart()
    log.write("first again\n")
    assert lines_of(follower.poll()) == ["first again"]
    log.write("second\n")
    assert lines_of(follower.poll()) == ["second"]


def test_a_line_of_ten_megabytes_is_cut_with_a_mark() -> None:
    log = GrowingLog("docker")
    follower = follower_of(log)
    log.write("before\n")
    found = follower.poll()
    log.write("x" * 10_000_000 + "\nafter\n")
    found += follower.poll()
    assert lines_of(found)[::2] == ["before", "after"]
    assert (
        found[1].text
        == "x" * LINE_LONGEST + f"[... {10_000_000 - LINE_LONGEST} more characters of this line are cut]"
    )
    log.write("more\n")
    assert lines_of(follower.poll()) == ["more"]


def test_an_answer_beyond_the_limit_is_asked_for_in_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    log = GrowingLog("k8s")
    whole = log.logs

    def logs(uuid: str, *, tail: int, limit: int | None = None, **query: Any) -> str:
        text = whole(uuid, tail=tail, **query)
        if limit is not None and len(text) > 10_000:
            raise ReplyTooLong("too long")
        return text

    monkeypatch.setattr(log, "logs", logs)
    follower = follower_of(log, tail=200)
    log.write("".join(f"{'x' * 200} {number}\n" for number in range(1000)))
    found = lines_of(follower.poll())
    assert found
    assert found[-1].endswith(" 999")
    log.write("next\n")
    assert lines_of(follower.poll()) == ["next"]


def test_a_line_that_the_site_cannot_send_is_gone_round_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """k8s: a line that is not UTF-8 gives 500 for as long as it is in the window."""
    log = GrowingLog("k8s")
    whole = log.logs

    def logs(uuid: str, *, tail: int, **query: Any) -> str:
        text = whole(uuid, tail=tail, **query)
        if "BAD" in text:
            raise ServerError("not UTF-8", http_status=500)
        return text

    monkeypatch.setattr(log, "logs", logs)
    follower = follower_of(log)
    log.write("one\n")
    assert lines_of(follower.poll()) == ["one"]
    log.write("BAD\n" + "".join(f"{number}\n" for number in range(10)))
    found: list[LogLine] = []
    for _ in range(7):
        found += follower.poll()
    assert isinstance(found[0], Gap)
    assert found[0].text == following.UNSENT
    after = lines_of(found)
    assert after == [str(number) for number in range(10)][-len(after) :]
    for number in range(10, 300):
        log.write(f"{number}\n")
        found += follower.poll()
    assert lines_of(found)[-290:] == [str(number) for number in range(10, 300)]
    assert sum(isinstance(line, Gap) for line in found) == 1


def test_a_deleted_container_ends_it() -> None:
    log = GrowingLog("docker")
    follower = follower_of(log)

    def gone(uuid: str) -> Any:
        raise NotFound("no such container", http_status=404)

    follower.poll()
    log.get_container = gone  # type: ignore[method-assign]
    follower._status_at = 0.0
    with pytest.raises(ContainerGone):
        follower.poll()
    assert follower.ended


def test_a_site_that_stays_ill_is_given_up_and_asked_less_and_less() -> None:
    log = GrowingLog("docker")
    follower = follower_of(log, patience=5)
    log.faults.extend(["unreachable"] * 100)
    pauses = []
    for _ in range(5):
        assert follower.poll() == []
        assert follower.problem is not None
        pauses.append(follower.pause)
    assert pauses[-1] > pauses[0]
    with pytest.raises(Exception, match="cut in the middle"):
        follower.poll()


def test_docker_tells_the_streams_and_k8s_does_not() -> None:
    for dialect, streams in (("docker", ["stdout", "stderr", "stdout"]), ("k8s", [None, None, None])):
        log = GrowingLog(dialect)
        log.write("out\n")
        log.write("err\n", stream="stderr")
        log.write("out\n")
        assert [line.stream for line in follower_of(log).poll()] == streams


def test_since_leaves_out_what_is_older() -> None:
    log = GrowingLog("k8s")
    for number in range(1000):
        log.write(f"{number}\n", step=1_000_000_000)
    since = (log.clock - 499 * 1_000_000_000) / 1e9
    assert lines_of(follower_of(log, since=since).poll()) == [str(number) for number in range(500, 1000)]


def test_no_answer_is_asked_for_without_a_bound() -> None:
    log = GrowingLog("docker")
    follower = follower_of(log, tail=10**9)
    follower.poll()
    assert max(log.requests) <= following.WINDOW_LARGEST
    assert fetching.FETCH_BYTES <= 32 << 20
