"""Why a terminal has ended, in words: the container may have been stopped or deleted under it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chi_edge_lab import errors

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

# a site says that a container stops a moment after its terminals have ended
_PAUSES = (0.0, 0.5, 1.0)
_SIGNALLED = 128  # exit codes above: ended by a signal, which is how the container's end looks from inside


def of_container(client: Client, uuid: str, exit_code: int | None) -> str:
    """What has become of the container, as a sentence; "" where it runs on. Blocks. Raises the client's errors."""
    killed = exit_code is not None and exit_code > _SIGNALLED
    for pause in _PAUSES if killed else _PAUSES[:1]:
        time.sleep(pause)
        said = _look(client, uuid)
        if said:
            return said
    return ""


def _look(client: Client, uuid: str) -> str:
    try:
        container = client.get_container(uuid)
    except errors.NotFound:
        return "The container was deleted."
    if container.status != "Running":
        return f"The container is {container.status}."
    if container.task_state:
        doing = container.task_state.removeprefix("container_").replace("_", " ")
        return f"The container is {doing}."
    return ""


def sentence(reason: str) -> str:
    """The reason of a socket as a sentence."""
    return f"{reason[:1].upper()}{reason[1:].rstrip('.')}."
