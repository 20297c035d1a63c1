"""The merge of log windows: each line once, in order, whatever the timestamps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chi_edge_lab.core.logs import LogLine, Merger, parse_line, parse_stamp, split_lines


def stamped(number: int, text: str = "x") -> str:
    return f"2026-11-23T12:00:{number // 10:02d}.{number % 10}Z {text}"


@settings(max_examples=300)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=40), st.integers(31, 60))
def test_growing_log_comes_out_once_and_in_order_when_polls_overlap(steps: list[int], window: int) -> None:
    log: list[str] = []
    out: list[str] = []
    merger = Merger()
    for step in steps:
        log += [stamped(len(log) + number, f"line {len(log) + number}") for number in range(step)]
        fresh, joined = merger.new_lines(log[-window:], window)
        assert joined
        out += fresh
    assert out == log


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_equal_lines_with_equal_timestamps_are_counted_while_the_log_is_whole(steps: list[int]) -> None:
    log: list[str] = []
    out: list[str] = []
    merger = Merger()
    for step in steps:
        log += [stamped(0)] * step
        fresh, _ = merger.new_lines(log[-500:], 500)
        out += fresh
    assert out == log


def test_lines_lost_between_two_polls_are_noticed() -> None:
    log = [stamped(number, str(number)) for number in range(100)]
    merger = Merger()
    merger.new_lines(log[:10], 10)
    assert not merger.look(log[-10:], full=True).joined
    fresh, joined = merger.new_lines(log[-10:], 10)
    assert not joined
    assert fresh == log[-10:]
    assert merger.look(log[5:], full=True).joined


def test_larger_window_that_goes_further_back_gives_only_what_is_new() -> None:
    log = [stamped(number, str(number)) for number in range(100)]
    merger = Merger()
    merger.new_lines(log[40:50], 10)
    fresh, joined = merger.new_lines(log[20:60], 40)
    assert joined
    assert fresh == log[50:60]


def test_container_made_anew_begins_a_log_anew() -> None:
    first = [stamped(number, str(number)) for number in range(10)]
    second = [stamped(50 + number, str(number)) for number in range(5)]
    merger = Merger()
    merger.new_lines(first, 200)
    fresh, joined = merger.new_lines(second, 200)
    assert not joined
    assert fresh == second
    assert merger.new_lines([*second, stamped(60)], 200) == ([stamped(60)], True)


def test_restart_of_a_container_that_keeps_its_log_goes_on() -> None:
    log = [stamped(9, "stopping"), stamped(3, "clock went back"), stamped(3, "clock went back")]
    merger = Merger()
    assert merger.new_lines(log[:1], 200) == (log[:1], True)
    assert merger.new_lines(log, 200) == (log[1:], True)


def test_rotated_log_loses_its_beginning_but_no_line_comes_twice() -> None:
    log = [stamped(number, str(number)) for number in range(30)]
    merger = Merger()
    merger.new_lines(log[:20], 200)
    assert merger.new_lines(log[10:], 200) == (log[20:], True)


@given(
    st.lists(st.sampled_from("ab"), max_size=12), st.integers(1, 6), st.lists(st.integers(0, 3), max_size=8)
)
def test_any_log_of_few_different_lines_never_breaks_and_never_invents(
    start: list[str], window: int, steps: list[int]
) -> None:
    log = list(start)
    merger = Merger()
    out = merger.new_lines(log[-window:], window)[0]
    for step in steps:
        log += ["a"] * step
        out += merger.new_lines(log[-window:], window)[0]
    assert len(out) <= len(log)
    assert set(out) <= set(log)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-11-23T12:00:00.123456789Z hello", LogLine("2026-11-23T12:00:00.123456789Z", "hello")),
        ("2026-11-23T12:00:00Z ", LogLine("2026-11-23T12:00:00Z", "")),
        ("2026-11-23T12:00:00Z", LogLine("2026-11-23T12:00:00Z", "")),
        ("2026-11-23T12:00:00+02:00 x\r", LogLine("2026-11-23T12:00:00+02:00", "x")),
        ("no stamp", LogLine("", "no stamp")),
        ("2026-11-23T12:00:00Z 50%\r60%", LogLine("2026-11-23T12:00:00Z", "50%\r60%")),
    ],
)
def test_line_is_split_into_stamp_and_text(line: str, expected: LogLine) -> None:
    assert parse_line(line) == expected


def test_stamps_of_any_precision_are_utc_times() -> None:
    nine = parse_stamp("2026-11-23T12:00:00.123456789Z")
    assert nine is not None
    assert nine.isoformat() == "2026-11-23T12:00:00.123456+00:00"
    offset = parse_stamp("2026-11-23T12:00:00+02:00")
    assert offset is not None
    assert offset.hour == 10
    assert parse_stamp("2026-13-45T99:00:00Z") is None
    assert parse_stamp("") is None


@given(st.text())
def test_any_text_is_a_line(text: str) -> None:
    assert isinstance(parse_line(text).time, object)
    whole, rest = split_lines(text)
    assert "\n".join([*whole, rest]) == text
