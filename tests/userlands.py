"""Images that lack things: small root file systems made of this machine's own programs and their libraries."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

from tests.localsite import local_site, site_command

_COMMON = [
    "dash",
    "stat",
    "head",
    "tail",
    "wc",
    "dd",
    "cut",
    "chmod",
    "sleep",
    "id",
    "df",
    "readlink",
    "mktemp",
    "ln",
    "sed",
    "find",
    "xargs",
    "cat",
    "ls",
    "mkdir",
    "rm",
    "mv",
    "rmdir",
    "seq",
    "tr",
]
USERLANDS = {
    "no-tar": [*_COMMON, "base64", "od", "sha256sum"],
    "no-sums": [*_COMMON, "od", "tar"],  # neither base64 nor sha256sum: hex, and reading back
    "no-stat": [name for name in [*_COMMON, "base64", "tar", "sha256sum"] if name not in {"stat", "find"}],
    "no-shell": ["sleep", "tar"],
}


def build(userland: str) -> Path:
    """The tar of a root file system with these programs in /bin."""
    programs: dict[str, str] = {}
    for name in USERLANDS[userland]:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"this machine has no {name}")
        programs[f"bin/{name}"] = os.path.realpath(found)
        listed = subprocess.run(["ldd", found], capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            programs[library.lstrip("/")] = os.path.realpath(library)
    path = Path(tempfile.mkdtemp(prefix="chi-edge-lab-test-")) / f"{userland}.tar"
    with tarfile.open(path, "w") as tar:
        for folder, mode in (
            ("bin", 0o755),
            ("etc", 0o755),
            ("root", 0o755),
            ("data", 0o755),
            ("tmp", 0o1777),
        ):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            tar.addfile(info)
        for place, source in programs.items():
            tar.add(source, arcname=place)
        if "bin/dash" in programs:
            info = tarfile.TarInfo("bin/sh")
            info.type, info.linkname = tarfile.SYMTYPE, "dash"
            tar.addfile(info)
    return path


@functools.cache
def added(userland: str, profile: str) -> str:
    """The name of the image on the run's local site of that profile."""
    path, name = build(userland), f"{userland}:latest"
    where = ("--dir", str(local_site(profile, "auto").directory), "--profile", profile)
    site_command("images", "--add", name, str(path), *where)
    shutil.rmtree(path.parent)
    return name
