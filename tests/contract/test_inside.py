"""Exec, logs and archives as Zun does them."""

from __future__ import annotations

import base64
import io
import tarfile
import time
from collections.abc import Callable
from typing import Any

from tests.contract.conftest import ZunSite

Create = Callable[..., Any]


def execute(site: ZunSite, container: Any, command: str) -> dict[str, Any]:
    answer: dict[str, Any] = site.zun.containers.execute(
        container.uuid, command=command, run=True, interactive=False
    )
    return answer


def test_execute_gives_output_and_exit_code(site: ZunSite, running: Any) -> None:
    answer = execute(site, running, "sh -c 'echo out; echo err >&2; exit 3'")
    assert sorted(answer["output"].split()) == ["err", "out"]
    assert answer["exit_code"] == 3
    assert answer["exec_id"] is None
    assert answer["proxy_url"] is None


def test_execute_has_no_shell(site: ZunSite, running: Any) -> None:
    assert execute(site, running, "echo 'a b' | cat")["output"] == "a b | cat\n"


def test_execute_of_what_is_not_there(site: ZunSite, running: Any) -> None:
    answer = execute(site, running, "no-such-program --at-all")
    if site.dialect == "k8s":
        assert answer["exit_code"] == -1
        assert "Malformed command, or binary not found in container" in answer["output"]
    else:
        assert answer["exit_code"] in (126, 127)
        assert "no-such-program" in answer["output"]


def test_execute_longer_than_five_seconds(site: ZunSite, running: Any) -> None:
    """k8s: 200 with what there is and a null exit code; docker: 409. On both the command goes on."""
    began = time.monotonic()
    answer = site.request(
        "POST", f"/containers/{running.uuid}/execute",
        params={"command": "sh -c 'echo begun; sleep 7; touch /tmp/went-on'", "run": "true", "interactive": "false"},
    )  # fmt: skip
    assert 4 <= time.monotonic() - began < 7
    if site.dialect == "k8s":
        assert answer.status_code == 200
        assert answer.json()["exit_code"] is None
        assert answer.json()["output"] == "begun\n"
    else:
        assert answer.status_code == 409
        assert "Timeout on executing command" in answer.text
    time.sleep(3)
    assert execute(site, running, "test -e /tmp/went-on")["exit_code"] == 0


def test_logs(site: ZunSite, create: Create) -> None:
    script = "for i in 1 2 3; do echo line $i; done; echo oops >&2; trap 'exit 0' TERM; sleep 3600 & wait"
    container = create(command=["sh", "-c", script])
    deadline = time.monotonic() + 10
    logs = ""
    while "oops" not in logs and time.monotonic() < deadline:
        logs = site.zun.containers.logs(container.uuid, stdout=True, stderr=True) or ""
        time.sleep(0.1)
    assert sorted(logs.splitlines()) == ["line 1", "line 2", "line 3", "oops"]
    assert len(site.zun.containers.logs(container.uuid, stdout=True, stderr=True, tail=1).splitlines()) == 1
    stamped = site.zun.containers.logs(container.uuid, stdout=True, stderr=True, timestamps=True)
    assert all(line[:2] == "20" and line.split(" ")[0].endswith("Z") for line in stamped.splitlines())
    only_stderr = site.zun.containers.logs(container.uuid, stdout=False, stderr=True)
    if site.dialect == "k8s":  # the flags are ignored
        assert "line 1" in only_stderr
    else:
        assert only_stderr == "oops\n"


def tar_of(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def members(archive: Any) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive["data"])) as tar:
        found = {}
        for member in tar:
            reader = tar.extractfile(member)
            if reader:
                found[member.name.removeprefix("./")] = reader.read()
        return found


def ends_by_itself(site: ZunSite, container: Any, archive: bytes) -> bytes:
    """The archive such that the site's tar stops after it.

    Kubernetes never signals the end of tar's input. GNU tar stops at the two zero blocks, busybox reads on (after
    120 s the site gives up); a header that is none makes busybox fail after extracting, and the driver ignores exit
    codes above 0.
    """
    if site.dialect == "docker" or "GNU" in execute(site, container, "sh -c 'tar --version 2>&1'")["output"]:
        return archive
    return archive.rstrip(b"\0") + b"\0" * (-len(archive.rstrip(b"\0")) % 512) + b"no header".ljust(512, b"!")


def test_archives_there_and_back(site: ZunSite, running: Any) -> None:
    execute(site, running, "mkdir -p /tmp/put")
    content = {"a.bin": bytes(range(256)) * 100, "dir/ü b.txt": b"text\n"}
    site.zun.containers.put_archive(running.uuid, "/tmp/put", ends_by_itself(site, running, tar_of(content)))
    assert execute(site, running, "cat '/tmp/put/dir/ü b.txt'")["output"] == "text\n"
    back = site.zun.containers.get_archive(running.uuid, "/tmp/put")
    prefix = "" if site.dialect == "k8s" else "put/"
    assert members(back) == {prefix + name: data for name, data in content.items()}
    assert back["stat"]["name"].startswith("/tmp/put" if site.dialect == "k8s" else "put")


def test_archive_of_a_single_file(site: ZunSite, running: Any) -> None:
    execute(site, running, "sh -c 'echo one > /tmp/single.txt'")
    answer = site.request(
        "GET", f"/containers/{running.uuid}/get_archive", params={"path": "/tmp/single.txt"}
    )
    assert answer.status_code == 200
    data = base64.b64decode(answer.json()["data"])
    if site.dialect == "k8s":  # tar runs without -C: nothing is found, and nobody says so
        assert b"one" not in data
    else:
        assert members({"data": data}) == {"single.txt": b"one\n"}


def test_archive_of_what_is_not_there(site: ZunSite, running: Any) -> None:
    answer = site.request("GET", f"/containers/{running.uuid}/get_archive", params={"path": "/no/such/path"})
    assert answer.status_code == (200 if site.dialect == "k8s" else 500)


def test_put_where_there_is_no_directory(site: ZunSite, running: Any) -> None:
    """k8s: tar's complaint is ignored, the answer is 200 and nothing was written."""
    body = {"data": base64.b64encode(tar_of({"x": b"y"})).decode()}
    answer = site.request(
        "POST", f"/containers/{running.uuid}/put_archive", params={"path": "/no/such"}, json=body
    )
    assert answer.status_code == (200 if site.dialect == "k8s" else 500)
    assert execute(site, running, "test -e /no/such")["exit_code"] != 0


def test_archives_of_a_stopped_container(site: ZunSite, create: Create) -> None:
    container = create()
    site.zun.containers.stop(container.uuid, 0)
    site.wait(container.uuid, "Stopped")
    answer = site.request("GET", f"/containers/{container.uuid}/get_archive", params={"path": "/etc"})
    if site.dialect == "k8s":  # there is no pod
        assert answer.status_code in (404, 500)
    else:
        assert answer.status_code == 200
