"""The list of routes. What is not in it is not served."""

from __future__ import annotations

import importlib
import pkgutil
import re
from typing import Any

from chi_edge_lab.server import api
from chi_edge_lab.server.handler import handler_for
from chi_edge_lab.server.operations import HANDLERS, OPERATIONS, PATTERNS, Operation

PREFIX = r"/chi-edge-lab/api"
# the modules, besides those of `api`, that enter handlers or topics of their own
_STREAMING = (
    "feeds.containers",
    "feeds.execs",
    "feeds.logs",
    "feeds.socket",
    "terminals.socket",
    "transfers.streams",
)


def load_operations() -> list[Operation]:
    """All operations, by path."""
    for module in pkgutil.iter_modules(api.__path__):
        importlib.import_module(f"{api.__name__}.{module.name}")
    for name in _STREAMING:
        importlib.import_module(f"chi_edge_lab.server.{name}")
    return sorted(OPERATIONS, key=lambda operation: (operation.path, operation.method))


def routes() -> list[tuple[str, Any]]:
    """(pattern, handler) pairs, to be put below the server's base URL."""
    by_path: dict[str, list[Operation]] = {}
    for operation in load_operations():
        if operation.function is not None:
            by_path.setdefault(operation.path, []).append(operation)
    rest = [(pattern_of(path), handler_for(operations)) for path, operations in by_path.items()]
    return [*rest, *((pattern_of(path), handler) for path, handler in HANDLERS)]


def pattern_of(path: str) -> str:
    """The regular expression of a path; the names in it become groups."""
    return PREFIX + re.sub(r"\{(\w+)\}", lambda found: f"(?P<{found[1]}>{PATTERNS[found[1]]})", path)
