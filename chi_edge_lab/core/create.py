"""Creating a container, in stages that are true.

Zun tells `status` and `task_state`, never a percentage, and on CHI@Edge not even whether an image is being
pulled; the stages and their times are what can be known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chi_edge_lab.core import names, validate, wait
from chi_edge_lab.core.progress import Cancel, OnProgress, Reporter
from chi_edge_lab.errors import BadInput, BadRequest, ContainerFailed, EdgeLabError, InvalidState

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun.create import CreateRequest
    from chi_edge_lab.zun.models import Container

# stage -> phrase; in the order in which they come
STAGES = {
    "requested": "requested",
    "scheduled": "scheduled on a device",
    "pulling": "pulling the image",
    "starting": "starting",
    "running": "running",
}
_NO_IMAGE = (
    "image not found",
    "no such image",
    "not found in the catalogue",
    "manifest unknown",
    "manifest for",
    "pull access denied",
    "repository does not exist",
    "could not find image",
    "imagenotfound",
    "no image",
    "download image",
)
_CATALOGUE_LONGEST = 20  # names listed in a message


def create(
    client: Client,
    *,
    name: str,
    image: str,
    command: object = None,
    environment: object = None,
    exposed_ports: object = None,
    reservation_id: str | None = None,
    start: bool = True,
    wait_until_running: bool = True,
    timeout: float | None = None,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
    on_created: Callable[[Container], None] | None = None,
    **fields: Any,
) -> Container:
    """Create a container and, unless told otherwise, wait until it runs.

    `fields` are more of Zun's create fields (`runtime`, `workdir`, `labels`, `device_profiles`, `hints`,
    ...). `timeout` is in seconds (None: no end). `on_created` gets the container as soon as the site has
    taken the request, so that the caller can delete it whatever comes after. On the local site its standing
    reservation is taken where none is given, and progress says so.

    Raises BadInput and NotSupported before any request; ContainerFailed (with the site's reason; the
    container stays, in Error, until it is deleted), ContainerGone, WaitTimeout, Cancelled, and the client's
    errors.
    """
    reporter = Reporter(on_progress, cancel)
    request, note = prepare(
        client, name=name, image=image, command=command, environment=environment, exposed_ports=exposed_ports,
        reservation_id=reservation_id, **fields,
    )  # fmt: skip
    reporter.check("Nothing was created.")
    reporter.report("requested", note or STAGES["requested"])
    container = _send(client, request)
    if on_created is not None:
        on_created(container)
    # Upstream's driver only creates; the k8s driver starts what it creates and knows no other way.
    must_start = start and client.dialect.name == "docker"
    if not wait_until_running and not must_start:
        return container
    return _follow(client, container.uuid, request, reporter, start=start, must_start=must_start,
                   until_running=wait_until_running, timeout=timeout)  # fmt: skip


def ask(client: Client, *, start: bool = True, **arguments: Any) -> Container:
    """Ask for a container as `create` does, without waiting for anything; it starts by itself unless told
    otherwise (on CHI@Edge in any case).

    Raises BadInput and NotSupported before any request; ContainerFailed (no such image) and the client's errors.
    """
    request, _ = prepare(client, **arguments)
    return _send(client, request, run=start and client.dialect.name == "docker")


def _send(client: Client, request: CreateRequest, *, run: bool = False) -> Container:
    try:
        return client.create_container(request, run=run)
    except BadRequest as error:
        if _names_image(str(error)):
            raise _image_missing(client, request.image, error.message, error.request_id) from error
        raise


def prepare(
    client: Client,
    *,
    name: str,
    image: str,
    command: object = None,
    environment: object = None,
    exposed_ports: object = None,
    reservation_id: str | None = None,
    **fields: Any,
) -> tuple[CreateRequest, str]:
    """The checked request, and a phrase about the reservation taken for it ("" where there is nothing to
    say).
    """
    dialect = client.dialect
    checked_name = names.check_name(dialect, name)
    checked_image = validate.image(image)
    ports = validate.exposed_ports(exposed_ports)
    words = validate.create_command(command)
    variables = validate.environment(environment)
    if fields.get("device_profiles"):
        dialect.require("device_profiles")
    if ports and fields.get("security_groups"):
        raise BadInput("A container takes exposed_ports or security_groups, not both.")
    hints = dict(fields.pop("hints", None) or {})
    note = ""
    if reservation_id is None and dialect.needs_reservation and "reservation" not in hints:
        reservation_id, note = (
            client.login.reservation_id,
            "requested, with the local site's standing reservation",
        )
        if reservation_id is None:
            raise BadInput(
                "This site needs a reservation for every container and none was given.",
                hint="Pass reservation_id: the id of the lease's device reservation, not of the lease.",
            )
    if reservation_id is not None:
        if not isinstance(reservation_id, str) or not reservation_id.strip():
            raise BadInput(f"{reservation_id!r} is not a reservation's id.")
        hints["reservation"] = reservation_id.strip()
    from chi_edge_lab.zun.create import create_request  # pydantic, which takes a while to load

    kept = {key: value for key, value in fields.items() if value is not None}
    request = create_request(
        name=checked_name,
        image=checked_image,
        command=words,
        environment=variables,
        exposed_ports=ports,
        hints=hints,
        **kept,
    )
    return request, note


def stage_of(container: Container) -> str:
    """The stage that a container is in, from Zun's `status` and `task_state`."""
    task = container.task_state or ""
    if container.status == "Running":
        return "running"
    if task == "image_pulling":
        return "pulling"
    if container.status == "Created" or task == "container_starting":
        return "starting"
    return "scheduled" if container.host or task == "container_creating" else "requested"


