"""The catalogue: what the machine offers, what is added and what is committed."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from chi_edge_lab.local.engines.base import EngineError, FileMount, ImageNotFound, Spec
from chi_edge_lab.local.engines.busybox import find_busybox
from chi_edge_lab.local.engines.namespaces import NamespacesEngine

from .conftest import wait_until

BUSYBOX = shutil.which("busybox")


@pytest.fixture
def fresh(tmp_path):
    engine = NamespacesEngine(tmp_path)
    yield engine
    for identifier in engine.list():
        engine.remove(identifier)
    engine.close()


def rootfs(marker=b"added", *, uid=0):
    """A small root file system as `docker export` would give it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name in ("bin", "etc", "tmp"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        tar.add(BUSYBOX, "bin/busybox")
        for name in ("sh", "cat", "sleep", "id", "stat"):
            info = tarfile.TarInfo(f"bin/{name}")
            info.type, info.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(info)
        info = tarfile.TarInfo("etc/marker")
        info.size, info.uid, info.gid = len(marker), uid, uid
        tar.addfile(info, io.BytesIO(marker))
    return file.getvalue()


def start(engine, image, *command):
    engine.create(
        Spec(id=f"of-{image.partition(':')[0]}", name="x", image=image, command=command or ("sleep", "100"))
    )
    engine.start(f"of-{image.partition(':')[0]}")
    return f"of-{image.partition(':')[0]}"


def test_the_catalogue_begins_with_the_running_python(fresh):
    images = fresh.images()
    assert images[0].name == "python:{}.{}".format(*sys.version_info)
    assert images[0].command == ("python3",)
    assert [image.name for image in images[1:]] == ["busybox:latest"]
    for image in images:
        assert image.id.startswith("sha256:")
        assert image.size > 0
        assert image.provenance.endswith("nothing is downloaded.")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("python", "python"),
        ("python:{}.{}".format(*sys.version_info), "python"),
        ("busybox", "busybox"),
        ("busybox:latest", "busybox"),
    ],
)
def test_an_image_is_found_by_its_name(fresh, name, found):
    assert fresh.image(name).name.partition(":")[0] == found
    assert fresh.image(fresh.image(name).id) == fresh.image(name)


@pytest.mark.parametrize("name", ["", "python:3.1", "busybox:1", "alpine", "Python", "ubuntu:24.04", "pytho"])
def test_an_image_is_never_another_one(fresh, name):
    with pytest.raises(ImageNotFound, match="There is no image"):
        fresh.image(name)


def test_a_root_file_system_can_be_added_used_and_removed(fresh):
    data = rootfs()
    image = fresh.add_image("lab/sensors:v1", io.BytesIO(gzip.compress(data)))
    assert image.name == "lab/sensors:v1"
    assert fresh.image("lab/sensors") == image
    assert fresh.images()[-1] == image
    fresh.create(Spec(id="added", name="x", image="lab/sensors", command=("sleep", "100")))
    fresh.start("added")
    assert fresh.execute("added", ["cat", "/etc/marker"]).output == b"added"
    assert fresh.execute("added", ["id", "-u"]).output == b"0\n"
    assert (
        fresh.execute(
            "added", ["sh", "-c", "echo x > /etc/marker && cat /dev/null && cat /etc/hostname"]
        ).exit_code
        == 0
    )
    fresh.remove_image("lab/sensors:v1")
    with pytest.raises(ImageNotFound):
        fresh.image("lab/sensors")
    assert fresh.execute("added", ["cat", "/etc/marker"]).output == b"x\n"


def test_owners_in_a_root_file_system_are_kept_where_that_is_possible(fresh):
    fresh.add_image("owned", io.BytesIO(rootfs(uid=1234)))
    owner = fresh.execute(start(fresh, "owned"), ["stat", "-c", "%u", "/etc/marker"]).output
    assert owner == (b"1234\n" if os.geteuid() == 0 else b"0\n")


def test_adding_again_replaces(fresh):
    first = fresh.add_image("same", io.BytesIO(rootfs(b"one")))
    second = fresh.add_image("same:latest", io.BytesIO(rootfs(b"two")))
    assert first.id != second.id
    assert [image.id for image in fresh.images() if image.name == "same:latest"] == [second.id]


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"nonsense", "not a tar"), (b"", "tar"), (b"\0" * 10240, "empty")],
    ids=["text", "nothing", "empty"],
)
def test_what_is_no_root_file_system_is_not_added(fresh, data, text):
    with pytest.raises(EngineError, match=text):
        fresh.add_image("bad", io.BytesIO(data))
    assert len(fresh.images()) == 2


def test_a_docker_save_archive_is_told_apart(fresh):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    with pytest.raises(EngineError, match="docker export"):
        fresh.add_image("saved", io.BytesIO(file.getvalue()))


