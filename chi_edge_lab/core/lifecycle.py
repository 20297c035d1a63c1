"""Starting, stopping and deleting containers, each waited for until the site has done it.

After a start or stop Zun answers 202 and can show the old state for a while, so the state that is wanted is
waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from chi_edge_lab.core import asking, names, wait
from chi_edge_lab.core.progress import Cancel, OnProgress, Reporter
from chi_edge_lab.errors import BadInput, Conflict, ContainerGone, WaitTimeout

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun.models import Container

STOP_TIMEOUT = 10  # seconds a container has between SIGTERM and SIGKILL (Zun's default)
DELETE_TIMEOUT = 120.0  # seconds; a container that is being created cannot be deleted before that ends
_RUNNING, _STOPPED = frozenset({"Running"}), frozenset({"Stopped", "Dead"})


def start(
    client: Client, uuid: str, *, timeout: float | None = 60.0, cancel: Cancel | None = None
) -> Container:
    """Start a stopped container and wait until it runs; nothing to do when it does. On CHI@Edge it gets a
    fresh file system.
    """
    return _change(client, uuid, "start", client.start, _RUNNING, timeout, cancel)


def stop(
    client: Client,
    uuid: str,
    *,
    grace: int = STOP_TIMEOUT,
    timeout: float | None = 60.0,
    cancel: Cancel | None = None,
) -> Container:
    """Stop a container and wait until it has; nothing to do when it has. `grace`: seconds from SIGTERM to
    SIGKILL.
    """
    whole = _whole_seconds(grace)
    return _change(
        client, uuid, "stop", lambda one: client.stop(one, timeout=whole), _STOPPED, timeout, cancel
    )


def restart(
    client: Client,
    uuid: str,
    *,
    grace: int = STOP_TIMEOUT,
    timeout: float | None = 90.0,
    cancel: Cancel | None = None,
) -> Container:
    """Stop and start a container and wait until it runs again. On CHI@Edge it gets a fresh file system."""
    whole = _whole_seconds(grace)
    before = client.get_container(uuid)
    left = before.status != "Running"

    def done(container: Container) -> bool:
        # Running right after the request is the old state until something has moved.
        nonlocal left
        left = (
            left or container.status != "Running" or bool(container.task_state) or _moved(before, container)
        )
        return left and container.status == "Running" and not container.task_state

    client.restart(uuid, timeout=whole)
    return wait.wait_until(
        client, uuid, done, goal="restart", timeout=timeout, reporter=Reporter(None, cancel)
    )


def pause(client: Client, uuid: str, *, timeout: float | None = 30.0) -> Container:
    """Freeze a running container's processes. Raises NotSupported where the driver cannot."""
    client.dialect.require("pause")
    return _change(client, uuid, "pause", client.pause, frozenset({"Paused"}), timeout, None)


def unpause(client: Client, uuid: str, *, timeout: float | None = 30.0) -> Container:
    """Let a paused container go on. Raises NotSupported where the driver cannot."""
    client.dialect.require("unpause")
    return _change(client, uuid, "resume", client.unpause, _RUNNING, timeout, None)


def kill(client: Client, uuid: str, signal: str = "SIGKILL") -> None:
    """Send a signal to the container's main process, and with SIGKILL wait until it has stopped."""
    client.dialect.require("kill")
    client.kill(uuid, signal=signal)
    if signal.upper().removeprefix("SIG") in {"KILL", "9"}:
        wait.wait_until(client, uuid, lambda one: one.status in _STOPPED, goal="stop", timeout=30.0)


def rename(client: Client, uuid: str, name: str) -> Container:
    """Give the container another name. Raises BadInput for a name that the site's dialect does not take."""
    return client.rename(uuid, names.check_name(client.dialect, name))


def delete(
    client: Client,
    uuid: str,
    *,
    wait_until_gone: bool = True,
    timeout: float | None = DELETE_TIMEOUT,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> bool:
    """Delete a container in whatever state it is and wait until it is gone. False when it was gone already.

    Zun refuses to delete what is being created, restarted or rebuilt: that is waited for. A paused container
    is resumed first. Its floating IPs are kept (`floating_ips.release`). Raises WaitTimeout when it cannot be
    deleted in time, Cancelled.
    """
    reporter = Reporter(on_progress, cancel)
    began, pause_for = time.monotonic(), wait.POLL_FIRST
    while True:
        try:
            if not asking.request_delete(
                client, uuid, lambda one: reporter.report("deleting", f"deleting (it is {one.status})")
            ):
                return False
            break
        except Conflict as error:
            if not asking.is_about_state(error):
                raise
            if timeout is not None and time.monotonic() - began > timeout:
                raise WaitTimeout(
                    f"Container {uuid} could not be deleted within {timeout:g} s: {error.message}",
                    hint="Zun does not delete what is being created; try again when that has ended, "
                    "or ask the site's operators.",
                    request_id=error.request_id,
                ) from error
            reporter.sleep(
                pause_for, f"Container {uuid} is not deleted: the site does not let go of it in this state."
            )
            pause_for = min(pause_for * wait.POLL_GROWTH, wait.POLL_LONGEST)
    if wait_until_gone:
        left = None if timeout is None else max(1.0, timeout - (time.monotonic() - began))
        wait.wait_gone(client, uuid, timeout=left, reporter=reporter)
    return True


def _change(
    client: Client,
    uuid: str,
    verb: str,
    call: Callable[[str], object],
    wanted: frozenset[str],
    timeout: float | None,
    cancel: Cancel | None,
) -> Container:
    """Ask for a change and wait for its end; a container that is there already is left alone."""
    container = client.get_container(uuid)
    if container.status in wanted and not container.task_state:
        return container
    if container.status == "Deleted":
        raise ContainerGone(f"Container {wait.label(container)} is deleted.")
    call(uuid)
    failing = frozenset({"Error", "Dead"}) - wanted
    if container.status in failing:  # starting what is in Error: Error is where it comes from
        failing = frozenset()
    return wait.wait_until(
        client, uuid, lambda one: one.status in wanted, goal=verb, timeout=timeout, fail_on=failing,
        reporter=Reporter(None, cancel),
    )  # fmt: skip


def _moved(before: Container, now: Container) -> bool:
    """Whether a container shows that it was restarted: docker's "Up 2 seconds" begins anew, k8s gives
    another address.
    """
    return before.status_detail != now.status_detail or before.addresses != now.addresses


def _whole_seconds(grace: object) -> int:
    if isinstance(grace, bool) or not isinstance(grace, (int, float)) or grace < 0:
        raise BadInput(f"The time to stop in is a number of seconds, not {grace!r}.")
    return int(grace)
