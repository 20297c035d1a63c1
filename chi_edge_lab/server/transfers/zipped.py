"""A ZIP made while it is sent: nothing of it is kept but its directory."""

from __future__ import annotations

import os
import stat
import time
import zipfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO, cast

from chi_edge_lab.core import paths

_READ = 256 << 10
_PIECE = 256 << 10
_LARGE = 1 << 31  # bytes from which an entry is written as ZIP64
_EARLIEST, _LATEST = 315_619_200, 4_354_819_200  # a ZIP knows the years 1980 to 2107


class _Sink:
    """Where the ZIP writes; bytes are taken out again."""

    def __init__(self) -> None:
        self._parts = bytearray()

    def write(self, data: bytes) -> int:
        self._parts += data
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self, at_least: int) -> bytes:
        if len(self._parts) < at_least:
            return b""
        taken = bytes(self._parts)
        self._parts.clear()
        return taken


def zipped(roots: list[Path], *, compression: str) -> Generator[bytes, None, None]:
    """The bytes of a ZIP with what is in each of the directories `roots`, in pieces. Raises OSError."""
    sink = _Sink()
    method = zipfile.ZIP_STORED if compression == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(cast("IO[bytes]", sink), "w", method, allowZip64=True) as packed:
        for path, name, _ in entries(roots):
            status = path.lstat()
            info = zipfile.ZipInfo(name, _date(status.st_mtime))
            info.external_attr = (status.st_mode & 0xFFFF) << 16
            info.create_system = 3  # the mode is Unix's
            info.compress_type = method
            if stat.S_ISDIR(status.st_mode):
                info.external_attr |= 0x10
                packed.writestr(info, b"", zipfile.ZIP_STORED)
            elif stat.S_ISLNK(status.st_mode):
                packed.writestr(info, os.fsencode(path.readlink()), zipfile.ZIP_STORED)
            else:
                with (
                    path.open("rb") as file,
                    packed.open(info, "w", force_zip64=status.st_size >= _LARGE) as entry,
                ):
                    while data := file.read(_READ):
                        entry.write(data)
                        if piece := sink.take(_PIECE):
                            yield piece
            if piece := sink.take(_PIECE):
                yield piece
    yield sink.take(0)


def entries(roots: list[Path]) -> Iterator[tuple[Path, str, bool]]:
    """Path, name in the ZIP, and whether the name had to be changed (no UTF-8, or there twice), folders first."""
    used: set[str] = set()
    for root in roots:
        pending = sorted(root.iterdir(), reverse=True)
        renamed: dict[Path, str] = {}
        while pending:
            path = pending.pop()
            is_folder = path.is_dir() and not path.is_symlink()
            own = os.fsencode(path.name).decode("utf-8", "replace")
            folder = renamed.get(path.parent, "")
            name = plain = f"{folder}{own}"
            count = 1
            while name in used:
                count += 1
                stem, dot, suffix = plain.rpartition(".")
                name = f"{stem} ({count}).{suffix}" if dot and not is_folder else f"{plain} ({count})"
            used.add(name)
            if is_folder:
                renamed[path] = name + "/"
                pending += sorted(path.iterdir(), reverse=True)
            yield path, name + "/" * is_folder, name != f"{folder}{path.name}"


def notes_of(roots: list[Path], most: int = 20) -> list[str]:
    """A sentence for each name that is another one in the ZIP."""
    notes = []
    for path, name, changed in entries(roots):
        if changed:
            notes.append(f"{paths.shown(os.fsencode(path.name))} is called {name.rstrip('/')!r} in the ZIP.")
            if len(notes) == most:
                return [*notes, "There are more names of that kind."]
    return notes


def _date(seconds: float) -> tuple[int, int, int, int, int, int]:
    found = time.localtime(min(max(seconds, _EARLIEST), _LATEST))
    return (found.tm_year, found.tm_mon, found.tm_mday, found.tm_hour, found.tm_min, found.tm_sec)
