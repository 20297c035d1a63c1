"""The daemon's JSON in our words (pure functions)."""

from __future__ import annotations

import stat

import pytest

from chi_edge_lab.local.engines.base import EngineError, ImageNotFound, NoSuchContainer, NotRunning
from chi_edge_lab.local.engines.docker import daemon, parse


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("busybox", ("busybox", "")),
        ("busybox:1.35", ("busybox", "1.35")),
        ("docker.io/library/busybox:latest", ("busybox", "latest")),
        ("docker.io/someone/thing", ("someone/thing", "")),
        ("127.0.0.1:5001/httpd", ("127.0.0.1:5001/httpd", "")),
        ("registry.example:5000/a/b:v1.2-rc_3", ("registry.example:5000/a/b", "v1.2-rc_3")),
        ("", ("", "")),
    ],
)
def test_a_registrys_port_is_not_a_tag(name: str, parts: tuple[str, str]) -> None:
    assert parse.split_name(name) == parts


@pytest.mark.parametrize(
    ("go", "posix"),
    [
        (0o644, stat.S_IFREG | 0o644),
        (2147484141, stat.S_IFDIR | 0o755),
        (134218239, stat.S_IFLNK | 0o777),
        ((1 << 26) | (1 << 21) | 0o666, stat.S_IFCHR | 0o666),
        ((1 << 26) | 0o660, stat.S_IFBLK | 0o660),
        ((1 << 23) | 0o755, stat.S_IFREG | 0o4755),
        ((1 << 31) | (1 << 20) | 0o777, stat.S_IFDIR | 0o1777),
    ],
)
def test_gos_file_modes(go: int, posix: int) -> None:
    assert parse.posix_mode(go) == posix


def test_text_that_json_would_change_is_refused() -> None:
    assert parse.as_text("ä🦊\n", "path") == "ä🦊\n"
    for bad in ("\udcff", "a\0b"):
        with pytest.raises(EngineError):
            parse.as_text(bad, "path")


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, "No such container: 12", NoSuchContainer),
        (409, "Container 12 is not running", NotRunning),
        (409, "Container 12 is paused, unpause the container before exec", NotRunning),
        (500, "Container 12 is not paused", NotRunning),
        (404, "No such image: x", ImageNotFound),
        (500, "", EngineError),
    ],
)
def test_errors_are_told_apart(status: int, text: str, kind: type[EngineError]) -> None:
    error = daemon.error_for(status, text)
    assert type(error) is kind
    assert str(error)


def test_a_container_without_memory_ended_for_that() -> None:
    state = parse.state_of(
        {
            "State": {
                "Status": "exited",
                "ExitCode": 137,
                "OOMKilled": True,
                "Error": "",
                "StartedAt": "2026-11-23T13:17:42Z",
                "FinishedAt": "2026-11-23T13:17:43Z",
            },
            "NetworkSettings": {"Networks": {"n": {"IPAddress": ""}}},
        }
    )
    assert (state.status, state.exit_code, state.address) == ("exited", 137, None)
    assert "memory" in state.error
