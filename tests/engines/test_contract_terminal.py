"""What every engine does with terminals and with pid 1's own stdio (base.py)."""

from __future__ import annotations

import contextlib
import select
import time

import pytest

from chi_edge_lab.local.engines.base import CommandNotFound, Engine, Terminal

from .conftest import Make, wait_for


def read_until(terminal: Terminal, text: bytes, timeout: float = 10.0) -> bytes:
    """Output up to and with `text`; b"" as `text` means up to the end."""
    data, deadline = b"", time.monotonic() + timeout
    while not text or text not in data:
        assert time.monotonic() < deadline, data
        if select.select([terminal.fileno()], [], [], 0.2)[0]:
            with contextlib.suppress(BlockingIOError):
                piece = terminal.read()
                if not piece:
                    assert not text, data
                    return data
                data += piece
    return data


def write(terminal: Terminal, data: bytes) -> None:
    while data:
        select.select([], [terminal.fileno()], [], 5)
        with contextlib.suppress(BlockingIOError):
            data = data[terminal.write(data) :]


def test_a_shell_on_a_tty(engine: Engine, box: str) -> None:
    terminal = engine.terminal(box, ["sh"], environment={"TERM": "vt100", "PS1": "$ "})
    with contextlib.closing(terminal):
        terminal.resize(33, 101)
        write(terminal, b"echo begin-$TERM; tty; stty size; echo $COLOUR\n")
        output = read_until(terminal, b"\nblue ink")
        assert b"begin-vt100\r\n" in output
        assert b"/dev/pts/" in output
        assert b"33 101" in output
        terminal.resize(50, 140)
        write(terminal, b"stty size; echo again-$((1+1))\n")
        assert b"50 140" in read_until(terminal, b"again-2")
        assert terminal.exit_code is None
        write(terminal, b"exit 5\n")
        read_until(terminal, b"")
        wait_for(lambda: terminal.exit_code is not None)
        assert terminal.exit_code == 5


def test_reading_does_not_wait(engine: Engine, box: str) -> None:
    with contextlib.closing(engine.terminal(box, ["sleep", "5"])) as terminal, pytest.raises(BlockingIOError):
        terminal.read()


def test_ctrl_c_reaches_the_command(engine: Engine, box: str) -> None:
    with contextlib.closing(engine.terminal(box, ["sh", "-c", "echo ready; sleep 60"])) as terminal:
        read_until(terminal, b"ready")
        write(terminal, b"\x03")
        read_until(terminal, b"")
        wait_for(lambda: terminal.exit_code is not None)
        assert terminal.exit_code == 130


def test_a_big_paste_arrives_whole(engine: Engine, box: str) -> None:
    script = "stty raw -echo; echo ready; head -c 200000 | wc -c"
    with contextlib.closing(engine.terminal(box, ["sh", "-c", script])) as terminal:
        read_until(terminal, b"ready")
        write(terminal, b"0123456789" * 20_000)
        assert b"200000" in read_until(terminal, b"200000")


def test_much_output_arrives_whole(engine: Engine, box: str) -> None:
    with contextlib.closing(engine.terminal(box, ["sh", "-c", "stty -onlcr; seq 1 20000"])) as terminal:
        output = read_until(terminal, b"")
    assert output == b"".join(b"%d\n" % number for number in range(1, 20001))


def test_without_a_tty_both_outputs_come_as_one(engine: Engine, box: str) -> None:
    script = "tty; echo problem >&2; cat; exit 3"
    with contextlib.closing(engine.terminal(box, ["sh", "-c", script], tty=False)) as terminal:
        write(terminal, b"typed\n")
        output = read_until(terminal, b"typed")
        terminal.resize(10, 10)
    assert b"not a tty" in output
    assert b"problem" in output


def test_a_missing_program(engine: Engine, box: str) -> None:
    for tty in (True, False):
        with pytest.raises(CommandNotFound):
            engine.terminal(box, ["no-such-program"], tty=tty)


def test_the_end_of_the_container_ends_the_terminal(engine: Engine, make: Make) -> None:
    id = make("sleep", "1000")
    with contextlib.closing(engine.terminal(id, ["sh"])) as terminal:
        engine.kill(id)
        read_until(terminal, b"")


def test_attach_shares_pid_1(engine: Engine, make: Make) -> None:
    id = make("sh", interactive=True, tty=True, environment={"PS1": "$ "})
    with contextlib.closing(engine.attach(id)) as one, contextlib.closing(engine.attach(id)) as other:
        write(one, b"echo shared-$((40+2))\n")
        for terminal in (one, other):
            read_until(terminal, b"shared-42")
        engine.resize(id, 44, 55)
        write(other, b"stty size; echo size-$((1+1))\n")
        assert b"44 55" in read_until(one, b"size-2")
    # the next one sees nothing of that, and pid 1 lives on
    with contextlib.closing(engine.attach(id)) as later:
        write(later, b"echo later-$((1+1))\n")
        assert b"shared" not in read_until(later, b"later-2")


def test_attach_without_a_tty(engine: Engine, make: Make) -> None:
    id = make("cat", interactive=True)
    with contextlib.closing(engine.attach(id)) as terminal:
        write(terminal, b"through\n")
        assert read_until(terminal, b"through\n") == b"through\n"
        terminal.resize(10, 10)
        engine.resize(id, 10, 10)
    assert engine.inspect(id).status == "running"


def test_attach_ends_with_the_container(engine: Engine, make: Make) -> None:
    id = make("sh", interactive=True, tty=True)
    with contextlib.closing(engine.attach(id)) as terminal:
        write(terminal, b"exit 6\n")
        read_until(terminal, b"")
        wait_for(lambda: terminal.exit_code is not None)
        assert terminal.exit_code == 6
