"""Asking for a change of a container without waiting for its end, for those who see it come (a feed, a panel).

Asking twice is asking once: what has been reached, or is under way, is not asked for again. So a double click, or
two people with the same idea, get the same answer as one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from chi_edge_lab.core import names, validate, wait
from chi_edge_lab.errors import BadInput, Conflict, ContainerGone, InvalidState, NotFound

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun.models import Container

Change = Literal["start", "stop", "restart", "pause", "unpause", "kill", "rebuild"]
CHANGES: tuple[Change, ...] = get_args(Change)
LONGEST_GRACE = 3600  # seconds between SIGTERM and SIGKILL; Zun's own limit is what its message bus waits
_DELETE_PATIENCE = 3.0  # seconds in which a container that is changing may come to where it can be deleted
_SIGNAL = r"(?:SIG)?[A-Z][A-Z0-9+-]{0,15}|[1-9]|[1-5][0-9]|6[0-4]"


@dataclass(frozen=True)
class _Kind:
    """`reached`: statuses in which there is nothing left to do. `under_way`: statuses and task states of the same
    change.
    """

    verb: str
    reached: frozenset[str] = frozenset()
    under_way: frozenset[str] = frozenset()
    needs: str = ""


_KINDS: dict[Change, _Kind] = {
    "start": _Kind("start", frozenset({"Running"}), frozenset({"container_starting"})),
    "stop": _Kind("stop", frozenset({"Stopped", "Dead"}), frozenset({"container_stopping"})),
    "restart": _Kind("restart", under_way=frozenset({"Restarting", "container_rebooting"})),
    "pause": _Kind("pause", frozenset({"Paused"}), frozenset({"container_pausing"}), needs="pause"),
    "unpause": _Kind("resume", frozenset({"Running"}), frozenset({"container_unpausing"}), needs="unpause"),
    "kill": _Kind("kill", under_way=frozenset({"container_killing"}), needs="kill"),
    "rebuild": _Kind("rebuild", under_way=frozenset({"Rebuilding", "container_rebuilding"}), needs="rebuild"),
}


def ask(
    client: Client,
    uuid: str,
    change: Change,
    *,
    grace: int = 10,
    signal: str = "SIGKILL",
    image: str | None = None,
) -> Container:
    """Ask for a change and return the container as it is right after that.

    `grace` (seconds from SIGTERM to SIGKILL) is for stop and restart, `signal` for kill, `image` for rebuild.

    Raises:
        errors.NotSupported, errors.BadInput: before anything is sent.
        errors.InvalidState: the container is in a status that does not allow it; the message says in which.
    """
    kind = _KINDS[change]
    if kind.needs:
        client.dialect.require(kind.needs)
    send = _request(client, uuid, change, grace, signal, image)
    before = client.get_container(uuid)
    if _is_done(before, kind):
        return before
    _refuse_gone(before)
    try:
        send()
    except InvalidState as error:
        now = client.get_container(uuid)
        if _is_done(now, kind):  # somebody else asked in the same moment
            return now
        raise InvalidState(
            f"Container {wait.label(now)} is {_state(now)}, so the site does not {kind.verb} it.",
            hint=error.hint, request_id=error.request_id, http_status=error.http_status,
        ) from error  # fmt: skip
    return client.get_container(uuid)


def delete(client: Client, uuid: str) -> bool:
    """Ask for a delete in whatever state the container is; False when it was gone already.

    A container that runs is stopped by it, a paused one resumed first. What is being changed is waited for a few
    seconds.

    Raises:
        errors.InvalidState: the site does not let go of it in this state (it is being created, for instance).
    """
    until = time.monotonic() + _DELETE_PATIENCE
    while True:
        done, refusal = _try_to_delete(client, uuid)
        if refusal is None:
            return done
        if time.monotonic() > until:
            break
        time.sleep(wait.POLL_LONGEST)
    try:
        now = client.get_container(uuid)
    except NotFound:
        return False
    raise InvalidState(
        f"Container {wait.label(now)} is {_state(now)}, and the site does not delete it in this state.",
        hint="Try again when that has ended.", request_id=refusal.request_id, http_status=refusal.http_status,
    ) from refusal  # fmt: skip


def _try_to_delete(client: Client, uuid: str) -> tuple[bool, Conflict | None]:
    try:
        return request_delete(client, uuid), None
    except Conflict as error:
        if not is_about_state(error):
            raise
        return False, error


def request_delete(
    client: Client, uuid: str, on_container: Callable[[Container], None] | None = None
) -> bool:
    """One attempt at a delete, as the container's state asks for it; False when it was gone already.

    Raises:
        errors.Conflict: the site refuses it (`is_about_state` tells whether because of the container's state).
    """
    try:
        container = client.get_container(uuid)
        if container.status == "Deleted":
            return False
        if on_container is not None:
            on_container(container)
        if container.status == "Paused":
            client.unpause(uuid)
        if container.status != "Deleting":
            client.delete_container(uuid, stop=container.status not in {"Created", "Error", "Dead"})
    except NotFound:
        return False
    return True


def is_about_state(error: Conflict) -> bool:
    """Whether a refusal is about what the container is doing, which passes."""
    return isinstance(error, InvalidState) or "state" in str(error).lower()


def _request(
    client: Client, uuid: str, change: Change, grace: int, signal: str, image: str | None
) -> Callable[[], None]:
    if change in {"stop", "restart"} and not 0 <= grace <= LONGEST_GRACE:
        raise BadInput(f"The time to stop in is 0 to {LONGEST_GRACE} seconds, not {grace}.")
    if change == "kill":
        name = signal_named(signal)
        return lambda: client.kill(uuid, signal=name)
    if change == "rebuild":
        other = validate.image(image) if image is not None else None
        return lambda: client.rebuild(uuid, other)
    plain: dict[str, Callable[[], None]] = {
        "start": lambda: client.start(uuid),
        "stop": lambda: client.stop(uuid, timeout=grace),
        "restart": lambda: client.restart(uuid, timeout=grace),
        "pause": lambda: client.pause(uuid),
        "unpause": lambda: client.unpause(uuid),
    }
    return plain[change]


def signal_named(signal: str) -> str:
    """Zun's spelling of a signal ("term", "SIGTERM" or "15"). Raises BadInput."""
    text = signal.strip().upper()
    if not re.fullmatch(_SIGNAL, text):
        raise BadInput(f"{names.short(signal)} is not a signal.", hint="For instance SIGTERM, SIGHUP or 9.")
    return text if text[0].isdigit() or text.startswith("SIG") else f"SIG{text}"


def _is_done(container: Container, kind: _Kind) -> bool:
    here = {container.status or "", container.task_state or ""}
    return bool(here & kind.under_way) or (container.status in kind.reached and not container.task_state)


def _refuse_gone(container: Container) -> None:
    if container.status in {"Deleted", "Deleting"}:
        raise ContainerGone(f"Container {wait.label(container)} is {(container.status or '').lower()}.")


def _state(container: Container) -> str:
    return f"{container.status or 'in an unknown state'}" + (
        f" ({container.task_state.replace('_', ' ')})" if container.task_state else ""
    )
