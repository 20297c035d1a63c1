"""What a person does with containers: create, wait, exec, logs, files, transfers, floating IPs, terminals.

Everything here is synchronous and thread-safe, takes a `zun.Client` first and knows nothing of Jupyter. Long
calls take `on_progress` (called with a `Progress`) and `cancel` (asked often; True ends the call with
`errors.Cancelled`, whose message says what state things are in).
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

# what `chi_edge_lab.container` uses is loaded when first used: pydantic, keystoneauth and zunclient take half a second
_MODULES = frozenset(
    [
        "actions",
        "create",
        "execute",
        "floating_ips",
        "lifecycle",
        "logs",
        "names",
        "snapshot",
        "terminal",
        "transfer",
        "validate",
        "wait",
    ]
)

if TYPE_CHECKING:
    from chi_edge_lab.core import actions as actions
    from chi_edge_lab.core import create as create
    from chi_edge_lab.core import execute as execute
    from chi_edge_lab.core import floating_ips as floating_ips
    from chi_edge_lab.core import lifecycle as lifecycle
    from chi_edge_lab.core import logs as logs
    from chi_edge_lab.core import names as names
    from chi_edge_lab.core import snapshot as snapshot
    from chi_edge_lab.core import terminal as terminal
    from chi_edge_lab.core import transfer as transfer
    from chi_edge_lab.core import validate as validate
    from chi_edge_lab.core import wait as wait


def __getattr__(name: str) -> ModuleType:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
