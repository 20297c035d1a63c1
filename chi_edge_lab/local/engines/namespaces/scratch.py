"""Directories that are being made or removed, and what a crash left of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from . import trees
from .sandbox import procs


def path(directory: Path, kind: Literal["new", "trash"]) -> Path:
    """A name in `directory` that nobody else uses and that tells who does."""
    process = os.getpid()
    return directory / f".{kind}-{process}-{procs.start_time(process)}-{os.urandom(8).hex()}"


def clear(directory: Path) -> None:
    """Remove what processes that have ended left; others may be at work in the same directory."""
    for leftover in directory.glob(".*-*-*-*"):
        _, process, started, _ = leftover.name.split("-", 3)
        if not (process.isdigit() and started.isdigit() and procs.is_alive(int(process), int(started))):
            trees.remove(leftover)
