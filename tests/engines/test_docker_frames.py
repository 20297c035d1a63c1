"""Streams and logs of the daemon taken to pieces (pure functions)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chi_edge_lab.local.engines.base import LogLine, Stream
from chi_edge_lab.local.engines.docker import frames

STREAMS = st.sampled_from(["stdout", "stderr"])
MESSAGES = st.lists(st.tuples(STREAMS, st.binary(min_size=1, max_size=40)), max_size=20)


def encode(messages: list[tuple[Stream, bytes]]) -> bytes:
    return b"".join(
        bytes([2 if stream == "stderr" else 1, 0, 0, 0]) + len(data).to_bytes(4, "big") + data
        for stream, data in messages
    )


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """`data` in pieces of these sizes, over and over."""
    pieces, index = [], 0
    while data:
        size = sizes[index % len(sizes)]
        pieces.append(data[:size])
        data, index = data[size:], index + 1
    return pieces


CUTS = st.lists(st.integers(1, 30), min_size=1, max_size=5)


@given(MESSAGES, CUTS)
def test_a_stream_is_the_same_however_it_is_cut(
    messages: list[tuple[Stream, bytes]], sizes: list[int]
) -> None:
    demultiplexer = frames.Demultiplexer()
    pieces = [piece for chunk in cut(encode(messages), sizes) for piece in demultiplexer.feed(chunk)]
    for wanted in ("stdout", "stderr"):
        assert b"".join(data for stream, data in pieces if stream == wanted) == b"".join(
            data for stream, data in messages if stream == wanted
        )


@given(MESSAGES, CUTS)
def test_frames_are_whole_however_the_stream_is_cut(
    messages: list[tuple[Stream, bytes]], sizes: list[int]
) -> None:
    assert list(frames.frames(cut(encode(messages), sizes))) == messages


def stamp(second: int, text: bytes) -> bytes:
    return b"2026-11-23T13:17:%02d.000000001Z " % second + text


def test_a_long_line_is_put_together_within_its_stream() -> None:
    messages: list[tuple[Stream, bytes]] = [
        ("stdout", stamp(1, b"a" * 10)),
        ("stderr", stamp(2, b"error\n")),
        ("stdout", stamp(3, b"b\n")),
        ("stdout", stamp(4, b"no end")),
    ]
    lines = list(frames.log_lines(messages))
    first = frames.parse_time("2026-11-23T13:17:01.000000001Z")
    assert first is not None
    assert lines == [
        LogLine(first + 10**9, "stderr", b"error\n"),
        LogLine(first, "stdout", b"a" * 10 + b"b\n"),
        LogLine(first + 3 * 10**9, "stdout", b"no end"),
    ]


def test_a_line_without_end_does_not_grow_without_bound() -> None:
    piece: tuple[Stream, bytes] = ("stdout", stamp(1, b"x" * frames.PARTIAL))
    lines = list(frames.log_lines([piece] * 100))
    assert [len(line.data) for line in lines] == [2**20, 36 * frames.PARTIAL]


@given(st.lists(st.integers(0, 3 * frames.PARTIAL), max_size=4), CUTS)
def test_a_tty_log_is_cut_where_the_daemon_cut_it(lengths: list[int], sizes: list[int]) -> None:
    log = b""
    for length in lengths:
        line = b"y" * length + b"\r\n"
        parts = [line[at : at + frames.PARTIAL] for at in range(0, len(line), frames.PARTIAL)]
        log += b"".join(stamp(5, part) for part in parts)
    messages = frames.tty_messages(cut(log, [size * 1000 for size in sizes]))
    assert [len(line.data) for line in frames.log_lines(messages)] == [length + 2 for length in lengths]


def test_times() -> None:
    assert frames.parse_time("1970-01-01T00:00:01Z") == 10**9
    assert frames.parse_time("1970-01-01T01:00:00.5+01:00") == 5 * 10**8
    assert frames.parse_time("1969-12-31T23:00:00-01:00") == 0
    assert frames.parse_time("2026-11-23T13:17:42.984612436Z") == 1795439862984612436
    assert frames.parse_time("0001-01-01T00:00:00Z") is None
    assert frames.parse_time("") is None
    assert frames.parse_message(b"no time here") == (0, b"no time here")
