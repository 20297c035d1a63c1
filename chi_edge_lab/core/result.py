"""What a transfer did."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TransferResult:
    """`path` is where it is now; `files` and `size` (bytes) count what was moved; `sha256` is a single file's
    checksum.

    `verified` tells how it was checked: "sha256" (computed in the container) or "read back".
    """

    path: str
    files: int
    size: int
    seconds: float
    verified: str
    sha256: str | None = None
