"""Bounds that keep one container from filling the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Limits:
    """What the site allows. Sizes are in bytes."""

    execs: int = 64  # commands running in one container at once
    log_bytes: int = 8 * 2**20  # of one log file
    log_files: int = 3
    archive_members: int = 200_000
    archive_bytes: int = 8 * 2**30  # of all members of one archive
    image_members: int = 2_000_000
    image_bytes: int = 32 * 2**30

    def of_archive(self) -> dict[str, Any]:
        """For a helper that packs or unpacks what a person asked for."""
        return {"max_members": self.archive_members, "max_bytes": self.archive_bytes}

    def of_image(self) -> dict[str, Any]:
        """For a helper that packs or unpacks a whole root file system."""
        return {"max_members": self.image_members, "max_bytes": self.image_bytes}