def _follow(
    client: Client,
    uuid: str,
    request: CreateRequest,
    reporter: Reporter,
    *,
    start: bool,
    must_start: bool,
    until_running: bool,
    timeout: float | None,
) -> Container:
    started = not must_start

    def seen(container: Container) -> None:
        stage = stage_of(container)
        message = STAGES[stage]
        if stage == "scheduled" and client.dialect.name == "k8s":
            message = "scheduled on a device, which may be pulling the image"
        reporter.report(stage, message)

    def done(container: Container) -> bool:
        nonlocal started
        if not started and container.status == "Created":
            try:
                client.start(uuid)
                started = True
            except InvalidState:
                return False  # it has just changed: look again
            return not until_running
        if container.status == "Running":
            return True
        if not start and client.dialect.name == "docker":
            return container.status == "Created" and not container.task_state
        # a command that ends at once has run when it is seen stopped
        return started and must_start and container.status == "Stopped"

    try:
        return wait.wait_until(
            client, uuid, done, goal="start", timeout=timeout, on_container=seen, reporter=reporter
        )
    except ContainerFailed as error:
        if error.code == "container-failed" and _names_image(error.status_reason or ""):
            raise _image_missing(client, request.image, error.message, error.request_id) from error
        if error.hint:  # the same, with the names of what was asked for
            error.hint = wait.advice(
                error.message, image=request.image, command=request.command,
                reservation=(request.hints or {}).get("reservation"),
            )  # fmt: skip
        raise


def _names_image(text: str) -> bool:
    return any(sign in text.lower() for sign in _NO_IMAGE)


def _image_missing(client: Client, image: str, said: str, request_id: str | None) -> ContainerFailed:
    names_there = catalogue(client)
    hint = (
        f"The site has: {', '.join(names_there[:_CATALOGUE_LONGEST])}."
        if names_there
        else "Check its name and tag."
    )
    if len(names_there) > _CATALOGUE_LONGEST:
        hint = hint[:-1] + f" and {len(names_there) - _CATALOGUE_LONGEST} more."
    return ContainerFailed(
        f"The site could not get the image {image!r}: {said}",
        hint=hint,
        request_id=request_id,
        status_reason=said,
    )


def catalogue(client: Client) -> list[str]:
    """Names of the images that the site lists; empty where it lists none to this user (most clouds: admin
    only).
    """
    try:
        images = client.images()
    except EdgeLabError:
        return []
    listed = (f"{image.repo}:{image.tag}" if image.tag else image.repo for image in images if image.repo)
    return list(dict.fromkeys(listed))
