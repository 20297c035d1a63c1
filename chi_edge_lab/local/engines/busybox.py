"""A root file system made from the static busybox of this machine: an image where none can be downloaded."""

from __future__ import annotations

import io
import pathlib
import shutil
import struct
import subprocess
import tarfile
from typing import BinaryIO

_DIRECTORIES = (
    *("bin", "dev", "etc", "home", "proc", "root", "run", "sys", "tmp"),
    *("usr", "usr/bin", "usr/local", "usr/local/bin", "var", "var/log", "var/tmp", "var/www"),
)
_MODES = {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/bin/false\n"
    "nobody:x:65534:65534:nobody:/home:/bin/false\n",
    "etc/group": "root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_PT_INTERP = 3


def find_busybox() -> pathlib.Path | None:
    """The busybox on PATH, if it is static (one that needs libraries would not run alone)."""
    found = shutil.which("busybox")
    if not found or not is_static(pathlib.Path(found)):
        return None
    return pathlib.Path(found)


def is_static(program: pathlib.Path) -> bool:
    """Whether an ELF file needs no dynamic loader."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF":
            return False
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        offset = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)[0]
        size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
        file.seek(offset)
        table = file.read(size * count)
    return all(
        struct.unpack_from(f"{order}I", table, entry * size)[0] != _PT_INTERP for entry in range(count)
    )


def write_rootfs(busybox: pathlib.Path, out: BinaryIO) -> str:
    """Write a tar of a root file system of `busybox` and its applets; returns busybox's version."""
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    banner = subprocess.run([busybox], capture_output=True, text=True, check=False).stdout
    with tarfile.open(fileobj=out, mode="w|") as tar:
        for name in _DIRECTORIES:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, _MODES.get(name, 0o755)
            tar.addfile(entry)
        for name, text in _FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
        with busybox.open("rb") as file:
            entry = tarfile.TarInfo("bin/busybox")
            entry.size, entry.mode = busybox.stat().st_size, 0o755
            tar.addfile(entry, file)
        for applet in sorted(set(applets) - {"busybox"}):
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.LNKTYPE, "bin/busybox"
            entry.mode = 0o755  # extracting a hard link sets the mode of what it links to
            tar.addfile(entry)
    return banner.partition("\n")[0].partition("(")[0].strip() or "BusyBox"
