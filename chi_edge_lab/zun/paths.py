"""How a container and a command are put into the address of a request."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

from chi_edge_lab import errors

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,254}")
_LONGEST_QUERY = 6000  # characters of a command in the address; gateways take about 8 kB


def container_path(ref: str, action: str = "") -> str:
    """The path of a container.

    Raises:
        errors.BadInput: `ref` cannot be a uuid or a name, and could lead elsewhere.
    """
    if not isinstance(ref, str) or not _REF.fullmatch(ref):
        raise errors.BadInput(f"{ref!r} is not a container's uuid or name.")
    return f"/containers/{ref}/{action}".rstrip("/")


def placed(query: dict[str, Any]) -> dict[str, Any]:
    """Parameters in the address, as every client sends them; in the body where they are too long for it."""
    return {"query": query} if len(quote(query["command"])) < _LONGEST_QUERY else {"body": query}
