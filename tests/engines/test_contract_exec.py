"""What every engine does with commands in a running container (base.py)."""

from __future__ import annotations

import io
import pathlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chi_edge_lab.local.engines.base import CommandNotFound, Engine, EngineError

from .conftest import Make, wait_for

# of FAULTS "names, paths, text"
WORDS = [
    "with space",
    "a'b\"c",
    "; reboot",
    "$(reboot)",
    "`reboot`",
    "two\nlines",
    "-rf",
    "",
    "*",
    "~",
    "\\",
    "%s%n",
    "../../etc/passwd",
    "%2e%2e%2f",
    "C:\\x",
    "<img src=x onerror=alert(1)>",
    "\u202egpj.exe",
    "a\u200bb",
    "🦊",
    "ä" * 255,
    "\t\r\x01\x7f",
]


def test_both_outputs_in_their_order(engine: Engine, box: str) -> None:
    script = "for i in 1 2 3 4 5; do echo out$i; sleep 0.02; echo err$i >&2; sleep 0.02; done; exit 3"
    result = engine.execute(box, ["sh", "-c", script])
    assert result.output.decode().split() == [f"{name}{i}" for i in range(1, 6) for name in ("out", "err")]
    assert result.exit_code == 3
    assert not result.truncated


def test_environment_and_workdir_are_the_containers(engine: Engine, box: str) -> None:
    result = engine.execute(box, ["sh", "-c", 'echo "$COLOUR $(pwd) $(hostname)"'])
    assert result.output == b"blue ink /tmp box-host\n"


def test_there_is_no_shell_in_between(engine: Engine, box: str) -> None:
    assert engine.execute(box, ["echo", "$HOME", "*", ";", "|"]).output == b"$HOME * ; |\n"


@pytest.mark.parametrize("word", WORDS)
def test_words_arrive_unchanged(engine: Engine, box: str, word: str) -> None:
    assert engine.execute(box, ["printf", "%s", word]).output == word.encode()


def test_a_word_that_is_not_text_arrives_unchanged_or_is_refused(engine: Engine, box: str) -> None:
    if engine.name == "docker":  # its API is JSON
        with pytest.raises(EngineError, match="UTF-8"):
            engine.execute(box, ["printf", "%s", "\udcff\udcfe"])
    else:
        assert engine.execute(box, ["printf", "%s", "\udcff\udcfe"]).output == b"\xff\xfe"


def test_a_nul_in_a_word_is_refused(engine: Engine, box: str) -> None:
    with pytest.raises(EngineError):
        engine.execute(box, ["echo", "a\0b"])


def test_a_long_word(engine: Engine, box: str) -> None:
    assert engine.execute(box, ["printf", "%s", "x" * 100_000]).output == b"x" * 100_000


def test_signals_are_128_and_more(engine: Engine, box: str) -> None:
    assert engine.execute(box, ["sh", "-c", "kill -9 $$"]).exit_code == 137


@pytest.mark.parametrize("program", ["no-such-program", "/etc/passwd", "/etc", "./nothing", ""])
def test_a_program_that_cannot_run(engine: Engine, box: str, program: str) -> None:
    with pytest.raises(CommandNotFound):
        engine.execute(box, [program, "argument"])


def test_no_program(engine: Engine, box: str) -> None:
    with pytest.raises(CommandNotFound):
        engine.execute(box, [])


def test_a_program_that_ends_with_127_was_found(engine: Engine, box: str) -> None:
    assert engine.execute(box, ["sh", "-c", "no-such-program"]).exit_code == 127
    assert engine.execute(box, ["sh", "-c", "exit 126"]).exit_code == 126


def test_out_of_time_the_command_goes_on(engine: Engine, box: str) -> None:
    begin = time.monotonic()
    script = "echo begun; sleep 1; echo more; echo over > /tmp/over"
    result = engine.execute(box, ["sh", "-c", script], timeout=0.4)
    assert 0.35 < time.monotonic() - begin < 2
    assert result.exit_code is None
    assert result.output == b"begun\n"
    wait_for(lambda: engine.execute(box, ["cat", "/tmp/over"]).output == b"over\n")


