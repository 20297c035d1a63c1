"""Transfers where nothing can be run in the container: it is stopped, or its image has no shell (docker sites
only).

One archive of bounded size, straight to or from its place, and read back: not whole or not at all on the
container's side, which is why it is the last resort.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import time
from typing import TYPE_CHECKING

from chi_edge_lab.core import archive, paths
from chi_edge_lab.core.localtree import Source, Staging, read_pieces
from chi_edge_lab.core.progress import Reporter
from chi_edge_lab.core.result import TransferResult
from chi_edge_lab.errors import (
    BadInput,
    BadRequest,
    EdgeLabError,
    InvalidState,
    NotFound,
    ServerError,
    TransferError,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

UPLOAD_LIMIT = 4 << 20  # bytes of content
DOWNLOAD_LIMIT = 32 << 20  # bytes of the archive, which is held in memory


def upload(
    client: Client, uuid: str, source: Source, raw: bytes, reporter: Reporter, began: float, why: EdgeLabError
) -> TransferResult:
    """One archive straight into the destination, for docker sites where nothing can be run: no shell, or
    the container is stopped.
    """
    small = "Without a shell only uploads of up to 4 MiB are possible, since parts cannot be put together."
    if isinstance(why, InvalidState):
        small = "Into a container that does not run only up to 4 MiB can be uploaded."
    if source.size > UPLOAD_LIMIT:
        raise TransferError(small, hint=why.hint) from why
    place = paths.to_text(raw)
    if not raw.startswith(b"/") or not place.isprintable():
        raise TransferError(
            f"{small} Their destination must be an absolute path of plain characters."
        ) from why
    members = []
    for item in source.items:
        target = (
            source.name
            if not source.is_folder
            else paths.join(source.name, item.path)
            if item.path
            else source.name
        )
        data = b"".join(read_pieces(item, UPLOAD_LIMIT)) if item.kind == "file" else b""
        members.append(
            archive.Member(target, item.kind, item.mode, item.mtime, data=data, target=item.target)
        )
    reporter.report("sending", "sending", done=0, total=source.size)
    try:
        client.put_archive(uuid, place, archive.build(members, uid=0, gid=0))
        reporter.report("verifying", "reading it back")
        back = client.get_archive(uuid, posixpath.join(place, paths.to_text(source.name)))
    except (ServerError, NotFound, BadRequest) as error:
        raise TransferError(
            f"The site could not write to {paths.shown(raw)}: {error.message}",
            hint="Is it an existing folder?",
            request_id=error.request_id,
        ) from error
    there = archive.contents(back.data)
    wrong = [
        member.path for member in members if member.kind == "file" and there.get(member.path) != member.data
    ]
    if wrong:
        raise archive.refuse("Files arrived in the container incomplete or damaged", wrong)
    files = [member for member in members if member.kind == "file"]
    return TransferResult(
        posixpath.join(place, paths.to_text(source.name)),
        len(files),
        source.size,
        time.monotonic() - began,
        "read back",
        None if source.is_folder else hashlib.sha256(files[0].data).hexdigest(),
    )


def download(
    client: Client,
    uuid: str,
    raw: bytes,
    staging: Staging,
    began: float,
    why: EdgeLabError,
    *,
    content_only: bool,
) -> TransferResult:
    """One archive, for docker sites where nothing can be run: no shell, or the container is stopped."""
    place = paths.to_text(raw)
    if not raw.startswith(b"/") or not place.isprintable():
        raise BadInput(
            "Where no command can be run, the source must be an absolute path of plain characters.",
            hint=why.hint,
        )
    try:
        packed = client.get_archive(uuid, place)
    except (ServerError, NotFound, BadRequest) as error:
        raise TransferError(
            f"The site could not read {paths.shown(raw)}: {error.message}",
            hint="It may not exist, or be too large.",
            request_id=error.request_id,
        ) from error
    if len(packed.data) > DOWNLOAD_LIMIT:
        raise TransferError(
            f"{paths.shown(raw)} is too large to be downloaded in one archive.", hint=why.hint
        )
    name = local_name(raw, raw)
    unpacked = staging.path / "unpacked"
    unpacked.mkdir()
    size = archive.extract(io.BytesIO(packed.data), unpacked, size_limit=staging.free_bytes())
    source = unpacked / paths.local(archive.member_path(name))
    if not os.path.lexists(source):
        raise TransferError(
            f"The site sent an archive without {paths.shown(raw)} in it; nothing was downloaded."
        )
    is_folder = source.is_dir() and not source.is_symlink()
    count = sum(len(names) for _, _, names in os.walk(source)) if is_folder else 1
    source.rename(staging.path / source.name)
    placed = staging.place_content(name) if content_only and is_folder else staging.place(name)
    return TransferResult(str(placed), count, size, time.monotonic() - began, "archive")


def local_name(raw: bytes, real: bytes) -> bytes:
    """The name here: the last component as it was asked for, or of the real path where that is none
    ("/x/..").
    """
    asked = raw.rpartition(b"/")[2]
    return asked if asked not in {b"", b".", b".."} else real.rpartition(b"/")[2] or b"root"
