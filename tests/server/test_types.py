"""The TypeScript types are those of the operations; `make types` makes them anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_lock_file_names_no_registry() -> None:
    lock = (ROOT / "package-lock.json").read_text()
    assert "://" not in lock
    assert json.loads(lock)["packages"]["node_modules/openapi-typescript"]["integrity"]


def test_the_types_are_current() -> None:
    if not (ROOT / "node_modules" / ".bin" / "openapi-typescript").exists():
        pytest.fail("node's packages are missing: `make test` (or `npm ci`) brings them", pytrace=False)
    npm = shutil.which("npm")
    assert npm, "npm is missing: `make test` brings it"
    done = subprocess.run(
        [npm, "run", "--silent", "types:check"], cwd=ROOT, env=os.environ | {"PYTHON": sys.executable},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"run `make types`\n{done.stdout}{done.stderr}"