def test_stdin_is_fed_and_ends(engine: Engine, box: str) -> None:
    data = bytes(range(256)) * 8192
    out = io.BytesIO()
    result = engine.execute(box, ["sh", "-c", "cat; echo done >&2"], stdin=data, stdout=out)
    assert out.getvalue() == data
    assert (result.output, result.exit_code) == (b"done\n", 0)


def test_empty_stdin_ends_at_once(engine: Engine, box: str) -> None:
    assert engine.execute(box, ["cat"], stdin=b"", timeout=10).exit_code == 0


def test_without_stdin_there_is_none_to_read(engine: Engine, box: str) -> None:
    assert engine.execute(box, ["cat"], timeout=10).exit_code == 0


def test_stdin_that_nobody_reads(engine: Engine, box: str) -> None:
    assert engine.execute(box, ["sh", "-c", "exit 4"], stdin=b"x" * 2**22, timeout=20).exit_code == 4


def test_held_stdin_never_ends_until_the_call_does(engine: Engine, box: str) -> None:
    script = "cat > /tmp/held; echo ended > /tmp/held-ended"
    result = engine.execute(box, ["sh", "-c", script], stdin=b"all of it", hold_stdin=True, timeout=0.5)
    assert result.exit_code is None
    wait_for(lambda: engine.execute(box, ["cat", "/tmp/held-ended"]).output == b"ended\n")
    assert engine.execute(box, ["cat", "/tmp/held"]).output == b"all of it"


def test_held_stdin_does_not_hold_a_command_that_ends(engine: Engine, box: str) -> None:
    result = engine.execute(box, ["head", "-c", "3"], stdin=b"abcdef", hold_stdin=True, timeout=10)
    assert (result.output, result.exit_code) == (b"abc", 0)


def test_stdout_to_a_file_and_stderr_apart(engine: Engine, box: str, tmp_path: pathlib.Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        script = "head -c 3000000 /dev/zero; echo problem >&2; exit 2"
        result = engine.execute(box, ["sh", "-c", script], stdout=out)
    assert (tmp_path / "out").stat().st_size == 3_000_000
    assert (result.output, result.exit_code) == (b"problem\n", 2)


def test_a_missing_program_writes_nothing_to_the_file(engine: Engine, box: str) -> None:
    out = io.BytesIO()
    with pytest.raises(CommandNotFound):
        engine.execute(box, ["no-such-program"], stdout=out)
    assert out.getvalue() == b""


def test_too_much_output_is_dropped_and_said(engine: Engine, box: str) -> None:
    result = engine.execute(box, ["sh", "-c", "head -c 5000000 /dev/zero; exit 6"], max_output=1000)
    assert (len(result.output), result.truncated, result.exit_code) == (1000, True, 6)
    exact = engine.execute(box, ["printf", "12345"], max_output=5)
    assert (exact.output, exact.truncated) == (b"12345", False)


def test_a_container_that_dies_takes_its_commands_along(engine: Engine, make: Make) -> None:
    id = make("sleep", "1000")
    threading.Timer(0.5, engine.kill, [id]).start()
    begin = time.monotonic()
    assert engine.execute(id, ["sleep", "30"]).exit_code == 137
    assert time.monotonic() - begin < 10


def test_a_container_that_is_removed_takes_its_commands_along(engine: Engine, make: Make) -> None:
    id = make("sleep", "1000")
    threading.Timer(0.5, engine.remove, [id]).start()
    begin = time.monotonic()
    assert engine.execute(id, ["sleep", "30"]).exit_code == 137
    assert time.monotonic() - begin < 10


def test_many_at_once(engine: Engine, box: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda i: engine.execute(box, ["sh", "-c", f"echo {i}; exit {i}"]), range(16))
    assert [(result.output, result.exit_code) for result in results] == [(b"%d\n" % i, i) for i in range(16)]
