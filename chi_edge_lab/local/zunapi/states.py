"""Statuses and what may be done in which (VALID_STATES of `zun/common/utils.py`)."""

from __future__ import annotations

from typing import Final

from chi_edge_lab.local.zunapi.errors import InvalidStateException
from chi_edge_lab.local.zunapi.model import Container

CREATING: Final = "Creating"
CREATED: Final = "Created"
RUNNING: Final = "Running"
STOPPED: Final = "Stopped"
PAUSED: Final = "Paused"
RESTARTING: Final = "Restarting"
REBUILDING: Final = "Rebuilding"
DELETING: Final = "Deleting"
DELETED: Final = "Deleted"
ERROR: Final = "Error"
DEAD: Final = "Dead"
UNKNOWN: Final = "Unknown"

_AT_REST = frozenset({CREATED, RUNNING, STOPPED, PAUSED})
_BEGUN = frozenset({CREATED, RUNNING, STOPPED, ERROR})
_ENDED = frozenset({CREATED, ERROR, STOPPED, DELETED, DEAD})
_ONLY_RUNNING = frozenset({RUNNING})

VALID_STATES: Final[dict[str, frozenset[str]]] = {
    "commit": frozenset({RUNNING, STOPPED, PAUSED}),
    "delete": _ENDED,
    "delete_force": _ENDED | {CREATING, RUNNING, UNKNOWN, RESTARTING, REBUILDING, DELETING},
    "delete_after_stop": _ENDED | {RUNNING},
    "start": frozenset({CREATED, STOPPED, ERROR}),
    "stop": _ONLY_RUNNING,
    "reboot": _BEGUN,
    "rebuild": _BEGUN,
    "pause": _ONLY_RUNNING,
    "unpause": frozenset({PAUSED}),
    "kill": _ONLY_RUNNING,
    "execute": _ONLY_RUNNING,
    "execute_resize": _ONLY_RUNNING,
    "update": _AT_REST,
    "attach": _ONLY_RUNNING,
    "resize": _ONLY_RUNNING,
    "top": _ONLY_RUNNING,
    "get_archive": _AT_REST,
    "put_archive": _AT_REST,
    "logs": _AT_REST | {ERROR, UNKNOWN},
    "stats": _ONLY_RUNNING,
    "add_security_group": _AT_REST,
    "remove_security_group": _AT_REST,
    "resize_container": _AT_REST,
}


def check(container: Container, action: str) -> None:
    """Raise InvalidStateException when the status does not allow the action."""
    if container.status not in VALID_STATES[action]:
        raise InvalidStateException(action, container.uuid, container.status)
