"""Commands in a running container."""

from __future__ import annotations

import io
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chi_edge_lab.local.engines.base import CommandNotFound, EngineError, NoSuchContainer, NotRunning, Spec
from chi_edge_lab.local.engines.namespaces import Limits, NamespacesEngine

from .conftest import wait_until


@pytest.fixture(scope="module")
def box(engine):
    """A container that many tests can share."""
    engine.create(Spec(id="box", name="box", image="busybox", command=("sleep", "1000")))
    engine.start("box")
    return "box"


def test_output_comes_in_order_with_the_exit_code(engine, box):
    result = engine.execute(box, ["sh", "-c", "echo one; echo two >&2; echo three; exit 3"])
    assert (result.output, result.exit_code, result.truncated) == (b"one\ntwo\nthree\n", 3, False)


def test_output_is_bytes_as_they_were_printed(engine, box):
    assert engine.execute(box, ["printf", r"\377\000\r\n"]).output == b"\xff\x00\r\n"


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["nothing-here"], 'exec: "nothing-here": executable file not found in \\$PATH'),
        (["/nothing/here"], "stat /nothing/here: no such file or directory"),
        (["/etc/passwd"], "permission denied"),
        (["/etc"], "permission denied"),
        ([""], "executable file not found"),
        ([], "no command"),
    ],
)
def test_a_command_that_is_not_there_is_told_as_runc_tells_it(engine, box, argv, text):
    with pytest.raises(CommandNotFound, match=text):
        engine.execute(box, argv)


def test_a_text_file_that_may_be_executed_is_not_a_program(engine, box, sh):
    sh(box, "echo nonsense > /root/text && chmod 755 /root/text")
    with pytest.raises(CommandNotFound, match="exec format error"):
        engine.execute(box, ["/root/text"])


def test_no_container_no_exec(engine):
    with pytest.raises(NoSuchContainer):
        engine.execute("nobody", ["true"])


def test_a_signal_counts_128_and_more(engine, box):
    assert engine.execute(box, ["sh", "-c", "kill -TERM $$"]).exit_code == 128 + 15


def test_arguments_are_any_bytes(engine, box):
    odd = ["a b", "", "'\"", "$(reboot)", "\n", "ü€😀", "\udcff\udc80"]
    output = engine.execute(box, ["sh", "-c", 'for a; do printf "%s|" "$a"; done', "sh", *odd]).output
    assert output.decode("utf-8", "surrogateescape") == "".join(f"{each}|" for each in odd)


def test_a_long_command_line_gets_through(engine, box):
    argv = ["sh", "-c", "echo $#", "sh", *(["x" * 1000] * 1000)]
    assert engine.execute(box, argv).output == b"1000\n"
    with pytest.raises(CommandNotFound, match="argument list too long"):
        engine.execute(box, ["echo", "x" * 200_000])


def test_stdin_is_empty_unless_given(engine, box):
    assert engine.execute(box, ["cat"]).output == b""
    assert engine.execute(box, ["cat"], stdin=b"").output == b""
    data = bytes(range(256)) * 8000
    assert engine.execute(box, ["cat"], stdin=data).output == data


def test_a_command_that_does_not_read_its_input_is_no_problem(engine, box):
    result = engine.execute(box, ["sh", "-c", "exec <&-; echo done"], stdin=b"x" * 10**6)
    assert (result.output, result.exit_code) == (b"done\n", 0)


def test_held_stdin_never_ends(engine, box):
    begun = time.monotonic()
    result = engine.execute(box, ["cat"], stdin=b"fed\n", hold_stdin=True, timeout=0.3)
    assert (result.output, result.exit_code) == (b"fed\n", None)
    assert 0.25 < time.monotonic() - begun < 3
    result = engine.execute(box, ["head", "-n1"], stdin=b"fed\nmore\n", hold_stdin=True, timeout=5)
    assert (result.output, result.exit_code) == (b"fed\n", 0)


