"""What is done to a container: start, stop, restart, pause, unpause, kill, rebuild, commit.

Each answers as soon as the site has taken it; the container's feed tells what becomes of it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.core import lifecycle, snapshot, validate
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, operation


class Grace(BaseModel):
    """Seconds between SIGTERM and SIGKILL."""

    model_config = ConfigDict(extra="forbid")

    grace: int = Field(lifecycle.STOP_TIMEOUT, ge=0, le=3600)


class Signal(BaseModel):
    """A signal by name (SIGTERM, TERM) or number."""

    model_config = ConfigDict(extra="forbid")

    signal: str = Field("SIGKILL", pattern=r"^(SIG)?[A-Z0-9+-]{1,12}$|^\d{1,2}$")


class Rebuilding(BaseModel):
    """Another image, or null for the same."""

    model_config = ConfigDict(extra="forbid")

    image: str | None = None


class Commit(BaseModel):
    """The image that is made of a container."""

    model_config = ConfigDict(extra="forbid")

    repository: str
    tag: str = "latest"


class Committed(BaseModel):
    """The image's id; it becomes usable a little later."""

    image_id: str


@operation("POST", CONTAINER + "/start", "write", status=202)
def start_container(call: Call) -> None:
    """Start a container."""
    lifecycle.ask(call.container(), call.uuid, "start")


@operation("POST", CONTAINER + "/stop", "write", status=202)
def stop_container(call: Call, body: Grace) -> None:
    """Stop a container."""
    lifecycle.ask(call.container(), call.uuid, "stop", grace=body.grace)


@operation("POST", CONTAINER + "/restart", "write", status=202)
def restart_container(call: Call, body: Grace) -> None:
    """Stop and start a container."""
    lifecycle.ask(call.container(), call.uuid, "restart", grace=body.grace)


@operation("POST", CONTAINER + "/pause", "write", status=202)
def pause_container(call: Call) -> None:
    """Freeze a container's processes."""
    lifecycle.ask(call.container(), call.uuid, "pause")


@operation("POST", CONTAINER + "/unpause", "write", status=202)
def unpause_container(call: Call) -> None:
    """Let a paused container go on."""
    lifecycle.ask(call.container(), call.uuid, "unpause")


@operation("POST", CONTAINER + "/kill", "write", status=202)
def kill_container(call: Call, body: Signal) -> None:
    """Send a signal to a container's main process."""
    client = call.container()
    client.dialect.require("kill")
    client.kill(call.uuid, signal=body.signal)


@operation("POST", CONTAINER + "/rebuild", "write", status=202)
def rebuild_container(call: Call, body: Rebuilding) -> None:
    """Make a container anew, with another image if one is given."""
    client = call.container()
    client.rebuild(call.uuid, None if body.image is None else validate.image(body.image))


@operation("POST", CONTAINER + "/commit", "write", status=202)
def commit_container(call: Call, body: Commit) -> Committed:
    """Make an image of a container's files."""
    return Committed(image_id=snapshot.snapshot(call.container(), call.uuid, body.repository, body.tag))
