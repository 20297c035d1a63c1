"""Archives out of and into containers, running and stopped, whatever they hold."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import os
import stat
import tarfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chi_edge_lab.local.engines.base import EngineError, NoSuchContainer, PathNotFound, Spec
from chi_edge_lab.local.engines.namespaces import Limits, NamespacesEngine


@pytest.fixture(scope="module", params=["running", "stopped"])
def box(request, engine):
    engine.create(Spec(id=request.param, name="box", image="busybox", command=("sleep", "1000")))
    engine.start(request.param)
    if request.param == "stopped":
        engine.stop(request.param, timeout=0)
    return request.param


def member(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar_of(*members, **options):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", errors="surrogateescape", **options) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def put(engine, identifier, path, data):
    engine.put_archive(identifier, path, io.BytesIO(data))


def get(engine, identifier, path):
    out = io.BytesIO()
    found = engine.get_archive(identifier, path, out)
    out.seek(0)
    with tarfile.open(fileobj=out, errors="surrogateescape") as tar:
        return found, {
            info.name: (info, tar.extractfile(info).read() if info.isreg() else None) for info in tar
        }


def test_a_file_goes_in_and_comes_out(engine, box):
    put(engine, box, "/root", tar_of(member("a.txt", b"hello", mode=0o640, mtime=1_500_000_000)))
    found, members = get(engine, box, "/root/a.txt")
    assert (found.name, found.size, found.link_target, found.mtime) == ("a.txt", 5, "", 1_500_000_000)
    assert stat.S_ISREG(found.mode)
    assert stat.S_IMODE(found.mode) == 0o640
    info, data = members["a.txt"]
    assert (data, info.mode, info.mtime, list(members)) == (b"hello", 0o640, 1_500_000_000, ["a.txt"])


def test_a_container_that_was_never_started_has_files_too(engine, run):
    identifier = run(started=False)
    put(engine, identifier, "/root", tar_of(member("early", b"bird")))
    assert get(engine, identifier, "/root/early")[1]["early"][1] == b"bird"


def test_a_directory_comes_with_its_name_and_all_it_holds(engine, box):
    data = tar_of(
        member("d", type=tarfile.DIRTYPE, mode=0o700, mtime=1_400_000_000),
        member("d/.hidden", b"h"),
        member("d/empty", b""),
        member("d/sub/deep/file", b"x" * 100_000),
        member("d/link", type=tarfile.SYMTYPE, linkname="sub/deep/file"),
        member("d/hard", type=tarfile.LNKTYPE, linkname="d/.hidden"),
        member("d/pipe", type=tarfile.FIFOTYPE),
    )
    put(engine, box, "/root", data)
    found, members = get(engine, box, "/root/d")
    assert found.name == "d"
    assert stat.S_ISDIR(found.mode)
    assert set(members) == {
        "d", "d/.hidden", "d/empty", "d/sub", "d/sub/deep", "d/sub/deep/file", "d/link", "d/hard", "d/pipe"
    }  # fmt: skip
    assert members["d"][0].mode == 0o700
    assert members["d"][0].mtime == 1_400_000_000
    assert members["d/sub/deep/file"][1] == b"x" * 100_000
    assert members["d/link"][0].linkname == "sub/deep/file"
    assert {members["d/hard"][0].islnk(), members["d/.hidden"][0].islnk()} == {True, False}
    _, inside = get(engine, box, "/root/d/.")
    assert "./.hidden" in inside


def test_a_link_is_got_as_a_link_unless_a_slash_follows(engine, box):
    put(engine, box, "/tmp", tar_of(member("to-etc", type=tarfile.SYMTYPE, linkname="/etc")))
    found, members = get(engine, box, "/tmp/to-etc")
    assert found.link_target == "/etc"
    assert members["to-etc"][0].issym()
    found, members = get(engine, box, "/tmp/to-etc/")
    assert "etc/passwd" in members


@pytest.mark.parametrize(
    "path", ["/nothing", "/etc/passwd/x", "/root/\0x", "/" + "x/" * 3000, "/etc/passwd/"]
)
def test_a_path_that_is_not_there_is_told(engine, box, path):
    with pytest.raises(PathNotFound):
        engine.get_archive(box, path, io.BytesIO())


@pytest.mark.parametrize("path", ["/nothing", "/etc/passwd"])
def test_an_archive_goes_into_a_directory_only(engine, box, path):
    with pytest.raises(PathNotFound):
        put(engine, box, path, tar_of(member("x", b"x")))


def test_no_container_no_archive(engine):
    with pytest.raises(NoSuchContainer):
        engine.get_archive("nobody", "/", io.BytesIO())


NAMES = [
    " leading and trailing ",
    "quotes ' \" `x` $(reboot) ;",
    "-rf",
    "new\nline",
    "back\\slash",
    "ü€😀",
    "\u202egnp.exe",
    "C:\\x",
    "%2e%2e%2f",
    "CON",
    "trailing.",
    "UPPER",
    "upper",
    "\udcff\udcfe\udc80",
    "x" * 255,
    "\x1b[31m",
    "*",
    "~",
]


def test_names_are_bytes_of_any_kind(engine, box):
    put(
        engine,
        box,
        "/root",
        tar_of(
            *[member(f"names/{name}", name.encode("utf-8", "surrogateescape")) for name in NAMES],
            format=tarfile.GNU_FORMAT,
        ),
    )
    _, members = get(engine, box, "/root/names")
    for number, name in enumerate(NAMES):
        assert members[f"names/{name}"][1] == name.encode("utf-8", "surrogateescape")
        if box != "running" and number % 6:
            continue  # a sandbox for each takes its time
        _, alone = get(engine, box, f"/root/names/{name}")
        assert list(alone) == [name]


def test_long_paths_are_kept(engine, box):
    name = "/".join(["d" * 100] * 20) + "/file"
    put(engine, box, "/root", tar_of(member(name, b"deep")))
    _, members = get(engine, box, "/root/" + "d" * 100)
    assert members[name][1] == b"deep"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bzip2"])
def test_compressed_archives_are_taken(engine, box, pack):
    put(engine, box, "/tmp", pack(tar_of(member("packed", b"x" * 10_000))))
    assert get(engine, box, "/tmp/packed")[1]["packed"][1] == b"x" * 10_000


def test_nothing_is_unpacked_from_nothing(engine, box):
    put(engine, box, "/tmp", b"")
    put(engine, box, "/tmp", tar_of())


@pytest.mark.parametrize(
    "data",
    [
        b"this is not a tar" * 100,
        b"<html>error page</html>",
        tar_of(member("cut", b"x" * 100_000))[:50_000],
        gzip.compress(tar_of(member("cut", os.urandom(100_000))))[:5_000],
        b"\x1f\x8b" + b"rubbish" * 100,
    ],
    ids=["text", "html", "cut", "cut gzip", "bad gzip"],
)
def test_what_is_not_a_whole_archive_is_told(engine, box, data):
    with pytest.raises(EngineError, match=r"tar archive|archive ends"):
        put(engine, box, "/tmp", data)
    with pytest.raises(PathNotFound):  # no half file
        get(engine, box, "/tmp/cut")


def hostile(tmp_path):
    """Archives that try to leave the directory, with the file outside that they would make."""
    outside = tmp_path / "evil"
    up = "../" * 30 + str(outside)
    return {
        "dots": [member(up, b"evil")],
        "absolute": [member(str(outside), b"evil")],
        "through a link": [
            member("way", type=tarfile.SYMTYPE, linkname=str(tmp_path)),
            member("way/evil", b"evil"),
        ],
        "through a link up": [
            member("way", type=tarfile.SYMTYPE, linkname="../" * 30 + str(tmp_path)),
            member("way/evil", b"evil"),
        ],
        "through proc": [
            member("way", type=tarfile.SYMTYPE, linkname="/proc/1/root"),
            member(f"way{outside}", b"evil"),
        ],
        "hard link": [
            member("hard", type=tarfile.LNKTYPE, linkname="../" * 30 + "etc/hostname"),
        ],
        "device": [member("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0)],
        "the directory itself": [member(".", b"evil")],
    }


@pytest.mark.parametrize("kind", list(hostile(Path("/"))))
def test_nothing_is_written_outside_the_container(engine, box, tmp_path, kind):
    before = list(tmp_path.iterdir())
    with contextlib.suppress(EngineError):
        put(engine, box, "/tmp", tar_of(*hostile(tmp_path)[kind]))
    assert list(tmp_path.iterdir()) == before
    with pytest.raises(PathNotFound):
        get(engine, box, "/tmp/disk")


def test_a_member_replaces_a_link_and_not_what_it_points_to(engine, box):
    put(
        engine,
        box,
        "/tmp",
        tar_of(member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), member("link", b"own")),
    )
    assert get(engine, box, "/tmp/link")[1]["link"][1] == b"own"
    assert b"root" in get(engine, box, "/etc/passwd")[1]["passwd"][1]


def test_odd_times_modes_and_owners_are_no_problem(engine, box):
    odd = [
        member("future", b"1", mtime=10**18, mode=0o4755),
        member("past", b"2", mtime=-5),
        member("fraction", b"3", mtime=1.5),
        member("nobody", b"4", uid=65534, gid=65534, mode=0),
        member("unmapped", b"5", uid=10**9, gid=10**9),
    ]
    put(engine, box, "/tmp", tar_of(*odd))
    for info, data in odd:
        assert get(engine, box, f"/tmp/{info.name}")[1][info.name][1] == data
    if os.geteuid() == 0:
        assert get(engine, box, "/tmp/nobody")[1]["nobody"][0].uid == 65534


def test_special_files_and_growing_ones_can_be_got(engine, run, sh):
    identifier = run()
    sh(identifier, "mkfifo /root/fifo; ln -s /root/loop /root/loop; truncate -s 1M /root/sparse")
    sh(identifier, "(while :; do echo growing >> /root/growing; done) & sleep 0.05")
    _, members = get(engine, identifier, "/root")
    assert members["root/fifo"][0].isfifo()
    assert members["root/loop"][0].issym()
    assert len(members["root/sparse"][1]) == 2**20
    assert set(members["root/growing"][1].split()) <= {
        b"growing",
        b"grow",
        b"gro",
        b"g",
        b"gr",
        b"growi",
        b"growin",
    }
    _, members = get(engine, identifier, "/dev")
    assert not any(info.isdev() and not info.isfifo() for info, _ in members.values())


def test_what_is_put_in_running_is_there_after_a_restart(engine, run, sh):
    identifier = run()
    put(engine, identifier, "/root", tar_of(member("one", b"1")))
    engine.stop(identifier, timeout=0)
    put(engine, identifier, "/root", tar_of(member("two", b"2")))
    engine.start(identifier)
    assert sh(identifier, "cat /root/one /root/two") == "12"


def test_archives_are_bounded(tmp_path):
    limits = Limits(archive_members=50, archive_bytes=10_000_000)
    engine = NamespacesEngine(tmp_path, limits=limits)
    engine.create(Spec(id="box", name="box", image="busybox", command=("sleep", "100")))
    engine.start("box")
    try:
        bomb = gzip.compress(tar_of(member("zeros", bytes(50_000_000))))
        with pytest.raises(EngineError, match="more bytes than this site allows"):
            put(engine, "box", "/tmp", bomb)
        with pytest.raises(EngineError, match="more members than this site allows"):
            put(engine, "box", "/tmp", tar_of(*[member(f"m/{number}") for number in range(60)]))
        engine.execute("box", ["truncate", "-s", "1000G", "/root/sparse"])
        with pytest.raises(EngineError, match="more bytes than this site allows"):
            engine.get_archive("box", "/root/sparse", io.BytesIO())
        with pytest.raises(EngineError, match="more members than this site allows"):
            engine.get_archive("box", "/bin", io.BytesIO())
        assert engine.execute("box", ["true"]).exit_code == 0
    finally:
        engine.remove("box")
        engine.close()


def test_a_writer_that_fails_is_told_to_the_caller_and_leaves_nothing_running(engine, run):
    class Full(io.RawIOBase):
        def write(self, data):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        engine.get_archive(run(), "/bin", Full())


def test_very_deep_trees_can_be_put_and_removed(engine, run):
    identifier = run()
    ten = "/".join("a" * 10)
    line = f"cd /root; i=0; while [ $i -lt 60 ]; do mkdir -p {ten}; cd {ten}; i=$((i+1)); done; chmod 0 ."
    assert engine.execute(identifier, ["sh", "-c", line]).exit_code == 0
    engine.execute(identifier, ["sh", "-c", "mkdir -p /root/shut/in; chmod 0 /root/shut/in /root/shut"])
    engine.remove(identifier)
    assert not (engine._containers._directory / identifier).exists()
    assert not list(engine._containers._directory.glob(".*"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.binary(min_size=1, max_size=80).filter(
            lambda name: not set(name) & {0, 47} and name not in {b".", b".."}
        ),
        unique=True,
        max_size=8,
    ),
    data=st.binary(max_size=2000),
)
def test_every_name_survives_the_round(engine, names, data):
    if "any" not in engine.list():
        engine.create(Spec(id="any", name="any", image="busybox", command=("sleep", "1000")))
        engine.start("any")
    folder = f"f{time.monotonic_ns()}"
    members = [member(f"{folder}/{os.fsdecode(name)}", data) for name in names]
    put(
        engine,
        "any",
        "/tmp",
        tar_of(member(folder, type=tarfile.DIRTYPE, mode=0o755), *members, format=tarfile.GNU_FORMAT),
    )
    _, found = get(engine, "any", f"/tmp/{folder}")
    assert {name: content for name, (_, content) in found.items() if name != folder} == {
        info.name: data for info, _ in members
    }
