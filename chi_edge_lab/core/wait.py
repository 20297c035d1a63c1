"""Waiting for a container: polls that notice a change within half a second of the site reporting it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from chi_edge_lab.core.progress import Cancel, OnProgress, Reporter
from chi_edge_lab.errors import (
    BadInput,
    ContainerFailed,
    ContainerGone,
    EdgeLabError,
    NotFound,
    ServerError,
    TooManyRequests,
    Unreachable,
    WaitTimeout,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun.models import Container

POLL_FIRST = 0.05  # seconds; a local container starts in about this time
POLL_LONGEST = 0.4  # seconds; with the request itself a change is seen within 0.5 s
POLL_GROWTH = 1.25
STOPPING_FOR = 3.0  # seconds for which a stop may still turn out to be a delete
UNSEEN_FOR = 0.5  # seconds for which a site may still show as Running what is being deleted
SICK_FOR = 60.0  # seconds for which a site that does not answer, or answers 5xx, is asked again

STATUSES = (
    "Creating", "Created", "Running", "Stopped", "Paused", "Restarting", "Rebuilding",
    "Deleting", "Deleted", "Error", "Dead", "Unknown",
)  # fmt: skip
_GONE = frozenset({"Deleted"})
_FAILED = frozenset({"Error", "Dead"})


def status_named(status: object) -> str:
    """Zun's spelling of a status given in any case ("RUNNING" -> "Running"). Raises BadInput."""
    for known in STATUSES:
        if isinstance(status, str) and status.lower() == known.lower():
            return known
    raise BadInput(f"{status!r} is not a status of a container.", hint=f"One of {', '.join(STATUSES)}.")


def advice(
    said: str,
    *,
    reservation: str | None = None,
    image: str | None = None,
    command: Sequence[str] | None = None,
) -> str:
    """What to do about a container in Error of which the site says `said` ("" where nothing is known to
    help). The rest is what was asked for, where that is known.

    The signs are Kubernetes' and docker's own words, which Zun hands on.
    """
    text = said.lower()
    named = f"the reservation id {reservation!r}" if reservation else "its reservation id"
    what = f"Its command ({shlex.join(command)})" if command else "Its command"
    if "exec format error" in text or "no match for platform" in text or "no matching manifest" in text:
        return (
            f"The image{f' {image!r}' if image else ''} is built for another processor: "
            "edge devices mostly take arm64 images."
        )
    if "insufficient" in text:
        return "No device that is free has what was asked for: check device_profiles, or try again later."
    if "affinity" in text or "reservaton id" in text or "unschedulable" in text:
        return (
            f"Check {named}: it must be the id of a device reservation (not that of its lease), active now and "
            "your project's."
        )
    if "containersnotready" in text or "unready status" in text or "crashloop" in text:
        return (
            f"{what} ended or could not be started (a wrong name, not in the image, an image for another "
            "processor). Look at logs(), and try the command in a container that stays (sleep infinity)."
        )
    if "executable file not found" in text or ("exec" in text and "no such file" in text):
        return f"{what} is not in the image: check its name and path."
    return ""


def failure(container: Container) -> ContainerFailed:
    """The error for a container in Error or Dead, with what the site says of it and what to do."""
    reason = container.status_reason or ""
    detail = container.status_detail or ""
    said = reason or detail or "the site gives no reason"
    if reason and detail and detail not in reason:
        said = f"{reason} ({detail})"
    return ContainerFailed(
        f"Container {label(container)} is in {container.status}: {said.rstrip('.')}.",
        hint=advice(f"{reason} {detail}"),
        status_reason=reason or None,
    )


def is_going(client: Client, uuid: str) -> bool:
    """Whether the container is deleted, or about to be (a delete begins as a stop, which is waited out
    briefly).
    """
    began = time.monotonic()
    while True:
        try:
            container = client.get_container(uuid)
        except NotFound:
            return True
        except EdgeLabError:
            return False  # the site is ill: whoever asks has an error of its own
        if container.status in {"Deleting", "Deleted"} or container.task_state == "container_deleting":
            return True
        # between the stop and the removal of one delete it is Stopped for an instant, and before the first of
        # them it may still read as Running although its processes have ended
        ending = container.task_state == "container_stopping" or container.status != "Running"
        if time.monotonic() - began > (STOPPING_FOR if ending else UNSEEN_FOR):
            return False
        time.sleep(POLL_FIRST)


def label(container: Container) -> str:
    """How messages call a container: its name, or its uuid where it has none."""
    return container.name or container.uuid


