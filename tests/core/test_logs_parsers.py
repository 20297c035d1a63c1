"""The parsers of log lines; each case is a sentence."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chi_edge_lab.core.logs.ansi import plain, strip_sequences
from chi_edge_lab.core.logs.carriage import fold_carriage_returns
from chi_edge_lab.core.logs.fields import fields_of, message_of
from chi_edge_lab.core.logs.levels import LEVELS, level_of
from chi_edge_lab.core.logs.lines import LogLine
from chi_edge_lab.core.logs.stream import to_dataframe
from chi_edge_lab.core.logs.traces import group
from chi_edge_lab.core.logs.windows import RECORD_BYTES, window_of
from chi_edge_lab.errors import EdgeLabError

ANSI = {
    "colours go": ("\x1b[1;31mred\x1b[0m", "red"),
    "cursor moves and clears go": ("\x1b[2J\x1b[Habc\x1b[K", "abc"),
    "a title ended by BEL goes": ("\x1b]0;title\x07abc", "abc"),
    "a link ended by ST keeps its text": (
        "\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\", "click",
    ),
    "a clipboard write goes": ("\x1b]52;c;aGk=\x07x", "x"),
    "a device string goes": ("a\x1bPq#0;2\x1b\\b", "ab"),
    "8-bit controls mean the same": ("\x9b31mred\x9b0m \x9d0;t\x9cx", "red x"),
    "an unterminated title takes the rest of the line": ("a\x1b]0;never", "a"),
    "an unterminated title does not take the next line": ("a\x1b]0;never\nb", "a\nb"),
    "a reset goes": ("\x1bcabc", "abc"),
    "bracketed paste goes": ("\x1b[?2004habc\x1b[?2004l", "abc"),
    "a character set goes": ("\x1b(Babc", "abc"),
    "an escape at the end goes": ("abc\x1b", "abc"),
    "text with brackets stays": ("[31m is text", "[31m is text"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ANSI.values(), ids=ANSI)
def test_ansi(text: str, expected: str) -> None:
    assert strip_sequences(text) == expected
    assert plain(text) == expected


@given(st.text())
def test_stripping_keeps_newlines_and_leaves_no_escape(text: str) -> None:
    assert strip_sequences(text).count("\n") == text.count("\n")
    assert "\x1b" not in strip_sequences(text)


FOLDED = {
    "the last state stands": ("10%\r50%\r100%", "100%"),
    "a shorter part leaves the rest": ("100%\r7%", "7%0%"),
    "an erase leaves nothing": ("long text\r\x1b[Kdone", "\x1b[Kdone"),
    "a return at the end changes nothing": ("done\r", "done"),
    "empty parts change nothing": ("a\r\r\rb", "b"),
    "without returns it stays": ("plain", "plain"),
}


@pytest.mark.parametrize(("text", "expected"), FOLDED.values(), ids=FOLDED)
def test_carriage_returns(text: str, expected: str) -> None:
    assert fold_carriage_returns(text) == expected


FIELDS: dict[str, tuple[str, Any]] = {
    "an object gives its fields": ('{"level":"info","msg":"hi"}', {"level": "info", "msg": "hi"}),
    "colours around it do not matter": ('\x1b[2m{"a":1}\x1b[0m', {"a": 1}),
    "an array is text": ("[1, 2]", None),
    "half an object is text": ('{"a": 1', None),
    "Python's own spelling is text": ("{'a': 1}", None),
    "NaN and infinity become null": ('{"a":NaN,"b":1e999}', {"a": None, "b": None}),
    "deep nesting is text": ('{"a":' * 100_000, None),
    "a huge object is text": ('{"a":"' + "x" * 70_000 + '"}', None),
}


@pytest.mark.parametrize(("text", "expected"), FIELDS.values(), ids=FIELDS)
def test_json(text: str, expected: Any) -> None:
    assert fields_of(text) == expected


def test_the_message_of_a_structured_line() -> None:
    assert message_of({"msg": "a", "message": "b"}) == "b"
    assert message_of({"x": 1, "msg": 5}) == ""


LEVEL: dict[str, tuple[str, str | None]] = {
    "Python's logging": ("2026-01-01 12:00:00,123 WARNING root: careful", "warning"),
    "a prefix with a colon": ("error: no such file", "error"),
    "in brackets": ("[debug] starting", "debug"),
    "as a key": ('time="2026" level=info msg="ERROR in a message"', "info"),
    "JSON with a word": ('{"level":"warn","msg":"x"}', "warning"),
    "pino's numbers": ('{"level":50,"msg":"x"}', "error"),
    "JSON without a level": ('{"msg":"an error"}', None),
    "Kubernetes' own": ("E1123 12:00:00.000000       1 main.go:1] broken", "error"),
    "in colours": ("\x1b[31mERROR\x1b[0m broken", "error"),
    "a Python traceback": ("Traceback (most recent call last):", "error"),
    "an exception's line": ("ValueError: bad", "error"),
    "a Go panic": ("panic: runtime error", "critical"),
    "talk about errors": ("no error was found in information", None),
    "a path": ("/var/log/ERROR/x", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("text", "expected"), LEVEL.values(), ids=LEVEL)
def test_level(text: str, expected: str | None) -> None:
    assert level_of(text) == expected


@given(st.text())
def test_any_text_has_a_level_or_none(text: str) -> None:
    assert level_of(text) in {None, *LEVELS}


TRACES = {
    "Python": ["Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "    f()", "ValueError: no"],
    "Java": ["Exception in thread main java.lang.E: x", "\tat A.b(A.java:1)", "Caused by: java.io.E", "\t... 3 more"],
    "Go": ["panic: oh", "", "goroutine 1 [running]:", "main.main()", "\t/a/main.go:3 +0x1d", "exit status 2"],
    "Node": ["TypeError: x is not a function", "    at f (/a.js:1:2)", "    at node:internal/main:3"],
}  # fmt: skip


@pytest.mark.parametrize("lines", TRACES.values(), ids=TRACES)
def test_a_trace_is_one_group(lines: list[str]) -> None:
    assert list(group(["before", *lines, "after"])) == [["before"], lines, ["after"]]


@given(st.lists(st.text(max_size=20)))
def test_groups_lose_no_line(lines: list[str]) -> None:
    assert [line for part in group(lines) for line in part] == lines


A, B = "2026-11-23T12:00:00.000000001Z ", "2026-11-23T12:00:01.000000000Z "
LONG = "x" * RECORD_BYTES
WINDOWS = {
    "records of one line are joined": (f"{A}{LONG}{B}end\n", [f"{A}{LONG}end"], ""),
    "a line without newline before a restart stands alone": (f"{A}half{B}first\n", [f"{A}half", f"{B}first"], ""),
    "a program's own stamp is text": (f"{B}{A}hello\n", [f"{B}{A}hello"], ""),
    "an earlier stamp in the text is text": (f"{B}since {A}ok\n", [f"{B}since {A}ok"], ""),
    "an unfinished line is the rest": (f"{A}one\n{B}tw", [f"{A}one"], f"{B}tw"),
    "a divided character counts as its bytes": (
        f"{A}{'x' * (RECORD_BYTES - 1)}�{B}�end\n", [f"{A}{'x' * (RECORD_BYTES - 1)}��end"], "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "lines", "rest"), WINDOWS.values(), ids=WINDOWS)
def test_windows(text: str, lines: list[str], rest: str) -> None:
    window = window_of(text, 100)
    assert (window.lines, window.rest, window.full) == (lines, rest, False)


def test_a_window_counts_records_as_docker_does() -> None:
    assert window_of(f"{A}{LONG}{B}end\n", 2).full


def test_without_pandas_a_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EdgeLabError, match="pandas"):
        to_dataframe([LogLine("", "x")])
