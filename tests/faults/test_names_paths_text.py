"""FAULTS, "Names, paths, text": on exec, files, upload and download, in both profiles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chi_edge_lab.core import create, execute, files, paths, transfer
from chi_edge_lab.errors import BadInput, EdgeLabError, FileError, TransferError
from chi_edge_lab.zun import Client
from tests.boxes import Box
from tests.faults.names import IDS, NAMES

hostile = pytest.mark.parametrize("name", NAMES, ids=IDS)


def at(folder: str, name: bytes) -> str:
    return f"{folder}/{paths.to_text(name)}"


@hostile
def test_file_of_this_name_is_written_listed_read_renamed_and_deleted(box: Box, name: bytes) -> None:
    client, uuid, folder = box.client, box.uuid, box.folder()
    content = b"content of " + name
    files.write(client, uuid, at(folder, name), content)
    (entry,) = files.list_directory(client, uuid, folder)
    assert paths.to_bytes(entry.name) == name
    assert (entry.kind, entry.size) == ("file", len(content))
    assert files.read(client, uuid, at(folder, name)) == content
    assert files.stat(client, uuid, at(folder, name)).size == len(content)
    files.rename(client, uuid, at(folder, name), at(folder, b"other"))
    files.rename(client, uuid, at(folder, b"other"), at(folder, name))
    files.delete(client, uuid, at(folder, name))
    assert files.list_directory(client, uuid, folder) == []


def test_folders_of_all_these_names_are_made_listed_and_deleted(box: Box) -> None:
    client, uuid, folder = box.client, box.uuid, box.folder()
    for name in NAMES:
        files.make_directory(client, uuid, at(folder, name))
        box.sh('echo x >"$1/inside"', at(folder, name))
    listed = files.tree(client, uuid, folder)
    assert {paths.to_bytes(entry.name) for entry in listed} == {
        b".",
        *NAMES,
        *(name + b"/inside" for name in NAMES),
    }
    for name in NAMES:
        with pytest.raises(FileError, match="not empty"):
            files.delete(client, uuid, at(folder, name))
        files.delete(client, uuid, at(folder, name), recursive=True)
    assert files.list_directory(client, uuid, folder) == []


def test_arguments_arrive_as_they_were_given(box: Box) -> None:
    words = [
        name.decode()
        for name, text in zip(NAMES, IDS, strict=True)
        if text not in {"latin-1", "invalid utf-8"}
    ]
    result = execute.execute(box.client, box.uuid, ["printf", r"%s\0", *words])
    assert result.raw.split(b"\0")[:-1] == [word.encode() for word in words]


@hostile
def test_file_is_uploaded_into_and_downloaded_from_a_folder_of_this_name(
    box: Box, name: bytes, tmp_path: Path
) -> None:
    client, uuid, folder = box.client, box.uuid, box.folder()
    source = tmp_path / os.fsdecode(name)
    source.write_bytes(b"content of " + name)
    files.make_directory(client, uuid, at(folder, name))
    sent = transfer.upload(client, uuid, source, at(folder, name))
    assert paths.to_bytes(sent.path).endswith(b"/" + name + b"/" + name)
    got = transfer.download(client, uuid, sent.path, tmp_path / "down")
    assert got.sha256 == sent.sha256
    assert (tmp_path / "down" / os.fsdecode(name)).read_bytes() == b"content of " + name
    left = [entry.name for entry in files.list_directory(client, uuid, at(folder, name))]
    assert [paths.to_bytes(one) for one in left] == [name], "something temporary was left"


def test_folder_with_all_these_names_goes_up_and_comes_back_the_same(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "all"
    (source / "sub").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        (source / os.fsdecode(name)).write_bytes(name * number)
        (source / "sub" / os.fsdecode(name)).mkdir()
        (source / "sub" / os.fsdecode(name) / "x").write_bytes(name)
    folder = box.folder()
    sent = transfer.upload(box.client, box.uuid, source, folder)
    assert sent.files == 2 * len(NAMES)
    transfer.download(box.client, box.uuid, folder + "/all", tmp_path / "down")
    back = tmp_path / "down" / "all"
    assert sorted(os.fsencode(found.relative_to(back)) for found in back.rglob("*")) == sorted(
        os.fsencode(found.relative_to(source)) for found in source.rglob("*")
    )
    for found in source.rglob("*"):
        if found.is_file():
            assert (back / found.relative_to(source)).read_bytes() == found.read_bytes()


def test_names_differing_only_in_case_are_two_files(box: Box, tmp_path: Path) -> None:
    source = tmp_path / "case"
    source.mkdir()
    (source / "a").write_text("lower")
    (source / "A").write_text("upper")
    folder = box.folder()
    transfer.upload(box.client, box.uuid, source, folder)
    transfer.download(box.client, box.uuid, folder + "/case", tmp_path / "down")
    assert (tmp_path / "down/case/a").read_text() == "lower"
    assert (tmp_path / "down/case/A").read_text() == "upper"


def test_path_of_nearly_4096_bytes(box: Box, tmp_path: Path) -> None:
    folder = box.folder()
    deep = folder + "".join(f"/{'d' * 200}" for _ in range(19))
    deep += "/" + "e" * (4000 - len(deep))
    files.make_directory(box.client, box.uuid, deep, parents=True)
    files.write(box.client, box.uuid, deep + "/file", "deep")
    assert files.read(box.client, box.uuid, deep + "/file") == b"deep"
    transfer.download(box.client, box.uuid, deep + "/file", tmp_path)
    assert (tmp_path / "file").read_text() == "deep"


@pytest.mark.parametrize("path", ["/a\0b", "\0", "", "/" + "x" * 4096, "/tmp/" + "x" * 256])
def test_path_that_cannot_be_one_is_refused_before_any_request(box: Box, path: str, tmp_path: Path) -> None:
    client, uuid = box.client, box.uuid
    for refused in (
        lambda: files.read(client, uuid, path),
        lambda: files.list_directory(client, uuid, path),
        lambda: files.write(client, uuid, path, "x"),
        lambda: files.rename(client, uuid, "/tmp/x", path),
        lambda: files.delete(client, uuid, path),
        lambda: transfer.download(client, uuid, path, tmp_path),
    ):
        with pytest.raises(BadInput):
            refused()


def test_lone_surrogate_that_is_no_byte_is_refused(box: Box) -> None:
    with pytest.raises(BadInput, match="no file name"):
        files.read(box.client, box.uuid, "/tmp/\ud800")


@pytest.mark.parametrize("path", ["/", ".", "..", "/tmp/..", "//", "/./"])
def test_root_and_dots_cannot_be_deleted_or_renamed(box: Box, path: str) -> None:
    with pytest.raises(BadInput):
        files.delete(box.client, box.uuid, path, recursive=True)
    with pytest.raises(BadInput):
        files.rename(box.client, box.uuid, path, "/elsewhere")


def test_dots_in_a_path_lead_where_the_container_says(box: Box, tmp_path: Path) -> None:
    transfer.download(box.client, box.uuid, "../../../../etc/../etc/hostname", tmp_path)
    assert (tmp_path / "hostname").read_bytes() == files.read(box.client, box.uuid, "/etc/hostname")


def test_proc_is_read_though_it_has_no_size(box: Box, tmp_path: Path) -> None:
    assert b"PATH=" in files.read(box.client, box.uuid, "/proc/1/environ")
    transfer.download(box.client, box.uuid, "/proc/version", tmp_path)
    assert (tmp_path / "version").read_bytes() == Path("/proc/version").read_bytes()


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/dev/urandom"])
def test_device_is_neither_read_nor_downloaded(box: Box, path: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match="device"):
        files.read(box.client, box.uuid, path)
    with pytest.raises(TransferError, match="device"):
        transfer.download(box.client, box.uuid, path, tmp_path)


def test_pipe_does_not_hang(box: Box, tmp_path: Path) -> None:
    folder = box.folder()
    box.sh('mkfifo "$1/pipe"', folder)
    with pytest.raises(FileError, match="pipe"):
        files.read(box.client, box.uuid, folder + "/pipe")
    with pytest.raises(TransferError, match="pipe"):
        transfer.download(box.client, box.uuid, folder, tmp_path)


def test_link_loop_and_dangling_link(box: Box) -> None:
    folder = box.folder()
    box.sh('ln -s loop "$1/loop"; ln -s nowhere "$1/dangling"; ln -s . "$1/here"', folder)
    found = {entry.name: entry for entry in files.list_directory(box.client, box.uuid, folder)}
    assert found["loop"].target == "loop"
    assert found["loop"].target_kind == ""
    assert found["here"].is_directory
    for name in ("loop", "dangling"):
        with pytest.raises(FileError, match="leads nowhere"):
            files.read(box.client, box.uuid, f"{folder}/{name}")
        files.delete(box.client, box.uuid, f"{folder}/{name}")
    assert len(files.tree(box.client, box.uuid, folder)) == 2  # links are not followed
    files.delete(box.client, box.uuid, folder + "/here")
    assert files.exists(box.client, box.uuid, folder)


def test_sparse_terabyte_is_refused_for_want_of_space_here(box: Box, tmp_path: Path) -> None:
    folder = box.folder()
    box.sh('dd if=/dev/zero of="$1/sparse" bs=1 count=1 seek=1000000000000 2>/dev/null', folder)
    assert files.stat(box.client, box.uuid, folder + "/sparse").size == 1000000000001
    with pytest.raises(FileError, match="larger than"):
        files.read(box.client, box.uuid, folder + "/sparse")
    with pytest.raises(TransferError, match="not enough space here"):
        transfer.download(box.client, box.uuid, folder + "/sparse", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_directory_of_many_entries_comes_whole_in_pages(box: Box) -> None:
    folder = box.folder()
    count = 20_000
    make = f"cd {folder} && seq 1 {count} | sed s/^/entry-with-a-long-name-indeed-/ | xargs touch"
    execute.run_long(box.client, box.uuid, ["sh", "-c", make])
    pages = list(files.iterate_directory(box.client, box.uuid, folder))
    assert sum(len(page) for page in pages) == count
    assert len({entry.name for page in pages for entry in page}) == count
    files.delete(box.client, box.uuid, folder, recursive=True)


def test_file_that_grows_while_it_is_downloaded_gives_a_beginning_of_it(box: Box, tmp_path: Path) -> None:
    folder = box.folder()
    box.sh(
        '(i=0;while [ $i -lt 2000 ];do echo "line $i";i=$((i+1));sleep 0.01;done >"$1/log") >/dev/null 2>&1 &',
        folder,
    )
    transfer.download(box.client, box.uuid, folder + "/log", tmp_path)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines == [f"line {number}" for number in range(len(lines))]
    box.sh('rm -r "$1"', folder)


def test_output_that_is_not_utf8_comes_whole(box: Box) -> None:
    result = execute.execute(box.client, box.uuid, ["printf", r"\377\376\000\001\200x"])
    assert result.raw == b"\xff\xfe\x00\x01\x80x"
    assert result.output.endswith("x")


@pytest.mark.parametrize(
    "name",
    ["<img src=x onerror=alert(1)>", "a\u202eb", "a\u200bb", "🐋", "x" * 300, "", "a/../b", "-x", "a b", "é"],
)
def test_container_is_not_created_under_a_name_no_site_takes(client: Client, name: str) -> None:
    with pytest.raises(BadInput):
        create.create(client, name=name, image="busybox")


@pytest.mark.parametrize("name", ["Upper", "under_score", "dotted.name", "x" * 64, "trailing-"])
def test_chi_edge_refuses_what_kubernetes_would_not_take(client: Client, name: str) -> None:
    if client.dialect.name != "k8s":
        pytest.skip("upstream takes these")
    with pytest.raises(BadInput, match="CHI@Edge"):
        create.create(client, name=name, image="busybox")


def test_errors_show_names_without_control_characters(box: Box) -> None:
    with pytest.raises(EdgeLabError) as caught:
        files.read(box.client, box.uuid, "/no\x1b[31msuch\nfile\u202e")
    assert str(caught.value).isprintable()