def test_when_the_time_is_up_the_command_goes_on(engine, box, sh):
    line = "echo begun; sleep 0.4; echo printed; echo printed >&2; echo went-on > /root/went-on"
    result = engine.execute(box, ["sh", "-c", line], timeout=0.1)
    assert (result.output, result.exit_code) == (b"begun\n", None)
    # It prints into pipes that nobody reads any more, and must not die of that.
    wait_until(lambda: engine.execute(box, ["cat", "/root/went-on"]).output == b"went-on\n")


def test_a_child_left_behind_is_not_waited_for_and_not_killed(engine, box):
    begun = time.monotonic()
    line = "(sleep 0.4; echo late; echo alive > /root/left) & echo first"
    result = engine.execute(box, ["sh", "-c", line], timeout=10)
    assert (result.output, result.exit_code) == (b"first\n", 0)
    assert time.monotonic() - begun < 0.35
    wait_until(lambda: engine.execute(box, ["cat", "/root/left"]).output == b"alive\n")


def test_standard_output_may_go_to_a_file_apart(engine, box):
    out = io.BytesIO()
    result = engine.execute(box, ["sh", "-c", "seq 1 100000; echo bad >&2"], stdout=out)
    assert result.output == b"bad\n"
    assert out.getvalue() == b"".join(b"%d\n" % number for number in range(1, 100001))


def test_too_much_output_is_cut_and_told(engine, box):
    result = engine.execute(box, ["sh", "-c", "seq 1 100000; exit 5"], max_output=1000)
    assert (len(result.output), result.truncated, result.exit_code) == (1000, True, 5)
    assert engine.execute(box, ["printf", "x" * 1000], max_output=1000).truncated is False


def test_a_slow_command_blocks_no_other(engine, box):
    slow = threading.Thread(target=lambda: engine.execute(box, ["sleep", "1"], timeout=5))
    slow.start()
    begun = time.monotonic()
    for _ in range(5):
        engine.execute(box, ["true"])
    assert time.monotonic() - begun < 0.8
    slow.join()


def test_many_at_once_get_their_own_output(engine, box):
    def one(number):
        return engine.execute(box, ["sh", "-c", f"echo {number}; cat"], stdin=b"%d" % number).output

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(64))) == [b"%d\n%d" % (number, number) for number in range(64)]


def test_the_number_of_commands_at_once_is_bounded(tmp_path):
    engine = NamespacesEngine(tmp_path, limits=Limits(execs=2))
    engine.create(Spec(id="few", name="few", image="busybox", command=("sleep", "100")))
    engine.start("few")
    try:
        for _ in range(2):
            assert engine.execute("few", ["sleep", "0.5"], timeout=0.01).exit_code is None
        with pytest.raises(EngineError, match="2 commands run in this container already"):
            engine.execute("few", ["true"])
        wait_until(lambda: not _refused(engine))
    finally:
        engine.remove("few")
        engine.close()


def _refused(engine):
    try:
        engine.execute("few", ["true"])
    except EngineError:
        return True
    return False


def test_a_container_killed_under_a_command_ends_it_with_137(engine, run):
    identifier = run()
    threading.Timer(0.2, engine.kill, [identifier]).start()
    result = engine.execute(identifier, ["sh", "-c", "echo so far; sleep 100"], timeout=10)
    assert (result.output, result.exit_code) == (b"so far\n", 137)
    with pytest.raises(NotRunning):
        engine.execute(identifier, ["true"])


def test_python_writing_to_a_closed_pipe_is_killed_by_sigpipe(engine, box):
    """Python itself ignores SIGPIPE and SIGXFSZ; that must not be inherited."""
    result = engine.execute(box, ["sh", "-c", "yes | head -n1; cat /proc/self/status | grep SigIgn"])
    assert result.output.startswith(b"y\n")
    # the C library's own signals (32 and 33) may be anything
    assert int(result.output.split()[-1], 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0


def test_only_the_three_standard_streams_are_open(engine, box):
    assert engine.execute(box, ["ls", "/proc/self/fd"]).output.split() == [
        b"0",
        b"1",
        b"2",
        b"3",
    ]  # 3 is ls's own
