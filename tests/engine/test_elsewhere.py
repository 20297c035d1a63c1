"""The same life as another user, under another Python and where user namespaces are refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

import chi_edge_lab.local

LIFE = Path(__file__).with_name("whole_life.py")
PYTHON = "/usr/bin/python3"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


@pytest.fixture(scope="module")
def place():
    """A copy of the code and a directory that any user may read and write: the checkout may be root's own."""
    with tempfile.TemporaryDirectory(prefix="chi-edge-lab-") as name:
        top = Path(name)
        package = top / "code/chi_edge_lab"
        source = Path(chi_edge_lab.local.__file__).parent
        shutil.copytree(source, package / "local", ignore=shutil.ignore_patterns("__pycache__"))
        (package / "__init__.py").touch()
        shutil.copy(LIFE, top / "code")
        (top / "work").mkdir()
        for path in (top, *top.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (top / "work").chmod(0o1777)
        yield top


def python_version(program):
    try:
        script = "import sys; print(sys.version_info >= (3, 10))"
        answer = subprocess.run([program, "-c", script], capture_output=True)
    except OSError:
        return False
    return answer.stdout.strip() == b"True"


def run(place, prefix, *arguments):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place / "work"),
        "PYTHONPATH": str(place / "code"),
    }
    return subprocess.run([*prefix, *arguments], capture_output=True, env=environment, cwd="/", timeout=60)


needs_other_user = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not python_version(PYTHON),
    reason="needs root (to become another user), setpriv and a Python 3.10 or later in /usr/bin",
)


@needs_other_user
@pytest.mark.parametrize(
    ("name", "prefix", "inner_map"),
    [
        ("user", NOBODY, "0 65534 1"),
        # The root of a user's own user namespace is no root for us.
        ("root", [*NOBODY, "unshare", "--user", "--map-root-user"], "0 0 1"),
    ],
)
def test_an_ordinary_user_has_whole_containers(place, name, prefix, inner_map):
    directory = place / "work" / name
    answer = run(place, prefix, PYTHON, "-W", "error", str(place / "code/whole_life.py"), str(directory))
    assert answer.returncode == 0, answer.stderr.decode()
    steps = [json.loads(line) for line in answer.stdout.splitlines()]
    assert steps[-1]["step"] == "done"
    inside = [step for step in steps if step["step"] == "inside"]
    assert {step["id"] for step in inside} == {"0"}
    assert len(inside) == 1 + bool(shutil.which("busybox"))
    if name == "user":
        assert {" ".join(step["map"].split()) for step in inside} == {inner_map}
    assert list((directory / "containers").iterdir()) == []


@needs_other_user
def test_where_user_namespaces_are_refused_one_sentence_says_what_to_change(place):
    script = (
        "import pathlib, sys\n"
        "from chi_edge_lab.local.engines.base import EngineUnavailable\n"
        "from chi_edge_lab.local.engines import probe\n"
        "try:\n    probe.choose('namespaces', pathlib.Path(sys.argv[1]))\n"
        "except EngineUnavailable as error:\n    print(error)"
    )
    line = f'echo 0 > /proc/sys/user/max_user_namespaces; exec {PYTHON} -c "$0" "$1"'
    prefix = [*NOBODY, "unshare", "--user", "--map-root-user", "sh", "-c", line]
    answer = run(place, prefix, script, str(place / "work/refused"))
    assert answer.returncode == 0, answer.stderr.decode()
    text = answer.stdout.decode().strip()
    assert "sudo sysctl -w user.max_user_namespaces=" in text
    assert "\n" not in text


def test_a_root_without_the_needed_rights_is_told(monkeypatch):
    from chi_edge_lab.local.engines.base import EngineUnavailable
    from chi_edge_lab.local.engines.namespaces import ids

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(ids, "_effective_capabilities", lambda: 0)
    with pytest.raises(EngineUnavailable, match="lacks the capabilities CHOWN, SETGID, SETUID: run"):
        ids.container_ids()
    monkeypatch.setattr(ids, "_effective_capabilities", lambda: -1)
    monkeypatch.setattr(ids, "_mapped", lambda: [(0, 0, 1000)])
    with pytest.raises(EngineUnavailable, match="no unprivileged user numbers"):
        ids.container_ids()
