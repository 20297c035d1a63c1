"""Terminals on real local sites of both profiles: what runs is not disturbed, and nothing stays behind."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from chi_edge_lab.core import ttys
from chi_edge_lab.core.terminal import Terminal
from chi_edge_lab.errors import BadInput, NoShell, NotSupported
from chi_edge_lab.zun import Client
from tests.boxes import Box

New = Callable[..., str]


def sessions(box: Box, pid: int) -> list[str]:
    """The processes of a shell's session that are there, zombies aside."""
    script = (
        'for d in /proc/[0-9]*;do read -r s <$d/stat||continue;set -- ${s##*) } "$@";'
        f'[ "$4" = {pid} ]&&[ "$1" != Z ]&&echo ${{d#/proc/}};set --;done 2>/dev/null;:'
    )
    return box.sh(script).decode().split()


def shell_of(terminal: Terminal) -> ttys.Tty:
    assert terminal._tty is not None
    return terminal._tty


def settled(terminal: Terminal) -> None:
    terminal.write("echo rea''dy\n")
    terminal.read_until(b"ready")


def test_the_opening_line_is_not_shown(box: Box) -> None:
    with Terminal(box.client, box.uuid, rows=31, cols=99) as terminal:
        assert terminal.tty.startswith("/dev/")
        assert terminal.pid
        terminal.write("echo $TERM-$(stty size)-$(tty)-$$\n")
        seen = terminal.read_until(b"-%d\r\n" % terminal.pid)
        assert f"xterm-256color-31 99-{terminal.tty}-".encode() in seen
        assert b"7001" not in seen
        assert b"stty rows" not in seen


def test_a_resize_reaches_a_running_program_and_types_nothing(box: Box) -> None:
    with Terminal(box.client, box.uuid) as terminal:
        terminal.write("sh -c 'trap \"echo told\" WINCH;echo no$((1))w;cat;echo $(stty size)'\n")
        terminal.read_until(b"no1w")
        terminal.write("half a li")
        terminal.read_until(b"half a li")
        terminal.resize(44, 132)
        terminal.write("ne\n")
        seen = terminal.read_until(b"half a line")  # cat still reads, and the line is whole
        terminal.write("\x04")
        seen += terminal.read_until(b"44 132")
        assert b"told" in seen
        assert b"stty rows" not in seen


@pytest.mark.parametrize(("asked", "given"), [(0, 1), (-5, 1), (10_000, 9999), (7, 7)])
def test_sizes_are_clamped(asked: int, given: int) -> None:
    assert ttys.clamp(asked) == given


def test_closing_leaves_nothing_behind(box: Box) -> None:
    # neither the goodbye nor an interrupt ends this one
    terminal = Terminal(box.client, box.uuid)
    terminal.write("sh -c 'trap \"\" INT QUIT HUP TERM; while :; do read x || sleep 0.2; done'\n")
    terminal.write("\n")
    deadline = time.monotonic() + 10
    while len(sessions(box, terminal.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(sessions(box, terminal.pid)) >= 2
    terminal.close()
    assert sessions(box, terminal.pid) == []


def test_what_ignores_a_hangup_as_after_nohup_goes_on(box: Box) -> None:
    with Terminal(box.client, box.uuid) as terminal:
        terminal.write("sh -c 'trap \"\" HUP;exec sleep 4321 >/dev/null 2>&1' &\n")
        settled(terminal)
        tty = shell_of(terminal)
        assert ttys.end(box.client, box.uuid, tty)
    left = sessions(box, tty.pid)
    assert len(left) == 1
    assert b"sleep" in box.sh(f"cat /proc/{left[0]}/cmdline")
    box.sh(f"kill -KILL {left[0]}")


def test_a_process_with_the_same_number_is_left_alone(box: Box) -> None:
    with Terminal(box.client, box.uuid) as terminal:
        tty = shell_of(terminal)
        assert ttys.end(box.client, box.uuid, ttys.Tty(tty.path, tty.pid, tty.born + 1))
        settled(terminal)


def test_a_lost_shell_is_ended_when_a_new_one_is_opened(box: Box) -> None:
    with Terminal(box.client, box.uuid) as terminal:
        old = terminal.pid
        assert old
        terminal._socket._ws.sock.shutdown(2)  # as when the network goes
        with pytest.raises(EOFError):
            terminal.read_until(b"never")
        assert terminal.lost
        assert terminal.verdict() == "", "the shell may still be there"
        terminal.reattach()
        assert not terminal.lost
        settled(terminal)
        assert sessions(box, old) == []


def test_the_exit_code_and_why(box: Box) -> None:
    terminal = Terminal(box.client, box.uuid)
    terminal.write("exit 3\n")
    with pytest.raises(EOFError):
        terminal.read_until(b"never")
    assert not terminal.lost
    assert terminal.exit_code == (3 if box.client.dialect.name == "k8s" else None)
    assert "ended" in terminal.verdict()
    terminal.close()


def test_another_command_and_user(client: Client, new_container: New) -> None:
    uuid = new_container()
    if client.dialect.name == "k8s":
        for options in ({"command": "cat"}, {"user": "nobody"}):
            with pytest.raises(NotSupported, match="its terminal is a shell"):
                Terminal(client, uuid, **options)  # type: ignore[arg-type]
        return
    with Terminal(client, uuid, command="sh -c 'echo \"one two\" $0; exec cat' x") as terminal:
        terminal.read_until(b"one two x")
        assert terminal.pid
    with pytest.raises(BadInput, match="no user"):
        Terminal(client, uuid, user="nemo")
    with pytest.raises(BadInput, match="not the name"):
        Terminal(client, uuid, user="-x; rm")
    with pytest.raises(BadInput, match="quotes"):
        Terminal(client, uuid, command="sh -c 'x")


def test_a_user_of_the_container(box: Box) -> None:
    if box.client.dialect.name == "k8s":
        pytest.skip("its terminals are the container's own user's, which another test shows")
    box.sh("grep -q ^worker: /etc/passwd||echo worker:x:1000:1000::/tmp:/bin/false >>/etc/passwd")
    with Terminal(box.client, box.uuid, user="worker") as terminal:
        terminal.write("echo $(id -u)-$(stty size | tr ' ' x); sleep 0.1 & wait; echo jobs-$?\n")
        terminal.read_until(b"1000-24x80")
        terminal.read_until(b"jobs-0")


def test_an_image_without_sh(client: Client, new_container: New) -> None:
    uuid = new_container(
        ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; while :; do /bin/busybox sleep 1; done"]
    )
    Box(client, uuid, "").sh("mkdir /keep;cp /bin/busybox /keep/busybox;rm /bin/sh /bin/ash;:")
    with pytest.raises(NoShell, match="has no shell"):
        Terminal(client, uuid)
    if client.dialect.name == "docker":
        with Terminal(client, uuid, command="/keep/busybox cat") as terminal:
            terminal.write("echo\n")
            terminal.read_until(b"echo\r\necho")
