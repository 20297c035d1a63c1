"""The ring: paging, jumping, searching, falling off, and being killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chi_edge_lab.core.logs.lines import Gap, LogLine, format_ns
from chi_edge_lab.core.logs.ring import Ring, merged
from chi_edge_lab.core.logs.search import Query, search
from chi_edge_lab.errors import BadInput

START = 1_790_000_000_000_000_000


def line(number: int, text: str = "") -> LogLine:
    return LogLine(format_ns(START + number * 1_000_000), text or f"line {number}")


def filled(directory: Path, count: int, limit: int = 64 << 20, first: int = 0) -> Ring:
    ring = Ring(directory, limit, first=first)
    for begin in range(0, count, 1000):
        ring.append([line(number) for number in range(begin, min(begin + 1000, count))])
    return ring


def test_pages_cross_segments_both_ways(tmp_path: Path) -> None:
    ring = filled(tmp_path, 50_000, limit=1 << 22)
    assert len(ring.segments()) > 3
    assert [one.seq for one in ring.page(1234, 20_000)] == list(range(1234, 21_234))
    assert [one.text for one in ring.before(21_234, 20_000)] == [f"line {n}" for n in range(1234, 21_234)]
    assert [one.seq for one in ring.last(3)] == [49_997, 49_998, 49_999]
    assert ring.page(50_000, 5) == []
    assert ring.before(0, 5) == []


def test_a_page_is_bounded_in_bytes_and_has_one_line_at_least(tmp_path: Path) -> None:
    ring = Ring(tmp_path)
    ring.append([line(number, "x" * 1000) for number in range(100)])
    assert len(ring.page(0, 100, 5000)) in {4, 5}
    assert [one.seq for one in ring.before(100, 100, 10)] == [99]
    assert [one.seq for one in ring.page(50, 100, 10)] == [50]


def test_the_oldest_lines_fall_off_and_the_limit_is_kept(tmp_path: Path) -> None:
    ring = filled(tmp_path, 100_000, limit=1 << 20)
    assert ring.next == 100_000
    assert 0 < ring.first < ring.next
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert on_disk == ring.size <= 1 << 20
    assert ring.page(0, 1)[0].seq == ring.first
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    assert search(ring, Query("line 99999")).numbers == [99_999]


def test_jump_to_a_time_also_where_clocks_went_back(tmp_path: Path) -> None:
    ring = Ring(tmp_path)
    ring.append([line(5), line(3), LogLine("", "without"), line(9), line(8)])
    assert ring.at_time(START) == 0
    assert ring.at_time(START + 6_000_000) == 3
    assert ring.at_time(START + 10_000_000) == ring.next == 5


def test_lines_come_back_as_they_were(tmp_path: Path) -> None:
    lines = [
        LogLine(format_ns(START), "nul \0, lone \r, ünï \x1b[1m", stream="stderr"),
        Gap("", "[gap]"),
        LogLine("", "\ud800"),
        LogLine("", ""),
    ]
    ring = Ring(tmp_path, first=7)
    ring.append(lines)
    ring.close()
    again = Ring(tmp_path).page(0, 10)
    assert [(type(one), one.stamp, one.text, one.stream) for one in again] == [
        (type(one), one.stamp, one.text, one.stream) for one in lines
    ]
    assert [one.seq for one in again] == [7, 8, 9, 10]


@settings(max_examples=150, deadline=None)
@given(
    texts=st.lists(
        st.text(st.sampled_from("ab Bé_\x00\r1"), max_size=8)
        | st.sampled_from(["a b", "ERROR ab", "\x1b[31ma\x1b[0mb"]),
        max_size=60,
    ),
    wanted=st.text(st.sampled_from("ab Bé_1"), max_size=3),
    case=st.booleans(),
    word=st.booleans(),
    inverse=st.booleans(),
    limit=st.integers(0, 5),
    backward=st.booleans(),
    start=st.none() | st.integers(0, 60),
)  # fmt: skip
def test_search_finds_what_looking_at_each_line_finds(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], wanted: str, case: bool, word: bool,
    inverse: bool, limit: int, backward: bool, start: int | None,
) -> None:  # fmt: skip
    ring = Ring(tmp_path_factory.mktemp("ring"))
    ring.append([LogLine("", text) for text in texts])
    pattern = rf"(?<!\w){re.escape(wanted)}(?!\w)" if word and wanted else re.escape(wanted)
    looks = re.compile(pattern, 0 if case else re.IGNORECASE)
    plain = [re.sub(r"\x1b\[\d*m", "", text) for text in texts]
    numbers = [number for number, text in enumerate(plain) if bool(looks.search(text)) != inverse]
    query = Query(wanted, case=case, word=word, inverse=inverse)
    found = search(ring, query, limit=limit, backward=backward, start=start)
    assert found.total == len(numbers)
    if backward:
        numbers = [number for number in numbers if start is None or number < start]
        assert found.numbers == (numbers[-limit:] if limit else [])
    else:
        assert found.numbers == [number for number in numbers if start is None or number >= start][:limit]
    ring.remove()


def test_levels_are_filtered_and_a_trace_has_its_first_lines(tmp_path: Path) -> None:
    ring = Ring(tmp_path)
    texts = ["INFO fine", "ERROR it broke", "    at Main.run(Main.java:3)", "WARN careful", "plain"]
    ring.append([LogLine("", text) for text in texts])
    assert search(ring, Query(levels=["error"])).numbers == [1, 2]
    assert search(ring, Query("e", levels=["error", "warning"])).numbers == [1, 3]
    assert search(ring, Query("broke", inverse=True, levels=["error"])).numbers == [2]
    with pytest.raises(BadInput):
        Query(levels=["loud"])


def test_a_pattern_that_never_ends_is_ended(tmp_path: Path) -> None:
    ring = Ring(tmp_path)
    ring.append([LogLine("", "a" * 40 + "!")])
    began = time.monotonic()
    found = search(ring, Query("(a+)+$", regex=True, seconds=0.5))
    assert time.monotonic() - began < 5
    assert not found.complete
    assert found.total == 0
    with pytest.raises(BadInput):
        search(ring, Query("(", regex=True))


def test_regular_expressions_see_text_without_colours_and_never_two_lines(tmp_path: Path) -> None:
    ring = Ring(tmp_path)
    ring.append([LogLine("", text) for text in ["\x1b[31mER\x1b[0mROR 17", "error", "17"]])
    assert search(ring, Query(r"ERROR \d+$", regex=True, case=True)).numbers == [0]
    assert search(ring, Query(r"error\s17", regex=True)).numbers == [0]


def test_logs_are_merged_by_time_and_keep_their_own_order() -> None:
    one, two = [line(1), line(5), line(2), line(9)], [line(0), line(6)]
    assert [(log, text.text) for log, text in merged(one, two)] == [
        (1, "line 0"), (0, "line 1"), (0, "line 5"), (0, "line 2"), (1, "line 6"), (0, "line 9"),
    ]  # fmt: skip


WRITER = """
import sys
from pathlib import Path
from chi_edge_lab.core.logs.lines import LogLine
from chi_edge_lab.core.logs.ring import Ring
ring = Ring(Path(sys.argv[1]), 1 << 20)
number = 0
while True:
    ring.append([LogLine("", f"line {n}") for n in range(number, number + 97)])
    number += 97
    print(number, flush=True)
"""


def test_a_ring_whose_writer_was_killed_is_whole(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        for said in writer.stdout:
            if int(said) > 30_000:
                break
        os.kill(writer.pid, signal.SIGKILL)
        writer.stdout.read()
    ring = Ring(tmp_path, 1 << 20)
    assert ring.next >= 30_000
    lines = ring.page(0, 10**6, 10**9)
    assert [one.text for one in lines] == [f"line {n}" for n in range(ring.first, ring.next)]
    ring.append([LogLine("", "after")])
    assert ring.last(1)[0].text == "after"


@pytest.mark.parametrize("cut", [1, 5, 15, 16, 17, 100])
def test_files_that_end_in_mid_line_are_read_as_far_as_they_are_whole(tmp_path: Path, cut: int) -> None:
    for suffix in ("index", "text"):
        directory = tmp_path / suffix
        filled(directory, 100).close()
        path = next(directory.glob(f"*.{suffix}"))
        os.truncate(path, path.stat().st_size - cut)
        ring = Ring(directory)
        lines = ring.page(0, 1000)
        assert 85 < len(lines) < 100
        assert [one.text for one in lines] == [f"line {n}" for n in range(len(lines))]
