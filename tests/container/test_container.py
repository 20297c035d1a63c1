"""`chi_edge_lab.container` on real local sites: what notebooks do, and what python-chi gets wrong."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chi_edge_lab import container as containers
from chi_edge_lab import display
from chi_edge_lab.container import Container
from chi_edge_lab.core import floating_ips
from chi_edge_lab.errors import (
    BadInput,
    Conflict,
    ContainerFailed,
    ContainerGone,
    ExecTimeout,
    NotFound,
    NotSupported,
    TransferError,
    WaitTimeout,
)
from tests.boxes import IDLE, unique
from tests.localsite import local_site


def test_classroom_notebook_of_the_older_kind(profile: str, tmp_path: Path) -> None:
    """The cells of a tutorial written with the functions."""
    name = unique("pub")
    made = containers.create_container(
        name=name, image="busybox", exposed_ports=[8080], platform_version=2, interactive=True, command=IDLE
    )
    assert made.uuid == made.id
    assert made.status == "Running"
    containers.wait_for_active(made.uuid)
    assert containers.get_container(name).id == made.uuid
    assert name in [one.name for one in containers.list_containers()]
    assert [a["addr"] for listed in made.addresses.values() for a in listed]
    address = containers.associate_floating_ip(made.uuid)
    assert address
    result = containers.execute(made.uuid, "mkdir -p /root/code")
    assert (result["exit_code"], result["output"]) == (0, "")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "hello.sh").write_text("echo hello\n")
    done = containers.upload(made.uuid, str(tmp_path / "work"), "/root/code")
    assert done["files"] == 1
    assert containers.execute(made.uuid, "sh /root/code/work/hello.sh")["output"] == "hello\n"
    containers.download(made.uuid, "/root/code", str(tmp_path / "out"))
    assert (tmp_path / "out/work/hello.sh").read_text() == "echo hello\n"
    assert isinstance(containers.get_logs(made.uuid), str)
    containers.destroy_container(made.uuid)
    assert containers.get_container(made.uuid) is None
    containers.destroy_container(made.uuid)
    floating_ips.release(made.client, address)


def test_notebook_of_the_newer_kind(profile: str, tmp_path: Path) -> None:
    name = unique("pub")
    made = Container(
        name=name, image_ref="busybox", exposed_ports=["8080/tcp"], command=IDLE, environment={"A": "b"}
    )
    assert made.status is None
    assert made.submit(wait_for_active=True, wait_timeout=60, show="text") is None
    assert (made.status, made.id) == ("Running", made.uuid)
    assert made.created_at is not None
    assert made.zun_container.name == name
    assert made.execute("sh -c 'echo $A; exit 4'") == ("b\n", "4")
    (tmp_path / "f").write_text("f")
    made.upload(str(tmp_path / "f"), "/tmp")
    made.download("/tmp/f", str(tmp_path / "d"))
    assert (tmp_path / "d/f").read_text() == "f"
    address = made.associate_floating_ip()
    made.detach_floating_ip(address)
    with pytest.raises(NotFound):
        made.associate_floating_ip(address)  # it was given back
    made.wait("Running", 10)
    made.wait("Running", "widget", 10)
    again = Container(name, "busybox", idempotent := None)
    assert idempotent is None
    assert again.submit(idempotent=True, show=None) is again
    assert again.id == made.id
    made.delete()
    assert (made.id, made.status) == (None, None)
    made.delete()


def test_command_over_the_sites_limit_means_what_it_means_on_chi_edge(running: Container) -> None:
    with pytest.warns(UserWarning, match="goes on"):
        output, code = running.execute("sh -c 'echo begun; sleep 6; echo ended >/tmp/ended'")
    assert (output, code, code.number) == ("begun\n", "None", None)
    with pytest.raises(ExecTimeout):
        running.execute("sleep 30", timeout=1)
    assert running.run("sh -c 'sleep 6; echo done'") == ("done\n", 0)
    assert running.execute("cat /tmp/ended", timeout=math.inf) == ("ended\n", 0)


def test_submit_that_fails_leaves_an_object_that_can_be_deleted(profile: str) -> None:
    made = Container(unique("pub"), "no-such-image:9")
    with pytest.raises(ContainerFailed, match="no-such-image"):
        made.submit(show=None)
    if made.id is not None:
        assert made.status == "Error"
        with pytest.raises(ContainerFailed):
            made.wait("Running", 5)
    made.delete()
    assert made.id is None


def test_catalogue_is_listed_where_the_site_has_one(profile: str) -> None:
    with pytest.raises(ContainerFailed) as caught:
        Container(unique("pub"), "no-such-image:9").submit(show=None)
    names = [str(image["name"]) for image in local_site(profile, "auto").images()]
    assert any(name in str(caught.value) for name in names), str(caught.value)


def test_duplicate_names_are_told_apart_by_id(profile: str) -> None:
    name = unique("pub")
    first, second = (Container(name, "busybox", command=IDLE) for _ in range(2))
    first.submit(show=None)
    second.submit(show=None)
    assert first.id != second.id
    with pytest.raises(Conflict) as caught:
        containers.get_container(name)
    assert first.id in str(caught.value)
    assert second.id in str(caught.value)
    assert containers.get_container(str(second.id)).id == second.id
    first.delete()
    assert second.status == "Running"


@pytest.mark.parametrize("bad", ["", "a" * 300, "with blank", "-x", "../x", "<img src=x>"])
def test_bad_names_are_refused(profile: str, bad: str) -> None:
    with pytest.raises(BadInput):
        Container(bad, "busybox").submit()


def test_before_submit_there_is_one_sentence(profile: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = Container("pub-x", "busybox")
    for call in (
        lambda: made.execute("true"),
        made.wait,
        made.logs,
        lambda: made.upload("a", "/"),
    ):
        with pytest.raises(BadInput, match="submit"):
            call()
    made.show()
    made.delete()
    assert "not submitted" in capsys.readouterr().out


def test_after_delete_it_is_said_to_be_deleted(running: Container, tmp_path: Path) -> None:
    uuid = str(running.id)
    running.delete()
    for call in (
        lambda: running.execute("true"),
        running.wait,
        running.logs,
        lambda: running.upload(str(tmp_path), "/"),
        lambda: running.download("/etc", str(tmp_path)),
    ):
        with pytest.raises(ContainerGone, match=f"was deleted.*{uuid}"):
            call()
    assert "deleted" in repr(running)
    running.submit(show=None)
    assert running.execute("echo again") == ("again\n", 0)


def test_shell_syntax_is_warned_of_at_the_callers_line(running: Container) -> None:
    with pytest.warns(UserWarning, match="sh -c") as caught:  # noqa: PT031 - each call warns once
        assert running.execute("echo a b | wc -w") == ("a b | wc -w\n", 0)
        assert running.run("echo $HOME") == ("$HOME\n", 0)
        containers.execute(str(running.id), "echo a && echo b")
    assert [one.filename for one in caught] == [__file__] * 3
    assert running.execute("sh -c 'echo a b | wc -w; true'") == ("2\n", 0)


def test_wrong_reservation_is_named(profile: str) -> None:
    if profile != "chi-edge":
        pytest.skip("only CHI@Edge has reservations")
    wrong = "11111111-2222-3333-4444-555555555555"
    made = Container(unique("pub"), "busybox", command=IDLE, reservation_id=wrong)
    with pytest.raises(ContainerFailed, match=f"Check the reservation id '{wrong}'"):
        made.submit(show=None)
    with pytest.raises(ContainerFailed, match="not that of its lease"):
        made.wait()
    made.delete()


def test_transfers_show_one_line_where_somebody_reads(
    running: Container, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.bin").write_bytes(os.urandom(10 << 20))
    running.upload(str(tmp_path / "data.bin"), "/tmp")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    running.execute("touch /tmp/small")
    running.download("/tmp/small", str(tmp_path / "back"))
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(display, "QUIET_FOR", 0.0)
    running.upload(str(tmp_path / "data.bin"), "/tmp")
    running.download("/tmp/data.bin", str(tmp_path / "back"))
    printed = capsys.readouterr().out
    assert printed.count("\n") == 2
    up, down = (line.lstrip("\r").split("\r") for line in printed.rstrip("\n").split("\n"))
    assert up[0].startswith("Uploading data.bin: ")
    assert down[-1].rstrip().endswith("downloaded and verified")
    for lines in (up, down):
        assert any("10.5 MB" in line and "MB/s" in line and "s left" in line for line in lines)
        assert max(map(len, lines)) < 80


def test_wait_sees_an_error_and_a_timeout(running: Container) -> None:
    with pytest.raises(WaitTimeout):
        running.wait("Stopped", timeout=0.3)
    with pytest.raises(BadInput, match="show"):
        running.submit(show="picture")
    with pytest.raises(Conflict, match="submitted already"):
        running.submit()


def test_snapshot_where_the_profile_allows(running: Container, profile: str) -> None:
    if profile == "chi-edge":
        with pytest.raises(NotSupported, match="CHI@Edge"):
            containers.snapshot_container(str(running.id), "image")
        return
    assert containers.snapshot_container(str(running.id), unique("image"))


def test_show_as_text_and_in_a_saved_notebook(running: Container, capsys: pytest.CaptureFixture[str]) -> None:
    running.environment["TOKEN"] = "hunter2"
    running.name = "<img src=x onerror=alert(1)>"
    running.show("text", wait_for_active=True)
    running.show("widget")
    printed = capsys.readouterr().out
    assert str(running.id) in printed
    bundle = running._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}
    assert "<img" not in bundle["text/html"]
    assert "&lt;img" in bundle["text/html"]
    assert "hunter2" not in str(bundle) + printed


def test_download_cannot_leave_its_folder(running: Container, tmp_path: Path) -> None:
    running.execute("sh -c 'mkdir -p /evil; ln -s /etc/passwd /evil/link'")
    with pytest.raises(TransferError, match="link"):
        running.download("/evil", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_async_twins_and_their_cancelling(profile: str) -> None:
    async def story() -> None:
        made = Container(unique("pub"), "busybox", command=IDLE)
        await made.asubmit(show=None)
        outputs = await asyncio.gather(*(made.aexecute(f"echo {number}") for number in range(3)))
        assert [output for output, _ in outputs] == ["0\n", "1\n", "2\n"]
        task = asyncio.create_task(made.await_status("Stopped"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await made.adelete()

    asyncio.run(story())


def test_progress_is_silent_where_nobody_reads_and_quiet_where_somebody_does(
    profile: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Container(unique("pub"), "busybox", command=IDLE)
    made.submit(show=None)
    assert capsys.readouterr().out == ""
    made.delete()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    made.submit(show=None)
    printed = capsys.readouterr().out
    assert printed.startswith(f"{made.name}: requested")
    assert printed.count("\n") == 1
    assert " s\n" in printed


def test_ctrl_c_in_wait_says_nothing_wrong_and_leaves_the_container(profile: str) -> None:
    """A real SIGINT in a process of its own, as the notebook's stop button sends it."""
    script = f"""
from chi_edge_lab.container import Container
from tests.boxes import IDLE
made = Container({unique("pub")!r}, "busybox", command=IDLE)
made.submit(show=None)
print(made.id, flush=True)
try:
    made.wait("Stopped")
except KeyboardInterrupt as stopped:
    assert made.name in str(stopped), stopped
    print("interrupted", made.status, stopped)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert process.stdout is not None
    uuid = process.stdout.readline().strip()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=20)
    assert rest.startswith("interrupted Running")
    assert "it is Running" in rest
    assert containers.get_container(uuid) is not None


def test_importing_costs_little_and_needs_no_jupyter() -> None:
    script = """
import sys
from chi_edge_lab import container
loaded = {"IPython", "ipywidgets", "zunclient", "keystoneauth1", "openstack", "pydantic", "asyncio"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=str(Path.cwd()))
    assert done.returncode == 0, done.stderr
