"""Commands: quick and long, cut off and to the end, killed, without a program, without a shell."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from chi_edge_lab.core import execute, lifecycle, shell
from chi_edge_lab.errors import BadInput, Cancelled, ContainerGone, ExecTimeout
from chi_edge_lab.zun import Client
from tests.boxes import Box


def test_output_and_exit_code(box: Box) -> None:
    result = execute.execute(box.client, box.uuid, "sh -c 'echo out; echo err >&2; exit 3'")
    assert sorted(result.output.split()) == ["err", "out"]
    assert result.exit_code == 3


def test_no_shell_interprets_the_command(box: Box) -> None:
    assert (
        execute.execute(box.client, box.uuid, "echo a && echo $HOME | cat").output
        == "a && echo $HOME | cat\n"
    )


def test_shell_builtins_do_not_break_the_exec(box: Box) -> None:
    assert execute.execute(box.client, box.uuid, "exit 5").exit_code == 5
    assert execute.execute(box.client, box.uuid, "exec true").exit_code == 0


def test_nothing_is_left_in_the_container(box: Box) -> None:
    for command in ("true", "nosuchprogram", "seq 1 1000"):
        execute.execute(box.client, box.uuid, command)
    left = box.sh("ls -A /tmp").split()
    assert not [name for name in left if name.startswith(b".chi-edge-lab-run")]


def test_missing_program(box: Box) -> None:
    result = execute.execute(box.client, box.uuid, "nosuchprogram --help")
    assert result.exit_code == 127
    assert "nosuchprogram: not found" in result.output
    raw = execute.execute_raw(box.client, box.uuid, "nosuchprogram")
    assert raw.exit_code == (-1 if box.client.dialect.name == "k8s" else 126)
    assert "not found" in raw.output


def test_command_longer_than_the_site_waits_is_told_and_can_be_finished(box: Box) -> None:
    with pytest.raises(ExecTimeout, match=r"run\(\)") as caught:
        execute.execute(box.client, box.uuid, "sh -c 'echo begun; sleep 6; echo ended'")
    assert caught.value.output == "begun\n"
    assert isinstance(caught.value, execute.StillRunning)
    result = execute.finish(caught.value.run)
    assert result.exit_code == 0
    assert result.output.endswith("ended\n")


def test_raw_exec_is_cut_off_by_the_site(box: Box) -> None:
    with pytest.raises(ExecTimeout):
        execute.execute_raw(box.client, box.uuid, "sh -c 'echo begun; sleep 7'")


def test_long_command_runs_to_its_end_and_its_output_comes_as_it_is_printed(box: Box) -> None:
    seen: list[tuple[float, str]] = []
    began = time.monotonic()
    result = execute.run_long(
        box.client,
        box.uuid,
        ["sh", "-c", "for i in 1 2 3 4 5 6 7;do echo line $i;sleep 1;done;exit 9"],
        on_output=lambda text: seen.append((time.monotonic() - began, text)),
    )
    assert result.exit_code == 9
    assert result.output == "".join(text for _, text in seen) == "".join(f"line {i}\n" for i in range(1, 8))
    assert seen[0][0] < 4, "the first output came with the end"


def test_large_output_comes_whole(box: Box) -> None:
    result = execute.run_long(box.client, box.uuid, "seq 1 600000")
    assert result.output == "".join(f"{number}\n" for number in range(1, 600001))


def test_output_over_the_limit_keeps_its_end_and_says_so(box: Box) -> None:
    result = execute.run_long(box.client, box.uuid, f"head -c {execute.OUTPUT_LIMIT + 100_000} /dev/zero")
    assert len(result.raw) == execute.OUTPUT_LIMIT
    assert result.dropped == 100_000


def test_cancel_kills_the_command(box: Box) -> None:
    began = time.monotonic()
    with pytest.raises(Cancelled, match="ended"):
        execute.run_long(
            box.client, box.uuid, "sleep 4321", cancel=lambda: time.monotonic() - began > 1.5, timeout=60
        )
    assert b"4321" not in box.sh("for p in /proc/[0-9]*;do tr '\\0' ' ' <$p/cmdline 2>/dev/null;done")


def test_time_limit_of_ones_own(box: Box) -> None:
    began = time.monotonic()
    with pytest.raises(ExecTimeout) as caught:
        execute.execute(box.client, box.uuid, "sleep 60", timeout=1)
    assert time.monotonic() - began < 6
    assert isinstance(caught.value, execute.StillRunning)
    caught.value.run.kill()
    assert execute.execute(box.client, box.uuid, "true", timeout=math.inf).exit_code == 0


@pytest.mark.parametrize("after", [0.5, 4.5])
def test_container_deleted_under_a_command_is_gone(
    new_container: Callable[..., str], client: Client, after: float
) -> None:
    uuid = new_container()
    timer = threading.Timer(after, lifecycle.delete, (client, uuid))
    timer.start()
    with pytest.raises(ContainerGone, match="deleted"):
        execute.execute(client, uuid, "sleep 25", timeout=30)
    timer.join()


@pytest.mark.parametrize("after", [0.5, 4.5])
def test_ctrl_c_ends_the_command_and_says_so(box: Box, after: float) -> None:
    """While it is being started, and while its output is read."""
    before = box.sh("ls -A /tmp")  # other tests leave commands that go on
    timer = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt, match="was ended"):
        execute.execute(box.client, box.uuid, "sleep 4322", timeout=60)
    timer.join()
    running = box.sh("for p in /proc/[0-9]*;do tr '\\0' ' ' <$p/cmdline 2>/dev/null;echo;done")
    assert b"\nsleep 4322" not in running
    assert set(box.sh("ls -A /tmp").split()) <= set(before.split())


@pytest.mark.parametrize("command", ["echo 'x", "", [], ["a\0"]])
def test_bad_command_is_refused(box: Box, command: object) -> None:
    with pytest.raises(BadInput):
        execute.execute(box.client, box.uuid, command)  # type: ignore[arg-type]


def test_command_longer_than_a_url(box: Box) -> None:
    word = "x" * 50_000
    assert execute.execute(box.client, box.uuid, ["printf", "%s", word]).output == word
    with pytest.raises(BadInput, match="limit"):
        shell.run(box.client, box.uuid, "true", "x" * 200_000)
