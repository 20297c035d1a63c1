"""One shape for what the two drivers report of a running container.

docker: {"CPU %", "MEM USAGE(MiB)", "MEM LIMIT(MiB)", "MEM %", "BLOCK I/O(B)": "r/w", "NET I/O(B)": "rx/tx"}.
k8s: {"cpu": "1234567n", "memory": "20480Ki"} from metrics-server, null before the first sample (60 s).
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

_MIB = 1024 * 1024
_CPU_UNITS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_MEMORY_UNITS = {
    "": 1.0, "m": 1e-3,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
    "Ki": 1024.0, "Mi": 1024.0**2, "Gi": 1024.0**3, "Ti": 1024.0**4,
}  # fmt: skip


class Stats(BaseModel):
    """A sample. None means that the site does not tell.

    `cpu_percent` (docker) is the share of the host's CPU over the container's lifetime, not a rate;
    `cpu_cores` (k8s) is the current use in cores. Bytes are totals since the start.
    """

    cpu_percent: float | None = None
    cpu_cores: float | None = None
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    rx_bytes: int | None = None
    tx_bytes: int | None = None
    read_bytes: int | None = None
    write_bytes: int | None = None


def parse_stats(raw: Any) -> Stats | None:
    """Read either driver's answer; None where there is no sample (yet)."""
    if not isinstance(raw, dict) or not raw:
        return None
    if "cpu" in raw or "memory" in raw:
        memory = _quantity(raw.get("memory"), _MEMORY_UNITS)
        return Stats(
            cpu_cores=_quantity(raw.get("cpu"), _CPU_UNITS),
            memory_bytes=None if memory is None else int(memory),
        )
    received, sent = _pair(raw.get("NET I/O(B)"))
    read, written = _pair(raw.get("BLOCK I/O(B)"))
    return Stats(
        cpu_percent=_number(raw.get("CPU %")),
        memory_bytes=_bytes_of_mib(raw.get("MEM USAGE(MiB)")),
        memory_limit_bytes=_bytes_of_mib(raw.get("MEM LIMIT(MiB)")),
        rx_bytes=received,
        tx_bytes=sent,
        read_bytes=read,
        write_bytes=written,
    )


def _quantity(value: Any, units: dict[str, float]) -> float | None:
    """A Kubernetes quantity: a number with a suffix."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]*)", str(value).strip())
    if match is None or match.group(2) not in units:
        return None
    return float(match.group(1)) * units[match.group(2)]


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _bytes_of_mib(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else int(number * _MIB)


def _pair(value: Any) -> tuple[int | None, int | None]:
    parts = [_number(part) for part in str(value).split("/")]
    if len(parts) != 2 or parts[0] is None or parts[1] is None:
        return None, None
    return int(parts[0]), int(parts[1])
