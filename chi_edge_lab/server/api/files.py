"""Files in a container: list, look at, read, write, make folders, rename, copy, delete."""

from __future__ import annotations

import base64
import binascii
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab.core import files
from chi_edge_lab.core.listing import Entry
from chi_edge_lab.errors import BadInput, FileError
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, operation

FILES = CONTAINER + "/files"
Format = Literal["text", "base64"]


class FileEntry(BaseModel):
    """A thing in a folder. `name` may hold bytes that are not UTF-8, as lone surrogates; `size` is in bytes, `mtime`
    in seconds since 1970, both null where the image cannot tell them. `target` is a link's text, `target_kind` what it
    leads to ("" when to nothing).
    """

    model_config = ConfigDict(from_attributes=True)

    name: str
    kind: str
    size: int | None = None
    mode: int | None = None
    mtime: int | None = None
    uid: int | None = None
    gid: int | None = None
    target: str | None = None
    target_kind: str = ""


class Folder(BaseModel):
    """A page of a folder, by name. `next` is the `after` of the page that follows, null at the end."""

    entries: list[FileEntry]
    total: int
    next: str | None


class FileContent(BaseModel):
    """A piece of a file. `size` is the whole file's, in bytes; `etag` changes with `mtime` and `size`."""

    content: str
    format: Format
    offset: int
    length: int
    size: int | None
    mtime: int | None
    mode: int | None
    etag: str


class ListQuery(BaseModel):
    """Which page of which folder."""

    path: str
    limit: int = Field(10_000, ge=1)
    after: str | None = None


class StatQuery(BaseModel):
    """Which path; a link is told as a link unless `follow`."""

    path: str
    follow: bool = False


class ReadQuery(BaseModel):
    """Which bytes of which file. `format` auto: text where it is UTF-8 without NUL, else base64."""

    path: str
    offset: int = Field(0, ge=0, lt=2**62)
    size: int | None = Field(None, ge=0, lt=2**62)
    format: Literal["auto", "text", "base64"] = "auto"


class DeleteQuery(BaseModel):
    """What is deleted; a folder that is not empty only with `recursive`."""

    path: str
    recursive: bool = False


class WriteBody(BaseModel):
    """A file's new content. With `if_mtime` or `if_size` nothing is written when the file is another by now."""

    model_config = ConfigDict(extra="forbid")

    path: str
    content: str
    format: Format = "text"
    mode: int | None = Field(None, ge=0, le=0o777)
    if_mtime: int | None = None
    if_size: int | None = None


class FolderBody(BaseModel):
    """The folder to make; with `parents` also those above it, and one that exists is fine."""

    model_config = ConfigDict(extra="forbid")

    path: str
    parents: bool = False


class MoveBody(BaseModel):
    """From where to where. An existing file is replaced with `replace`, an existing folder never."""

    model_config = ConfigDict(extra="forbid")

    path: str
    to: str
    replace: bool = False


@operation("GET", FILES, "read")
def list_files(call: Call, query: ListQuery) -> Folder:
    """What is in a folder."""
    limit = min(query.limit, call.services.limits.files_listed)
    found, total = files.page(call.container(), call.uuid, query.path, limit=limit + 1, after=query.after)
    more = len(found) > limit
    entries = [FileEntry.model_validate(entry) for entry in found[:limit]]
    return Folder(entries=entries, total=total, next=entries[-1].name if more else None)


@operation("GET", FILES + "/stat", "read")
def stat_file(call: Call, query: StatQuery) -> FileEntry:
    """One path."""
    return _entry(files.stat(call.container(), call.uuid, query.path, follow=query.follow))


@operation("GET", FILES + "/read", "read")
def read_file(call: Call, query: ReadQuery) -> FileContent:
    """A file's content, or a piece of it; larger ones are downloaded."""
    client, limit = call.container(), call.services.limits.file_read_bytes
    entry = files.stat(client, call.uuid, query.path, follow=True)
    size = query.size
    if size is None or size > limit:
        if entry.size is not None and entry.size - query.offset > limit:
            raise FileError(f"The file is larger than {limit} bytes.", hint="Download it instead.")
        size = limit
    data = files.read(client, call.uuid, query.path, offset=query.offset, size=size)
    content, form = _text_of(data, query.format)
    return FileContent(
        content=content, format=form, offset=query.offset, length=len(data), size=entry.size, mtime=entry.mtime,
        mode=entry.mode, etag=f"{entry.mtime}-{entry.size}",
    )  # fmt: skip


@operation("PUT", FILES, "write")
def write_file(call: Call, body: WriteBody) -> FileEntry:
    """Write a file, whole or not at all."""
    client = call.container()
    files.write(
        client, call.uuid, body.path, _bytes_of(body.content, body.format),
        mode=body.mode, if_mtime=body.if_mtime, if_size=body.if_size,
    )  # fmt: skip
    return _entry(files.stat(client, call.uuid, body.path, follow=True))


@operation("POST", FILES + "/mkdir", "write")
def make_folder(call: Call, body: FolderBody) -> FileEntry:
    """Make a folder."""
    client = call.container()
    files.make_directory(client, call.uuid, body.path, parents=body.parents)
    return _entry(files.stat(client, call.uuid, body.path))


@operation("POST", FILES + "/rename", "write")
def rename_file(call: Call, body: MoveBody) -> None:
    """Rename or move a file or folder."""
    files.rename(call.container(), call.uuid, body.path, body.to, replace=body.replace)


@operation("POST", FILES + "/copy", "write")
def copy_file(call: Call, body: MoveBody) -> None:
    """Copy a file or folder, whole or not at all."""
    files.copy(call.container(), call.uuid, body.path, body.to, replace=body.replace)


@operation("DELETE", FILES, "write")
def delete_file(call: Call, query: DeleteQuery) -> None:
    """Delete a file, a link or a folder."""
    files.delete(call.container(), call.uuid, query.path, recursive=query.recursive)


def _entry(entry: Entry) -> FileEntry:
    return FileEntry.model_validate(entry)


def _text_of(data: bytes, wanted: str) -> tuple[str, Format]:
    if wanted != "base64":
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            if wanted == "text":
                raise FileError(
                    "The file is not UTF-8 text.", hint="Read it as base64, or download it."
                ) from None
        else:
            if wanted == "text" or "\0" not in text:
                return text, "text"
    return base64.b64encode(data).decode("ascii"), "base64"


def _bytes_of(content: str, form: Format) -> bytes:
    try:
        if form == "base64":
            return base64.b64decode(content, validate=True)
        return content.encode("utf-8")
    except (ValueError, binascii.Error):
        raise BadInput(
            "The content is not base64." if form == "base64" else "The content is not Unicode text."
        ) from None
