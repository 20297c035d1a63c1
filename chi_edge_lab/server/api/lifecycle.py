"""Starting, stopping and the like. Each is asked for and not waited for: the feed shows it happen."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.core import asking, snapshot
from chi_edge_lab.core.shown import shown
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, operation
from chi_edge_lab.zun import Container


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Grace(_Body):
    """Seconds that the main process has between SIGTERM and SIGKILL."""

    grace: int = Field(10, ge=0, le=asking.LONGEST_GRACE)


class Kill(_Body):
    """A signal by name or number."""

    signal: str = Field("SIGKILL", min_length=1, max_length=20)


class Rebuild(_Body):
    """Another image; none means the one that it has."""

    image: str | None = None


class Commit(_Body):
    """What the image is to be called."""

    repository: str
    tag: str = "latest"


class Committed(BaseModel):
    """The image's id; it becomes usable a little later."""

    image_id: str


@operation("POST", CONTAINER + "/start", "write", status=202)
def start_container(call: Call) -> Container:
    """Start a container; nothing to do when it runs."""
    return _ask(call, "start")


@operation("POST", CONTAINER + "/stop", "write", status=202)
def stop_container(call: Call, body: Grace) -> Container:
    """Stop a container; nothing to do when it has stopped."""
    return _ask(call, "stop", grace=body.grace)


@operation("POST", CONTAINER + "/restart", "write", status=202)
def restart_container(call: Call, body: Grace) -> Container:
    """Stop and start a container."""
    return _ask(call, "restart", grace=body.grace)


@operation("POST", CONTAINER + "/pause", "write", status=202)
def pause_container(call: Call) -> Container:
    """Freeze a container's processes."""
    return _ask(call, "pause")


@operation("POST", CONTAINER + "/unpause", "write", status=202)
def unpause_container(call: Call) -> Container:
    """Let a paused container go on."""
    return _ask(call, "unpause")


@operation("POST", CONTAINER + "/kill", "write", status=202)
def kill_container(call: Call, body: Kill) -> Container:
    """Send a signal to a container's main process."""
    return _ask(call, "kill", signal=body.signal)


@operation("POST", CONTAINER + "/rebuild", "write", status=202)
def rebuild_container(call: Call, body: Rebuild) -> Container:
    """Make a container anew, with another image if one is given."""
    return _ask(call, "rebuild", image=body.image)


@operation("POST", CONTAINER + "/commit", "write", status=202)
def commit_container(call: Call, body: Commit) -> Committed:
    """Make an image of a container."""
    return Committed(image_id=snapshot.snapshot(call.container(), call.uuid, body.repository, body.tag))


def _ask(call: Call, change: asking.Change, **options: object) -> Container:
    return shown(asking.ask(call.container(), call.uuid, change, **options))  # type: ignore[arg-type]
