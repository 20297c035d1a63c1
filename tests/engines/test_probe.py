"""Which engine is taken, and what is said where none works."""

from __future__ import annotations

import os
import pathlib
import platform
import subprocess
import sys
import tempfile

import pytest

from chi_edge_lab.local.engines.base import EngineUnavailable
from chi_edge_lab.local.engines.docker import DockerEngine
from chi_edge_lab.local.engines.probe import choose

from . import locked_down

ROOT = pathlib.Path(__file__).parents[2]
ASK = """
import pathlib, sys
from chi_edge_lab.local.engines.base import EngineUnavailable
from chi_edge_lab.local.engines.probe import choose
try:
    print("works:", choose(sys.argv[1], pathlib.Path(sys.argv[2])).name)
except EngineUnavailable as error:
    print(error)
"""

needs_filter = pytest.mark.skipif(
    platform.machine() not in locked_down.CALLS, reason="no seccomp filter is written for this processor"
)


def ask_locked_down(name: str, docker_host: str) -> str:
    """What `choose` says as an unprivileged user without user namespaces."""
    with tempfile.TemporaryDirectory() as directory:  # pytest's are closed to other users
        pathlib.Path(directory).chmod(0o777)
        done = subprocess.run(
            [sys.executable, locked_down.__file__, sys.executable, "-c", ASK, name, f"{directory}/engine"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": directory,
                "DOCKER_HOST": docker_host,
                "PYTHONPATH": str(ROOT),
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@needs_filter
def test_without_user_namespaces_and_docker_one_sentence_says_what_to_change() -> None:
    said = ask_locked_down("auto", "unix:///nonexistent/docker.sock")
    assert said.startswith("No containers can run on this machine yet: ")
    assert "allow user namespaces" in said
    assert "seccomp" in said
    assert "install and start Docker" in said
    assert "/nonexistent/docker.sock" in said
    assert len(said.splitlines()) == 1
    assert said.endswith(".")
    assert ". " not in said


@needs_filter
def test_asking_for_namespaces_alone_says_what_to_change_for_them() -> None:
    said = ask_locked_down("namespaces", "unix:///nonexistent/docker.sock")
    assert "allow user namespaces" in said
    assert "Docker (" not in said


@needs_filter
@pytest.mark.skipif(os.getuid() != 0, reason="a socket that this user may not open takes root to make")
def test_a_docker_socket_that_the_user_may_not_open(tmp_path: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        pathlib.Path(directory).chmod(0o755)
        closed = pathlib.Path(directory) / "docker.sock"
        closed.touch(mode=0o600)
        said = ask_locked_down("docker", f"unix://{closed}")
    assert "this user may not open" in said
    assert "group" in said


@pytest.mark.docker
def test_docker_is_tried_out_and_leaves_nothing(tmp_path: pathlib.Path) -> None:
    engine = choose("docker", tmp_path)
    try:
        assert isinstance(engine, DockerEngine)
        assert engine.list() == []
        assert engine.on_exit is None
    finally:
        engine.close()


@pytest.mark.docker
def test_auto_takes_one_that_works(tmp_path: pathlib.Path) -> None:
    engine = choose("auto", tmp_path)
    try:
        assert engine.name in ("namespaces", "docker")
        assert engine.list() == []
    finally:
        engine.close()


def test_docker_alone_says_why_not(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    with pytest.raises(EngineUnavailable, match=r"^No Docker can be used: .*\.$"):
        choose("docker", tmp_path)
