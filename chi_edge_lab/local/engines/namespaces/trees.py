"""Removing trees that anybody may have made: any depth, any modes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: Path) -> None:
    """Remove a directory with all below it; nothing happens when there is none. Raises OSError.

    Every subdirectory is moved up to the top before it is emptied, so neither recursion nor the length of a
    path is a limit.
    """
    try:
        top = os.open(path, _OPEN)
    except FileNotFoundError:
        return
    try:
        number = 0
        waiting = _empty(top, top, number)
        while waiting:
            name = waiting.pop()
            _allow(name, top)
            below = os.open(name, _OPEN, dir_fd=top)
            try:
                number += len(waiting) + 1
                waiting += _empty(below, top, number)
            finally:
                os.close(below)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    path.rmdir()


def _empty(directory: int, top: int, number: int) -> list[str]:
    """Remove what is no directory and move the directories to `top`; their names there."""
    moved = []
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=directory)
            continue
        if directory == top:
            moved.append(name)
            continue
        _allow(name, directory)
        target = f".{os.getpid()}-{number}-{len(moved)}-{os.urandom(6).hex()}"
        os.rename(name, target, src_dir_fd=directory, dst_dir_fd=top)
        moved.append(target)
    return moved


def _allow(name: str, directory: int) -> None:
    """Give ourselves the right to empty and to move a directory."""
    mode = os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode
    if stat.S_IMODE(mode) & 0o700 != 0o700:
        os.chmod(name, 0o700, dir_fd=directory)
