"""Who a process is: its number alone is reused, number and start time are not."""

from __future__ import annotations

import os


def boot_id() -> str:
    """An identifier of this boot of the machine; "" where the kernel does not tell."""
    try:
        return read_text("/proc/sys/kernel/random/boot_id").strip()
    except OSError:
        return ""


def read_text(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts).decode("utf-8", "surrogateescape")


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third (state) on; the second may hold anything, `)` too.

    Raises OSError.
    """
    return read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def start_time(pid: int) -> int:
    """When the process started, in clock ticks since boot. Raises OSError when there is none."""
    return int(stat_fields(pid)[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether this very process lives. A zombie does not."""
    try:
        fields = stat_fields(pid)
    except OSError:
        return False
    return int(fields[19]) == started and fields[0] not in "ZXx"
