"""FAULTS: images without tar, without a shell, without checksum tools, on both profiles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from chi_edge_lab.core import create, execute, files, lifecycle, transfer, upload_road
from chi_edge_lab.errors import NoShell, TransferError
from tests.boxes import IDLE, PROFILES, Box, client_of, unique
from tests.userlands import added


def start(profile: str, userland: str) -> Box:
    client = client_of(profile)
    command = ["sleep", "3600"] if userland == "no-shell" else IDLE
    made = create.create(
        client, name=unique(userland), image=added(userland, profile), command=command, timeout=60
    )
    return Box(client, made.uuid, f"{profile} {userland}")


@pytest.fixture(
    scope="module", params=[(p, u) for p in PROFILES for u in ("no-tar", "no-sums", "no-stat")], ids="-".join
)
def poor(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A container whose image has a shell and lacks something."""
    made = start(*request.param)
    yield made
    lifecycle.delete(made.client, made.uuid)


@pytest.fixture(scope="module", params=PROFILES)
def shell_less(request: pytest.FixtureRequest) -> Iterator[Box]:
    made = start(request.param, "no-shell")
    yield made
    lifecycle.delete(made.client, made.uuid)


def test_small_files_go_up_and_come_back(poor: Box, tmp_path: Path) -> None:
    source = tmp_path / "tree"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "bytes").write_bytes(bytes(range(256)) * 700)
    (source / "it's $(x)").write_text("quoted")
    (source / "empty").touch()
    (source / "run").write_text("#!/bin/sh\necho ran\n")
    (source / "run").chmod(0o755)
    folder = poor.folder()
    sent = transfer.upload(poor.client, poor.uuid, source, folder)
    assert sent.verified == ("read back" if "no-sums" in poor.kind else "sha256")
    assert execute.execute(poor.client, poor.uuid, f"{folder}/tree/run").output == "ran\n"
    names = sorted(entry.name for entry in files.list_directory(poor.client, poor.uuid, folder + "/tree"))
    assert names == ["empty", "it's $(x)", "run", "sub"]
    got = transfer.download(poor.client, poor.uuid, folder + "/tree/sub/bytes", tmp_path / "down")
    assert got.sha256 == hashlib.sha256((source / "sub/bytes").read_bytes()).hexdigest()
    if "no-stat" not in poor.kind:
        transfer.download(poor.client, poor.uuid, folder + "/tree", tmp_path / "down")
        assert (tmp_path / "down/tree/sub/bytes").read_bytes() == (source / "sub/bytes").read_bytes()


def test_files_are_written_and_read(poor: Box) -> None:
    folder = poor.folder()
    files.write(poor.client, poor.uuid, folder + "/a\nb", b"\xff\x00x")
    assert files.read(poor.client, poor.uuid, folder + "/a\nb") == b"\xff\x00x"
    files.write(poor.client, poor.uuid, folder + "/a\nb", b"again")
    assert files.read(poor.client, poor.uuid, folder + "/a\nb") == b"again"


def test_large_upload_without_tar_is_refused_where_tar_is_needed(poor: Box, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(upload_road.EXEC_LIMIT + 1))
    folder = poor.folder()
    if "no-tar" in poor.kind and poor.client.dialect.archive_runs_tar:
        with pytest.raises(TransferError, match="no tar"):
            transfer.upload(poor.client, poor.uuid, tmp_path / "large", folder)
        assert files.list_directory(poor.client, poor.uuid, folder) == []
    else:
        assert transfer.upload(poor.client, poor.uuid, tmp_path / "large", folder).files == 1


def test_without_a_shell_commands_still_run(shell_less: Box) -> None:
    assert execute.execute(shell_less.client, shell_less.uuid, "sleep 0").exit_code == 0
    missing = execute.execute(shell_less.client, shell_less.uuid, "nosuchprogram")
    assert missing.exit_code == (-1 if shell_less.client.dialect.name == "k8s" else 126)
    assert "not found" in missing.output


def test_without_a_shell_files_are_one_clear_sentence(shell_less: Box) -> None:
    for refused in (files.list_directory, files.read, files.stat):
        with pytest.raises(NoShell, match="has no shell"):
            refused(shell_less.client, shell_less.uuid, "/etc")


def test_without_a_shell_transfers_work_on_docker_and_are_refused_on_chi_edge(
    shell_less: Box, tmp_path: Path
) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "f").write_text("content")
    client, uuid = shell_less.client, shell_less.uuid
    if client.dialect.name == "k8s":
        with pytest.raises(NoShell, match="has no shell"):
            transfer.upload(client, uuid, tmp_path / "tree", "/data")
        with pytest.raises(NoShell, match="has no shell"):
            transfer.download(client, uuid, "/etc", tmp_path / "down")
        return
    sent = transfer.upload(client, uuid, tmp_path / "tree", "/data")
    assert (sent.verified, sent.files) == ("read back", 1)
    transfer.download(client, uuid, "/data/tree", tmp_path / "down")
    assert (tmp_path / "down/tree/f").read_text() == "content"
    transfer.download(client, uuid, "/data/tree/f", tmp_path / "down")
    assert (tmp_path / "down/f").read_text() == "content"
    for missing in (lambda: transfer.upload(client, uuid, tmp_path / "tree", "/nosuch"),
                    lambda: transfer.download(client, uuid, "/nosuch", tmp_path / "down")):  # fmt: skip
        with pytest.raises(TransferError):
            missing()
    (tmp_path / "large").write_bytes(bytes(upload_road.PART + 1))
    with pytest.raises(TransferError, match="4 MiB"):
        transfer.upload(client, uuid, tmp_path / "large", "/data")


@pytest.mark.parametrize("profile", PROFILES)
def test_stopped_container_gives_its_files_on_docker_only(profile: str, tmp_path: Path) -> None:
    client = client_of(profile)
    made = create.create(client, name=unique(), image="busybox", command=IDLE, timeout=60)
    files.make_directory(client, made.uuid, "/data")
    files.write(client, made.uuid, "/data/f", "kept")
    lifecycle.stop(client, made.uuid)
    try:
        if client.dialect.name == "k8s":
            with pytest.raises(Exception, match="does not run"):
                transfer.download(client, made.uuid, "/data", tmp_path)
            return
        transfer.download(client, made.uuid, "/data", tmp_path)
        assert (tmp_path / "data/f").read_text() == "kept"
        (tmp_path / "new").write_text("new")
        transfer.upload(client, made.uuid, tmp_path / "new", "/data")
        lifecycle.start(client, made.uuid)
        assert files.read(client, made.uuid, "/data/new") == b"new"
    finally:
        lifecycle.delete(client, made.uuid)
