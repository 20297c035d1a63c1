"""FAULTS, "Archives": hostile tars, full disks, lost parts, cancelled and simultaneous uploads."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chi_edge_lab.core import archive, execute, files, transfer, upload_road
from chi_edge_lab.errors import Cancelled, TransferError
from tests.boxes import Box


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, data in members:
            info.size = len(data) if info.isreg() else info.size
            tar.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


@pytest.mark.parametrize(
    "members",
    [
        [(member("../x"), b"evil")],
        [(member("a/../../x"), b"evil")],
        [(member("/abs"), b"evil")],
        [(member("link", tarfile.SYMTYPE, "/etc"), b"")],
        [(member("link", tarfile.SYMTYPE, "../.."), b"")],
        [(member("a/link", tarfile.SYMTYPE, "../../x"), b"")],
        [(member("link", tarfile.SYMTYPE, "sub"), b""), (member("link/x"), b"evil")],
        [(member("x"), b"file"), (member("x/y"), b"evil")],
        [(member("hard", tarfile.LNKTYPE, "/etc/passwd"), b"")],
        [(member("hard", tarfile.LNKTYPE, "../../etc/passwd"), b"")],
        [(member("hard", tarfile.LNKTYPE, "missing"), b"")],
        [(member("dev", tarfile.CHRTYPE), b"")],
        [(member("dev", tarfile.BLKTYPE), b"")],
        [(member("pipe", tarfile.FIFOTYPE), b"")],
        [(member("/".join(["d"] * 5000)), b"deep")],
    ],
    ids=[
        "parent", "parent in the middle", "absolute", "link to absolute", "link out", "link out of a folder",
        "file through a link", "file below a file", "hard link to absolute", "hard link out",
        "hard link to nothing", "character device", "block device", "pipe", "folders 5000 deep",
    ],
)  # fmt: skip
def test_hostile_member_is_refused_and_nothing_is_written(
    members: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    into = tmp_path / "in" / "fresh"
    into.mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(TransferError):
        archive.extract(tar_of((member("first"), b"x"), *members), into)
    assert sorted(tmp_path.rglob("*")) == before


def test_setuid_owner_and_absurd_times_are_taken_off(tmp_path: Path) -> None:
    info = member("tool", mode=0o6755)
    info.uid = info.gid = 0
    info.mtime = 10**18
    archive.extract(tar_of((info, b"#!"), (member("secret", mode=0o777), b"x")), tmp_path)
    status = (tmp_path / "tool").stat()
    assert status.st_mode & 0o7777 == 0o755
    assert status.st_uid == os.getuid()
    assert (tmp_path / "secret").stat().st_mode & 0o7777 == 0o755


def test_bomb_is_refused_by_size_before_it_is_written(tmp_path: Path) -> None:
    info = member("zeros")
    info.size = 10 << 30
    with pytest.raises(TransferError):
        archive.extract(io.BytesIO(info.tobuf() + bytes(1024)), tmp_path, size_limit=1 << 20)
    assert list(tmp_path.iterdir()) == []


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    many = tar_of(*((member(f"f{number}"), b"") for number in range(101)))
    with pytest.raises(TransferError, match="more than 100"):
        archive.extract(many, tmp_path, members_limit=100)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        b"\x1f\x8b\x08" + bytes(100),
        bytes(range(256)) * 4,
        tar_of((member("a"), b"x" * 5000)).getvalue()[:3000],
    ],
    ids=["nothing", "html", "gzip", "noise", "cut off"],
)
def test_what_is_no_tar_is_one_sentence(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="archive"):
        archive.extract(io.BytesIO(data), tmp_path)


def test_links_inside_and_hard_links_are_kept(tmp_path: Path) -> None:
    packed = tar_of(
        (member("d", tarfile.DIRTYPE), b""), (member("d/f"), b"data"), (member("l", tarfile.SYMTYPE, "d/f"), b""),
        (member("d/up", tarfile.SYMTYPE, "../d/f"), b""), (member("h", tarfile.LNKTYPE, "d/f"), b""),
    )  # fmt: skip
    archive.extract(packed, tmp_path)
    assert (tmp_path / "l").read_bytes() == (tmp_path / "d/up").read_bytes() == b"data"
    assert (tmp_path / "h").read_bytes() == b"data"


# -- transfers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [0, 1, 4095, 4096, 4097, upload_road.PART - 1, upload_road.PART, upload_road.PART + 1]
)
def test_file_of_this_size_goes_and_comes_back(box: Box, size: int, tmp_path: Path) -> None:
    source = tmp_path / "file"
    source.write_bytes(hashlib.shake_128(b"seed").digest(size))
    folder = box.folder()
    sent = transfer.upload(box.client, box.uuid, source, folder)
    assert (sent.size, sent.files, sent.verified) == (size, 1, "sha256")
    got = transfer.download(box.client, box.uuid, sent.path, tmp_path / "down")
    assert got.sha256 == sent.sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (tmp_path / "down/file").read_bytes() == source.read_bytes()


def test_larger_file_in_many_parts(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(hashlib.shake_128(b"seed").digest(17 * upload_road.PART + 12345))
    seen = []
    sent = transfer.upload(
        box.client, box.uuid, source, box.folder(), on_progress=lambda p: seen.append((p.stage, p.done))
    )
    assert [stage for stage, _ in seen][:1] == ["checking"]
    counts = [done for stage, done in seen if stage == "sending"]
    assert counts == sorted(counts)
    assert counts[-1] == sent.size
    transfer.download(box.client, box.uuid, sent.path, tmp_path / "down")
    assert (tmp_path / "down/large").read_bytes() == source.read_bytes()
    files.delete(box.client, box.uuid, sent.path)


def test_folder_of_no_files_hidden_files_links_and_modes(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "empty").mkdir(parents=True)
    (source / ".hidden").write_text("h")
    (source / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (source / "run.sh").chmod(0o755)
    (source / "closed").mkdir()
    (source / "closed" / "file").write_text("c")
    (source / "closed").chmod(0o555)
    (source / "link").symlink_to("run.sh")
    (source / "empty" / "up").symlink_to("../.hidden")
    folder = box.folder()
    try:
        transfer.upload(box.client, box.uuid, source, folder)
    finally:
        (source / "closed").chmod(0o755)
    assert execute.execute(box.client, box.uuid, f"{folder}/tree/run.sh").output == "ran\n"
    found = {entry.name: entry for entry in files.tree(box.client, box.uuid, folder + "/tree")}
    assert found["link"].target == "run.sh"
    assert found["closed"].mode == 0o555
    assert found["run.sh"].mode == 0o755
    transfer.download(box.client, box.uuid, folder + "/tree", tmp_path / "down")
    assert (tmp_path / "down/tree/empty/up").read_text() == "h"
    assert (tmp_path / "down/tree/link").readlink() == Path("run.sh")


def test_empty_folder(box: Box, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    folder = box.folder()
    assert transfer.upload(box.client, box.uuid, tmp_path / "nothing", folder).files == 0
    assert transfer.download(box.client, box.uuid, folder + "/nothing", tmp_path / "down").files == 0
    assert list((tmp_path / "down/nothing").iterdir()) == []


def test_links_that_lead_out_are_refused_with_their_names(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    source.mkdir()
    (source / "passwd").symlink_to("/etc/passwd")
    (source / "up").symlink_to("../x")
    folder = box.folder()
    with pytest.raises(TransferError, match=r"'passwd', 'up'"):
        transfer.upload(box.client, box.uuid, source, folder)
    assert files.list_directory(box.client, box.uuid, folder) == []
    box.sh('mkdir "$1/t";ln -s /etc/passwd "$1/t/evil";ln -s ../../x "$1/t/up"', folder)
    with pytest.raises(TransferError, match="evil"):
        transfer.download(box.client, box.uuid, folder + "/t", tmp_path / "down")
    assert list((tmp_path / "down").iterdir()) == []


def test_upload_replaces_a_file_and_merges_a_folder(box: Box, tmp_path: Path) -> None:
    folder = box.folder()
    source = tmp_path / "tree"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a").write_text("first")
    transfer.upload(box.client, box.uuid, source, folder)
    files.write(box.client, box.uuid, folder + "/tree/sub/result", "kept")
    (source / "sub" / "a").write_text("second")
    (source / "sub" / "b").write_text("new")
    transfer.upload(box.client, box.uuid, source, folder)
    read = {
        name: files.read(box.client, box.uuid, f"{folder}/tree/sub/{name}") for name in ("a", "b", "result")
    }
    assert read == {"a": b"second", "b": b"new", "result": b"kept"}


def test_upload_onto_things_of_another_kind_changes_nothing(box: Box, tmp_path: Path) -> None:
    folder = box.folder()
    box.sh('mkdir "$1/name" "$1/tree" "$1/tree/f"; echo x >"$1/file"; echo x >"$1/tree/z"', folder)
    (tmp_path / "name").write_text("a file")
    with pytest.raises(TransferError, match="is a folder"):
        transfer.upload(box.client, box.uuid, tmp_path / "name", folder)
    (tmp_path / "file").mkdir()
    with pytest.raises(TransferError, match="is a file"):
        transfer.upload(box.client, box.uuid, tmp_path / "file", folder)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_text("a")
    (tmp_path / "tree" / "f").write_text("a file where a folder is")
    with pytest.raises(TransferError, match="tree/f"):
        transfer.upload(box.client, box.uuid, tmp_path / "tree", folder)
    names = {entry.name for entry in files.tree(box.client, box.uuid, folder)}
    assert names == {".", "name", "tree", "tree/f", "tree/z", "file"}


@pytest.mark.parametrize(
    ("dest", "sentence"),
    [("/missing", "does not exist"), ("/etc/hostname", "is a file"), ("/proc", "cannot be written")],
)
def test_destination_that_cannot_be_one(box: Box, dest: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(TransferError, match=sentence):
        transfer.upload(box.client, box.uuid, tmp_path / "f", dest)


def test_source_that_is_missing_here_or_there(box: Box, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match="There is no"):
        transfer.upload(box.client, box.uuid, tmp_path / "missing", "/tmp")
    with pytest.raises(TransferError, match="does not exist"):
        transfer.download(box.client, box.uuid, "/missing", tmp_path)
    with pytest.raises(TransferError, match="neither a file nor a folder"):
        transfer.upload(box.client, box.uuid, "/dev/null", "/tmp")


def test_download_destination_that_is_a_file_or_lies_below_one(box: Box, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for dest in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TransferError, match="file"):
            transfer.download(box.client, box.uuid, "/etc/hostname", dest)
    assert (tmp_path / "file").read_text() == "mine"


def test_download_never_follows_a_link_at_the_destination(box: Box, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "tree").symlink_to(outside)
    (dest / "file").symlink_to(outside / "file")
    folder = box.folder()
    box.sh('mkdir "$1/tree"; echo evil >"$1/tree/x"; echo evil >"$1/file"', folder)
    with pytest.raises(TransferError, match="another kind"):
        transfer.download(box.client, box.uuid, folder + "/tree", dest)
    transfer.download(box.client, box.uuid, folder + "/file", dest)  # replaces the link itself
    assert list(outside.iterdir()) == []
    assert not (dest / "file").is_symlink()


def test_unreadable_folder_here_is_a_sentence(box: Box, tmp_path: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root reads everything")
    (tmp_path / "f").write_text("x")
    (tmp_path / "f").chmod(0)
    with pytest.raises(TransferError, match="Permission denied"):
        transfer.upload(box.client, box.uuid, tmp_path / "f", "/tmp")


def test_upload_cancelled_half_way_leaves_nothing(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(6 * upload_road.PART))
    folder = box.folder()
    files.write(box.client, box.uuid, folder + "/large", "old")
    half = threading.Event()
    with pytest.raises(Cancelled, match="as it was"):
        transfer.upload(
            box.client, box.uuid, source, folder, cancel=half.is_set,
            on_progress=lambda p: half.set() if (p.done or 0) > source.stat().st_size // 2 else None,
        )  # fmt: skip
    assert [entry.name for entry in files.list_directory(box.client, box.uuid, folder)] == ["large"]
    assert files.read(box.client, box.uuid, folder + "/large") == b"old"


def test_ctrl_c_in_the_middle_leaves_nothing(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.write_bytes(bytes(3 * upload_road.PART))
    folder = box.folder()

    def interrupt(progress: object) -> None:
        if getattr(progress, "done", 0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="as it was"):
        transfer.upload(box.client, box.uuid, source, folder, on_progress=interrupt)
    assert files.list_directory(box.client, box.uuid, folder) == []
    box.sh('head -c 9000000 /dev/zero >"$1/f"', folder)
    with pytest.raises(KeyboardInterrupt, match="as it was"):
        transfer.download(box.client, box.uuid, folder + "/f", tmp_path / "down", on_progress=interrupt)
    assert list((tmp_path / "down").iterdir()) == []


def test_same_file_uploaded_twice_at_once_is_one_of_the_two(box: Box, tmp_path: Path) -> None:
    folder = box.folder()
    contents = [bytes([65 + number]) * (upload_road.PART + 1) for number in range(2)]
    problems: list[BaseException] = []

    def send(number: int) -> None:
        try:
            (tmp_path / str(number)).mkdir()
            (tmp_path / str(number) / "same").write_bytes(contents[number])
            transfer.upload(box.client, box.uuid, tmp_path / str(number) / "same", folder)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            problems.append(error)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert files.read(box.client, box.uuid, folder + "/same") in contents
    assert len(files.list_directory(box.client, box.uuid, folder)) == 1


@pytest.fixture
def small_disk(box: Box) -> Iterator[str]:
    """A directory of the container on a tmpfs of 64 MiB."""
    place = box.sh("mktemp -d /dev/shm/test-XXXXXX").decode().strip()
    yield place
    box.sh('rm -rf "$1" /dev/shm/filler', place)


def test_full_disk_in_the_container_is_said_before_anything_is_sent(
    box: Box, small_disk: str, tmp_path: Path
) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(300 << 20)
    with pytest.raises(TransferError, match="not enough space in the container"):
        transfer.upload(box.client, box.uuid, tmp_path / "huge", small_disk)
    assert files.list_directory(box.client, box.uuid, small_disk) == []


@pytest.mark.parametrize("size", [3 << 20, 9 << 20])
def test_disk_that_fills_up_while_it_is_sent(box: Box, small_disk: str, size: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(size))
    filled = threading.Event()

    def fill(progress: object) -> None:
        if getattr(progress, "stage", "") == "sending" and not filled.is_set():
            filled.set()
            box.sh("head -c 70000000 /dev/zero >/dev/shm/filler 2>/dev/null;:")

    with pytest.raises(TransferError):
        transfer.upload(box.client, box.uuid, tmp_path / "file", small_disk, on_progress=fill)
    assert files.list_directory(box.client, box.uuid, small_disk) == []


def test_mounted_tmpfs_is_written_whatever_the_sites_archives_reach(
    box: Box, small_disk: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(bytes(range(256)) * 1000)
    transfer.upload(box.client, box.uuid, tmp_path / "file", small_disk)
    assert files.read(box.client, box.uuid, small_disk + "/file") == (tmp_path / "file").read_bytes()


def test_source_that_shrinks_while_it_is_read_fails_whole(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "shrinking"
    source.write_bytes(bytes(3 * upload_road.PART))
    folder = box.folder()

    def shrink(progress: object) -> None:
        if getattr(progress, "done", 0):
            os.truncate(source, upload_road.PART)

    with pytest.raises(TransferError, match="became shorter"):
        transfer.upload(box.client, box.uuid, source, folder, on_progress=shrink)
    assert files.list_directory(box.client, box.uuid, folder) == []


def test_part_lost_on_the_way_fails_and_does_not_truncate(box: Box, tmp_path: Path) -> None:
    """Somebody deletes a part in the container while others are sent."""
    source = tmp_path / "file"
    source.write_bytes(hashlib.shake_128(b"x").digest(4 * upload_road.PART))
    folder = box.folder()
    lost = threading.Event()

    def lose(progress: object) -> None:
        if getattr(progress, "done", 0) and not lost.is_set():
            lost.set()
            box.sh('rm -f "$1"/.chi-edge-lab-*/p/0/00000000', folder)

    with pytest.raises(TransferError, match=r"lost|damaged"):
        transfer.upload(box.client, box.uuid, source, folder, on_progress=lose)
    assert files.list_directory(box.client, box.uuid, folder) == []
