"""In which status of a container Zun does what (VALID_STATES of its `zun/common/utils.py`), by our words for it.

It is for greying out what would be refused: the site still decides.
"""

from __future__ import annotations

from types import MappingProxyType

_AT_REST = frozenset({"Created", "Running", "Stopped", "Paused"})
_BEGUN = frozenset({"Created", "Running", "Stopped", "Error"})
_RUNNING = frozenset({"Running"})

ALLOWED = MappingProxyType(
    {
        "start": frozenset({"Created", "Stopped", "Error"}),
        "stop": _RUNNING,
        "restart": _BEGUN,
        "rebuild": _BEGUN,
        "pause": _RUNNING,
        "unpause": frozenset({"Paused"}),
        "kill": _RUNNING,
        # a running container is stopped first, a paused one resumed (core.lifecycle)
        "delete": frozenset({"Created", "Running", "Stopped", "Paused", "Error", "Dead"}),
        "rename": _AT_REST,
        "update": _AT_REST,
        "commit": frozenset({"Running", "Stopped", "Paused"}),
        "exec": _RUNNING,
        "terminal": _RUNNING,
        "top": _RUNNING,
        "stats": _RUNNING,
        "logs": _AT_REST | {"Error", "Unknown"},
        # archives work at rest, too, but folders are listed by an exec
        "files": _RUNNING,
    }
)
