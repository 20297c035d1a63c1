"""Terminals: commands with a pty, and the streams of pid 1."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

import pytest

from chi_edge_lab.local.engines.base import CommandNotFound, NotRunning, Spec

from .conftest import read_to_end, read_until, wait_until


@pytest.fixture(scope="module")
def box(engine):
    engine.create(Spec(id="box", name="box", image="busybox", command=("sleep", "1000")))
    engine.start("box")
    return "box"


def test_a_shell_in_a_terminal(engine, box):
    shell = engine.terminal(box, ["sh"])
    shell.write(b"tty; echo $TERM; exit 3\n")
    text = read_to_end(shell)
    assert b"/dev/pts/" in text
    assert b"xterm" in text
    wait_until(lambda: shell.exit_code is not None)
    assert shell.exit_code == 3
    assert shell.read() == b""
    shell.close()


def test_reading_never_waits_and_the_descriptor_tells_when(engine, box):
    cat = engine.terminal(box, ["cat"])
    with pytest.raises(BlockingIOError):
        cat.read()
    cat.write(b"hello\n")
    assert select.select([cat.fileno()], [], [], 3)[0]
    assert b"hello" in read_until(cat, b"hello")
    cat.close()


def test_resize_is_seen_inside_and_signalled(engine, box):
    shell = engine.terminal(
        box, ["sh", "-c", "trap 'stty size' WINCH; echo ready; while :; do sleep 0.02; done"]
    )
    read_until(shell, b"ready")
    shell.resize(33, 101)
    read_until(shell, b"33 101")
    shell.resize(50, 140)
    read_until(shell, b"50 140")
    for rows, cols in ((0, 0), (1, 1), (10_000, 10_000), (-5, 10**9)):
        shell.resize(rows, cols)
    shell.close()


def test_control_c_interrupts(engine, box):
    shell = engine.terminal(box, ["sh", "-c", "echo ready; sleep 100"])
    read_until(shell, b"ready")
    shell.write(b"\x03")
    read_to_end(shell)
    wait_until(lambda: shell.exit_code is not None)
    assert shell.exit_code == 130
    shell.close()


def test_closing_a_terminal_hangs_it_up(engine, box, sh):
    shell = engine.terminal(
        box, ["sh", "-c", "trap 'echo hup > /root/hup; exit' HUP; echo ready; while :; do sleep 0.02; done"]
    )
    read_until(shell, b"ready")
    shell.close()
    wait_until(lambda: engine.execute(box, ["cat", "/root/hup"]).output == b"hup\n")
    shell.close()
    assert shell.read() == b""
    with pytest.raises(BrokenPipeError):
        shell.write(b"x")


def test_environment_is_added(engine, box):
    shell = engine.terminal(
        box, ["sh", "-c", "echo $TERM-$MORE"], environment={"MORE": "yes", "TERM": "vt100"}
    )
    assert b"vt100-yes" in read_to_end(shell)
    shell.close()


def test_a_command_that_is_not_there_has_no_terminal(engine, box):
    for tty in (True, False):
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(CommandNotFound):
            engine.terminal(box, ["nothing"], tty=tty)
        assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_without_a_tty_bytes_pass_unchanged(engine, box):
    cat = engine.terminal(box, ["cat"], tty=False)
    data = bytes(range(256))
    assert cat.write(data) == 256
    assert read_until(cat, data) == data
    cat.resize(10, 10)
    cat.close()
    wait_until(lambda: b"cat" not in engine.execute(box, ["ps"]).output)  # it has read the end of its input


def test_without_a_tty_a_command_outlives_its_terminal(engine, box):
    line = "sleep 0.2; echo printed; echo printed >&2; echo alive > /root/outlived"
    engine.terminal(box, ["sh", "-c", line], tty=False).close()
    wait_until(lambda: engine.execute(box, ["cat", "/root/outlived"]).output == b"alive\n")


def test_a_reader_who_stalls_holds_the_command_and_loses_nothing(engine, box):
    shell = engine.terminal(box, ["sh", "-c", "stty raw; seq 1 200000"])
    time.sleep(0.3)
    text = read_to_end(shell, 20)
    assert text == b"".join(b"%d\n" % number for number in range(1, 200001))
    shell.close()


def test_a_big_paste_arrives_whole(engine, box):
    shell = engine.terminal(box, ["sh", "-c", "stty raw -echo; echo ready; head -c 1000000 | md5sum"])
    read_until(shell, b"ready")
    data = os.urandom(1_000_000)
    left = memoryview(data)
    while left:
        try:
            left = left[shell.write(bytes(left[:65536])) :]
        except BlockingIOError:
            select.select([], [shell.fileno()], [], 5)
    import hashlib

    read_until(shell, hashlib.md5(data).hexdigest().encode(), 20)
    shell.close()


def test_a_terminal_ends_with_its_container(engine, run):
    identifier = run()
    shell = engine.terminal(identifier, ["sh", "-c", "echo ready; sleep 100"])
    read_until(shell, b"ready")
    engine.kill(identifier)
    read_to_end(shell)
    wait_until(lambda: shell.exit_code == 137)
    shell.close()
    with pytest.raises(NotRunning):
        engine.terminal(identifier, ["sh"])


# -- attach


def test_attached_to_a_tty_both_ways_and_several_at_once(engine, run):
    identifier = run("sh", interactive=True, tty=True)
    one, two = engine.attach(identifier), engine.attach(identifier)
    engine.resize(identifier, 24, 90)
    one.write(b"stty size; tty\n")
    for each in (one, two):
        text = read_until(each, b"/dev/")
        assert b"24 90" in text
    two.resize(30, 100)
    two.write(b"stty size\n")
    read_until(one, b"30 100")
    one.close()
    two.write(b"exit 5\n")
    assert read_to_end(two).rstrip().endswith(b"exit 5")
    wait_until(lambda: two.exit_code == 5)
    two.close()
    with pytest.raises(NotRunning):
        engine.attach(identifier)


def test_attach_shows_nothing_of_before_but_the_log_does(engine, run):
    identifier = run("sh", "-c", "echo before; read x; echo got $x", interactive=True)
    wait_until(lambda: list(engine.logs(identifier)))
    attached = engine.attach(identifier)
    attached.write(b"this\n")
    assert read_to_end(attached) == b"got this\n"
    attached.close()
    assert b"".join(line.data for line in engine.logs(identifier)) == b"before\ngot this\n"


def test_leaving_leaves_it_running(engine, run):
    for tty in (True, False):
        identifier = run("sh", interactive=True, tty=tty)
        engine.attach(identifier).close()
        again = engine.attach(identifier)
        again.write(b"echo still $((40+2))\n")
        read_until(again, b"still 42")
        again.close()


def test_attach_to_what_is_not_interactive_only_listens(engine, run):
    identifier = run("sh", "-c", "while :; do echo tick; sleep 0.02; done")
    attached = engine.attach(identifier)
    attached.write(b"ignored")
    read_until(attached, b"tick\ntick\n")
    engine.resize(identifier, 10, 10)  # no tty: nothing happens
    attached.close()


def test_a_slow_attached_reader_gets_everything(engine, run):
    identifier = run("sh", "-c", "read x; seq 1 200000", interactive=True)
    attached = engine.attach(identifier)
    attached.write(b"\n")
    time.sleep(0.3)
    assert read_to_end(attached, 20) == b"".join(b"%d\n" % number for number in range(1, 200001))
    attached.close()


def test_nothing_stays_open(engine, box):
    engine.execute(box, ["true"])
    before = sorted(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        engine.terminal(box, ["cat"]).close()
        engine.terminal(box, ["cat"], tty=False).close()
        engine.execute(box, ["cat"], stdin=b"x")
        engine.execute(box, ["sleep", "0.01"], timeout=0.001)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    run = engine._containers.home(box).run()
    wait_until(lambda: len(list(Path(f"/proc/{run['shim']}/fd").iterdir())) < 30)
