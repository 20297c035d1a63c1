"""The list of routes. What is not in it is not served."""

from __future__ import annotations

import importlib
import re
from typing import Any

from chi_edge_lab.server.feeds.socket import EventSocket
from chi_edge_lab.server.handler import handler_for
from chi_edge_lab.server.operations import OPERATIONS, PATTERNS, Operation

PREFIX = r"/chi-edge-lab/api"
# the modules whose operations there are
_MODULES = ("containers", "openapi", "server", "sites")


def load_operations() -> list[Operation]:
    """All operations, by path."""
    for module in _MODULES:
        importlib.import_module(f"chi_edge_lab.server.api.{module}")
    return sorted(OPERATIONS, key=lambda operation: (operation.path, operation.method))


def routes() -> list[tuple[str, Any]]:
    """(pattern, handler) pairs, to be put below the server's base URL."""
    by_path: dict[str, list[Operation]] = {}
    for operation in load_operations():
        if operation.function is not None:
            by_path.setdefault(operation.path, []).append(operation)
    rest = [(pattern_of(path), handler_for(operations)) for path, operations in by_path.items()]
    return [*rest, (PREFIX + "/events", EventSocket)]


def pattern_of(path: str) -> str:
    """The regular expression of a path; the names in it become groups."""
    return PREFIX + re.sub(r"\{(\w+)\}", lambda found: f"(?P<{found[1]}>{PATTERNS[found[1]]})", path)
