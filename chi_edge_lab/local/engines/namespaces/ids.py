"""Which user numbers of the machine stand for those inside a container."""

from __future__ import annotations

import os
from pathlib import Path

from ..base import EngineUnavailable

_WANTED = (1_000_000, 65_536)  # far from real users; what Docker's rootless mode and /etc/subuid use, too
_SMALL = (100_000, 65_536)
_NEEDED = {0: "CHOWN", 6: "SETGID", 7: "SETUID"}


def container_ids() -> tuple[int, int]:
    """(first number outside, how many) for the numbers 0, 1, ... inside.

    An ordinary user has one number, its own. Root gives a range of unprivileged ones: its own is never
    mapped, because number 0
    may write many files of /proc and /sys without any capability. Raises EngineUnavailable.
    """
    user = os.geteuid()
    if user != 0:
        return user, 1
    capabilities = _effective_capabilities()
    missing = [name for number, name in _NEEDED.items() if not capabilities >> number & 1]
    if missing:
        raise EngineUnavailable(
            f"This root lacks the capabilities {', '.join(missing)}: "
            "run the site as an ordinary user, or use Docker."
        )
    ranges = _mapped()
    for first, count in (_WANTED, _SMALL):
        if any(inside <= first and first + count <= inside + size for inside, _, size in ranges):
            return first, count
    if ranges and ranges[0][0] == 0 and ranges[0][1] != 0:
        return 0, 1  # a root that is itself an ordinary user's, in a user namespace of his
    raise EngineUnavailable(
        "This root has no unprivileged user numbers to give to containers: "
        "run the site as an ordinary user, or use Docker."
    )


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _mapped() -> list[tuple[int, int, int]]:
    """The user numbers that there are here: (first, the same in the namespace around, how many)."""
    lines = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()
    found = [tuple(int(word) for word in line.split()) for line in lines]
    return [(inside, outside, size) for inside, outside, size in found]
