"""In which statuses Zun takes which action (VALID_STATES of `zun/common/utils.py`), so that a button can be greyed.

The site still decides: a status may have changed since it was seen.
"""

from __future__ import annotations

_BEGUN = ("Created", "Running", "Stopped", "Error")
_AT_REST = ("Created", "Running", "Stopped", "Paused")
_RUNNING = ("Running",)

# action -> statuses; the actions are named as the capabilities of `dialect` are
ALLOWED: dict[str, tuple[str, ...]] = {
    "start": ("Created", "Stopped", "Error"),
    "stop": _RUNNING,
    "restart": _BEGUN,
    "rebuild": _BEGUN,
    "pause": _RUNNING,
    "unpause": ("Paused",),
    "kill": _RUNNING,
    "commit": ("Running", "Stopped", "Paused"),
    # what is paused is resumed first, and a running one stopped
    "delete": ("Created", "Running", "Stopped", "Paused", "Error", "Dead", "Deleted"),
    "rename": _AT_REST,
    "update": _AT_REST,
    "exec": _RUNNING,
    "attach": _RUNNING,
    "exec_terminal": _RUNNING,
    "top": _RUNNING,
    "stats": _RUNNING,
    "archive": _AT_REST,
    "logs": (*_AT_REST, "Error", "Unknown"),
}