def wait_until(
    client: Client,
    uuid: str,
    done: Callable[[Container], bool],
    *,
    goal: str,
    timeout: float | None = None,
    fail_on: Collection[str] = _FAILED,
    on_container: Callable[[Container], None] | None = None,
    reporter: Reporter | None = None,
) -> Container:
    """Poll until `done(container)`; the general form of `wait`.

    `goal` finishes the sentence "... did not ..." of the errors (for instance "become Running"). `timeout` is
    in seconds, None waits without end. A site that is ill (no answer, 5xx, 429) is asked again for `SICK_FOR`
    seconds. Raises ContainerFailed (status in `fail_on`), ContainerGone, WaitTimeout, Cancelled.
    """
    reporter = reporter or Reporter()
    watch = _Watch(client, uuid, timeout)
    try:
        while True:
            container = watch.look()
            if container is not None:
                if on_container is not None:
                    on_container(container)
                if done(container):
                    return container
                _check(container, fail_on)
            if watch.is_over:
                raise WaitTimeout(
                    f"Container {watch.name} did not {goal} within {timeout:g} s: {watch.state}.",
                    hint="It is left as it is; wait again, or delete it.",
                )
            reporter.sleep(watch.pause(), watch.sentence)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(watch.sentence) from None


def _check(container: Container, fail_on: Collection[str]) -> None:
    if container.status in _GONE:
        raise ContainerGone(
            f"Container {label(container)} was deleted while it was waited for.",
            hint="Its reservation may have ended.",
        )
    if container.status in fail_on:
        raise failure(container)


class _Watch:
    """The polls of one wait: how often, for how long, and what was seen last."""

    def __init__(self, client: Client, uuid: str, timeout: float | None) -> None:
        self._client = client
        self._uuid = uuid
        self.name = uuid  # until the site has told its name
        self._timeout = timeout
        self._began = time.monotonic()
        self._pause = POLL_FIRST
        self._sick_since: float | None = None
        self._last: tuple[object, ...] = ()
        self.state = "nothing is known of it yet"

    @property
    def sentence(self) -> str:
        """The state it is in, for whoever gives up waiting."""
        return f"Container {self.name}: {self.state}. It is left as it is."

    @property
    def is_over(self) -> bool:
        return self._timeout is not None and time.monotonic() - self._began >= self._timeout

    def look(self) -> Container | None:
        """Ask once; None when the site is ill, and its error when it has been so for too long."""
        asked = time.monotonic()
        try:
            container = self._client.get_container(self._uuid)
        except NotFound as error:
            raise ContainerGone(
                f"Container {self.name} was deleted while it was waited for.", request_id=error.request_id
            ) from None
        except (Unreachable, ServerError, TooManyRequests) as error:
            self._sick_since = self._sick_since or asked
            if time.monotonic() - self._sick_since > SICK_FOR or self.is_over:
                raise
            self._pause = max(getattr(error, "retry_after", None) or 0.0, min(self._pause * 2, 5.0))
            return None
        now = (container.status, container.task_state)
        if now != self._last or self._sick_since is not None:  # things move: look closely again
            self._last, self._sick_since, self._pause = now, None, POLL_FIRST
        self.name, self.state = label(container), _state(container)
        return container

    def pause(self) -> float:
        """Seconds until the next look."""
        pause = self._pause
        if self._sick_since is None:
            self._pause = min(pause * POLL_GROWTH, POLL_LONGEST)
        if self._timeout is None:
            return pause
        return min(pause, max(0.0, self._timeout - (time.monotonic() - self._began)))


def wait(
    client: Client,
    uuid: str,
    status: str = "Running",
    *,
    timeout: float | None = None,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> Container:
    """Wait until the container has `status`. Errors as `wait_until`; BadInput for a status Zun does not have.

    A container in Error raises, unless Error is what is waited for.
    """
    wanted = status_named(status)
    reporter = Reporter(on_progress, cancel)

    def seen(container: Container) -> None:
        reporter.report((container.status or "unknown").lower(), _state(container))

    if wanted == "Deleted":
        from chi_edge_lab.zun.models import Container

        wait_gone(client, uuid, timeout=timeout, reporter=reporter)
        return Container(uuid=uuid, status="Deleted")
    return wait_until(
        client, uuid, lambda container: container.status == wanted, goal=f"become {wanted}", timeout=timeout,
        fail_on=_FAILED - {wanted}, on_container=seen, reporter=reporter,
    )  # fmt: skip


def wait_gone(
    client: Client, uuid: str, *, timeout: float | None = None, reporter: Reporter | None = None
) -> None:
    """Wait until the container cannot be found any more (or is only a row with status Deleted).

    Raises ContainerFailed when the site gives the delete up (Zun puts the old status back and its reason in
    `status_reason`), WaitTimeout, Cancelled.
    """
    deleting = False

    def done(container: Container) -> bool:
        nonlocal deleting
        if container.status in _GONE:
            return True
        busy = container.status == "Deleting" or (container.task_state or "") in {
            "container_deleting",
            "container_stopping",
        }
        if deleting and not busy and container.status_reason and container.status == "Running":
            raise failure(container)
        deleting = deleting or busy
        return False

    try:
        wait_until(client, uuid, done, goal="go away", timeout=timeout, fail_on=(), reporter=reporter)
    except ContainerGone:
        return


def _state(container: Container) -> str:
    doing = f", {container.task_state.replace('_', ' ')}" if container.task_state else ""
    reason = f" ({container.status_reason})" if container.status_reason else ""
    return f"it is {container.status or 'in an unknown state'}{doing}{reason}"