@pytest.mark.parametrize("name", ["", "a b", "x" * 300, "new\nline"])
def test_odd_names_are_refused(fresh, name):
    with pytest.raises(EngineError, match="cannot be the name"):
        fresh.add_image(name, io.BytesIO(rootfs()))


def test_a_name_is_no_path(fresh, tmp_path):
    fresh.add_image("../../escape", io.BytesIO(rootfs()))
    assert not (tmp_path.parent / "escape").exists()
    assert fresh.image("../../escape").name == "../../escape:latest"
    fresh.remove_image("../../escape")


def test_the_machines_own_images_stay(fresh):
    with pytest.raises(EngineError, match="cannot be removed"):
        fresh.remove_image("busybox")
    with pytest.raises(ImageNotFound):
        fresh.remove_image("nothing")


@pytest.mark.parametrize("state", ["running", "stopped"])
@pytest.mark.parametrize("base", ["busybox", "python"])
def test_a_commit_keeps_files_and_not_what_is_mounted(fresh, base, state):
    fresh.create(
        Spec(
            id="parent",
            name="x",
            image=base,
            command=("sleep", "100"),
            environment={"COLOUR": "green"},
            mounts=(FileMount("/root/secret", b"of this container only"),),
        )
    )
    fresh.start("parent")
    line = (
        "echo mine > /root/mine; chmod 600 /root/mine; ln -s mine /root/link; "
        "echo tool > /usr/local/tool; rm /etc/nsswitch.conf"
    )
    assert fresh.execute("parent", ["sh", "-c", line]).exit_code == 0
    if state == "stopped":
        fresh.stop("parent", timeout=0)
    image = fresh.commit("parent", "child:1")
    assert fresh.inspect("parent").status == ("running" if state == "running" else "exited")
    assert image.name == "child:1"
    assert base in image.provenance
    assert image.size < 8_000_000
    fresh.remove("parent")
    fresh.create(Spec(id="child", name="x", image="child:1"))
    fresh.start("child")
    line = (
        "cat /root/link /usr/local/tool; stat -c %a /root/mine; echo $COLOUR; cat /root/secret; "
        "ls /etc/nsswitch.conf 2>/dev/null; hostname"
    )
    assert fresh.execute("child", ["sh", "-c", line]).output == b"mine\ntool\n600\ngreen\nchild\n"
    if base == "python":
        assert fresh.execute("child", ["python3", "-c", "print(6*7)"]).output == b"42\n"
    assert fresh.execute("child", ["sh", "-c", "echo x > /root/own && ls -ld /root"]).exit_code == 0


def test_a_new_engine_has_the_added_images(fresh, tmp_path):
    fresh.add_image("kept", io.BytesIO(rootfs()))
    other = NamespacesEngine(tmp_path)
    assert other.image("kept") == fresh.image("kept")
    other.close()


def test_a_hostile_root_file_system_stays_in_its_container(fresh, tmp_path):
    """Its directories are links to places of the host: what we mount and make must not go there."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for name in ("proc", "sys", "dev", "etc", "tmp", "root"):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, str(outside)
            tar.addfile(info)
    fresh.add_image("hostile", io.BytesIO(data.getvalue()))
    fresh.create(
        Spec(id="h", name="h", image="hostile", command=("/bin/busybox", "sleep", "100"), workdir="/root/x")
    )
    try:
        fresh.start("h")
        fresh.execute("h", ["/bin/busybox", "touch", "/tmp/made", "/root/made"])
    except EngineError:
        pass
    assert list(outside.iterdir()) == []


def test_only_a_static_busybox_makes_an_image(monkeypatch, tmp_path):
    program = tmp_path / "busybox"
    for content in (b"#!/bin/sh\n", b"", Path("/bin/ls").read_bytes()):
        program.write_bytes(content)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert find_busybox() is None


def test_a_python_that_is_gone_is_told(fresh):
    from dataclasses import replace

    fresh.create(Spec(id="old", name="old", image="python", command=("sleep", "1")))
    home = fresh._containers.home("old")
    binds = tuple(
        (host if host == "/usr" else "/gone/python", inside) for host, inside in home.record().binds
    )
    home.save(replace(home.record(), binds=binds))
    with pytest.raises(EngineError, match="cannot show /gone/python in the container"):
        fresh.start("old")
    assert "cannot show" in fresh.inspect("old").error


def test_the_busybox_image_has_its_commands(fresh):
    identifier = start(fresh, "busybox")
    names = subprocess.run([BUSYBOX, "--list"], capture_output=True, check=True).stdout.decode().split()
    found = fresh.execute(identifier, ["ls", "/bin"]).output.decode().split()
    assert set(names) - set(found) <= {"busybox"}
    wait_until(lambda: fresh.execute(identifier, ["env"]).exit_code == 0)
