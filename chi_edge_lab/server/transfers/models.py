"""What is said about transfers: requests and states."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.server.failures import Problem

Direction = Literal["upload", "download"]
# An upload: receiving (from the browser), queued, sending, verifying, done. A download: queued, receiving (from the
# container), verifying, ready (for the browser), done.
State = Literal[
    "receiving", "queued", "sending", "verifying", "ready", "done", "failed", "cancelled"
]  # fmt: skip
ENDED = frozenset({"done", "failed", "cancelled"})


class UploadFile(BaseModel):
    """A file that will come. `path` is relative to the folder that is uploaded, "" when a file itself is. `size` is in
    bytes, `mtime` in seconds since 1970.
    """

    model_config = ConfigDict(extra="forbid")

    path: str = ""
    size: int = Field(ge=0, lt=2**62)
    mode: int | None = Field(None, ge=0, le=0o777)
    mtime: int | None = Field(None, ge=0, lt=2**33)


class TransferBody(BaseModel):
    """An upload of `name` (a file, or a folder with `files` and `directories`) into the folder `path`, or a download
    of `paths`.
    """

    model_config = ConfigDict(extra="forbid")

    direction: Direction
    path: str = ""
    name: str = ""
    files: list[UploadFile] = []
    directories: list[str] = []
    paths: list[str] = []


class ReceivedFile(BaseModel):
    """How much of a file has come from the browser, in bytes: an upload goes on at `received`."""

    path: str
    size: int
    received: int


class TransferStatus(BaseModel):
    """A transfer. `done` of `total` bytes are moved in the present state (total null: not known yet); `rate` is in
    bytes a second, `seconds_left` in seconds, `created` and `ended` in seconds since 1970. `notes` tell what is not
    quite as it was (names in a ZIP).
    """

    id: str
    direction: Direction
    state: State
    site: str
    project: str | None
    container: str
    path: str  # where it is uploaded to, or what is downloaded
    name: str
    files: int
    size: int | None
    done: int
    total: int | None
    rate: float | None
    seconds_left: float | None
    cancelling: bool
    created: float
    ended: float | None
    problem: Problem | None
    notes: list[str]


class TransferDetail(TransferStatus):
    """A transfer and each of its files."""

    received: list[ReceivedFile]


class TransferList(BaseModel):
    """The transfers that this server knows."""

    transfers: list[TransferStatus]


class ContentQuery(BaseModel):
    """Which file of an upload the bytes are of, and where in it they begin."""

    path: str = ""
    offset: int = Field(0, ge=0, lt=2**62)


class DownloadQuery(BaseModel):
    """How a ZIP is made; a single file comes as it is."""

    compression: Literal["deflated", "stored"] = "deflated"
