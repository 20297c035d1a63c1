"""The road of an upload.

Parts of a few MiB go as tars into a private directory beside the destination. Large files are put together
from their parts there, everything is compared by sha256, and then renamed into place. Docker sites unpack a
tar themselves; CHI@Edge runs the container's `tar`, which may be missing (then small things go through exec)
or busybox's (which needs another end of the archive).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from chi_edge_lab.core import archive, blind, bulk, paths, scripts, shell, upload_scripts
from chi_edge_lab.core.localtree import TEMPORARY, Item, Source, read_pieces
from chi_edge_lab.core.progress import Reporter
from chi_edge_lab.core.result import TransferResult
from chi_edge_lab.core.shell import Reply
from chi_edge_lab.core.upload_road import EXEC_LIMIT, PART, Road
from chi_edge_lab.errors import (
    BadInput,
    Cancelled,
    EdgeLabError,
    InvalidState,
    NoShell,
    TransferError,
)  # fmt: skip

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

_EACH = 1000  # files looked at one by one to name the damaged ones
_APPEND_AFTER = (
    16  # parts of a large file before they are put together, so that little lies in the container twice
)
_REMOVE = 'chmod -R u+rwx "$1" 2>/dev/null;rm -rf -- "$1" "$2"'
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9_./-]*")


def upload(
    client: Client,
    uuid: str,
    source: Source,
    dest: str,
    reporter: Reporter,
    began: float,
    token: str | None = None,
) -> TransferResult:
    """Send `source` into the directory `dest`; see `transfer.upload`."""
    raw = paths.checked(dest)
    paths.checked(paths.join(raw, source.name))
    reporter.check("Nothing was uploaded.")
    try:
        road = _prepare(client, uuid, source, raw, reporter, token or new_token())
    except (NoShell, InvalidState) as error:
        if client.dialect.archive_runs_tar:
            raise
        return blind.upload(client, uuid, source, raw, reporter, began, error)
    unchanged = f"{paths.shown(raw)} in the container is as it was"
    try:
        _send(road)
        reporter.report("verifying", "comparing checksums, then moving into place")
        verified = _finish(road)
    except KeyboardInterrupt:
        _clean(road)
        raise KeyboardInterrupt(f"The upload was interrupted; {unchanged}.") from None
    except Cancelled:
        _clean(road)
        raise Cancelled(f"The upload was cancelled; {unchanged}.") from None
    except BaseException:
        _clean(road)
        raise
    files = [item for item in source.items if item.kind == "file"]
    reporter.report("done", "uploaded and verified", done=source.size, total=source.size)
    return TransferResult(
        paths.to_text(paths.join(road.folder, source.name)),
        len(files),
        source.size,
        time.monotonic() - began,
        verified,
        None if source.is_folder else road.sums[source.name],
    )


def new_token() -> str:
    """A name for an upload's temporary directory."""
    return f"{TEMPORARY}{secrets.token_hex(8)}"


def discard(client: Client, uuid: str, dest: str, token: str) -> None:
    """Remove what an upload with this token has left beside its destination; nothing where there is nothing."""
    if not re.fullmatch(rf"{re.escape(TEMPORARY)}[0-9a-f]{{16}}", token):
        raise BadInput(f"{token!r} is not the name of an upload's temporary directory.")
    place = paths.join(paths.checked(dest), token.encode())
    shell.run(client, uuid, _REMOVE, place, place)


def _prepare(client: Client, uuid: str, source: Source, raw: bytes, reporter: Reporter, token: str) -> Road:
    reply = shell.run(client, uuid, upload_scripts.PREPARE, raw, source.name, token)
    if reply.code == scripts.MISSING:
        raise TransferError(
            f"The folder {paths.shown(raw)} does not exist in the container.",
            hint="Make it first, for instance with mkdir -p.",
        )
    if reply.code == scripts.NOT_DIRECTORY:
        raise TransferError(
            f"The destination {paths.shown(raw)} is a file in the container; it must be a folder."
        )
    if reply.code in {scripts.DENIED, scripts.FAILED}:
        raise TransferError(
            f"The folder {paths.shown(raw)} in the container cannot be written"
            + (f" ({reply.text})." if reply.text else " by the container's user.")
        )
    if reply.code != 0:
        _as_transfer(reply, raw, "write to")
    folder, kind, tar, sums, uid, gid, space = reply.output.split(b"\0")[:7]
    folder = folder.removesuffix(b"\nx")  # so written because $(...) drops newlines at the end of a name
    road = Road(
        client,
        uuid,
        source,
        reporter,
        folder,
        token,
        int(uid or 0),
        int(gid or 0),
        _tar_kind(tar),
        sums == b"y",
    )
    try:
        if kind == b"d" and not source.is_folder:
            raise TransferError(
                f"{paths.shown(road.target)} is a folder in the container; a file cannot replace it."
            )
        if kind == b"f" and source.is_folder:
            raise TransferError(
                f"{paths.shown(road.target)} is a file in the container; a folder cannot replace it."
            )
        free = _free_bytes(space)
        if free is not None and source.size + PART > free:
            raise TransferError(
                f"There is not enough space in the container: {source.size} bytes are to be uploaded "
                f"and {free} are free."
            )
        if client.dialect.archive_runs_tar and not road.tar and source.size > EXEC_LIMIT:
            raise TransferError(
                f"The image has no tar, without which no more than {EXEC_LIMIT >> 20} MiB can be uploaded "
                "on this site.",
                hint="Use an image with tar, or fetch the files from within the container (wget, ...).",
            )
        road.by_exec = client.dialect.archive_runs_tar and not road.tar
        _name_place(road)
    except BaseException:
        _clean(road)
        raise
    return road


def _tar_kind(version: bytes) -> str:
    text = version.decode("utf-8", "replace").lower()
    return "" if text == "-" else "busybox" if "busybox" in text else "gnu"


def _free_bytes(line: bytes) -> int | None:
    """The fourth column of `df -Pk`, in bytes; None where there is no df."""
    found = re.search(rb"\s\d+\s+\d+\s+(\d+)\s+[\d-]+%", line)
    return int(found[1]) * 1024 if found else None


def _name_place(road: Road) -> None:
    """Archive calls take a path as text, and CHI@Edge gives it to a shell unquoted: a path that is not
    plain gets a plain link.
    """
    if _PLAIN_PATH.fullmatch(road.temporary):
        road.place = road.temporary.decode()
        return
    base = shell.temporary_place(road.client, road.uuid)
    road.link = paths.join(base, road.token.encode())
    if not _PLAIN_PATH.fullmatch(road.link):
        raise TransferError(
            f"The container has no directory for temporary files with a plain name ({paths.shown(base)})."
        )
    reply = shell.run(road.client, road.uuid, 'ln -s -- "$1" "$2" 2>&1', road.temporary, road.link)
    if reply.code != 0:
        _as_transfer(reply, road.link, "write to")
    road.place = road.link.decode()


# -- sending -------------------------------------------------------------------------------------


def _target(road: Road, item: Item) -> bytes:
    """An item's path below `t`."""
    if not road.source.is_folder:
        return road.source.name
    return paths.join(road.source.name, item.path) if item.path else road.source.name


def _send(road: Road) -> None:
    road.reporter.report("sending", "sending", done=0, total=road.source.size)
    large = 0
    for item in road.source.items:
        target = _target(road, item)
        if item.kind == "directory":
            # what is to be written into must be writable until the end
            road.add(archive.Member(b"t/" + target, "directory", item.mode | 0o700, item.mtime))
        elif item.kind == "file" and item.size <= PART:
            data = b"".join(read_pieces(item, PART))
            road.sums[target] = hashlib.sha256(data).hexdigest()
            road.add(archive.Member(b"t/" + target, "file", item.mode | 0o400, item.mtime, data=data))
        elif item.kind == "file":
            _send_large(road, item, target, large)
            large += 1
    for name, content in _lists(road):
        road.add(archive.Member(b"x/" + name, "file", 0o600, 0, data=content))
    road.flush()


def _lists(road: Road) -> Iterator[tuple[bytes, bytes]]:
    """What the scripts need, as files separated by NUL: names of files, links, and modes of folders."""
    items = [(item, _target(road, item)) for item in road.source.items]
    yield b"files", b"".join(b"./" + target + b"\0" for item, target in items if item.kind == "file")
    yield (
        b"links",
        b"".join(item.target + b"\0./" + target + b"\0" for item, target in items if item.kind == "link"),
    )
    closed = [
        (item, target) for item, target in items if item.kind == "directory" and item.mode & 0o700 != 0o700
    ]
    deepest_first = sorted(closed, key=lambda pair: -pair[1].count(b"/"))
    yield b"modes", b"".join(b"%o\0./%s\0" % (item.mode, target) for item, target in deepest_first)


def _send_large(road: Road, item: Item, target: bytes, number: int) -> None:
    road.flush()
    digest = hashlib.sha256()
    pieces = size = waiting = 0
    for data in read_pieces(item, PART):
        digest.update(data)
        if not pieces:
            road.add(archive.Member(b"p", "directory", 0o700))
        if not waiting:
            road.add(archive.Member(b"p/%d" % number, "directory", 0o700))
        road.add(archive.Member(b"p/%d/%08d" % (number, pieces), "file", 0o600, 0, data=data))
        road.flush()
        pieces, waiting, size = pieces + 1, waiting + 1, size + len(data)
        if waiting == _APPEND_AFTER:
            _append(road, number, target, item.mode, size)
            waiting = 0
    if waiting:
        _append(road, number, target, item.mode, size)
    road.sums[target] = digest.hexdigest()


def _append(road: Road, number: int, target: bytes, mode: int, size: int) -> None:
    reply = bulk.run(
        road.client,
        road.uuid,
        upload_scripts.APPEND,
        road.temporary,
        str(number),
        target,
        f"{mode | 0o400:o}",
        str(size),
    )
    if reply.code == 0:
        return
    said = reply.output.decode("utf-8", "replace")
    if "space" in said.lower() or "quota" in said.lower():
        raise TransferError("The disk of the container is full; nothing was changed.")
    if reply.code in {upload_scripts.FULL, scripts.MISSING}:
        raise TransferError(
            f"A part of {paths.shown(target)} was lost on the way "
            f"({''.join(said.split()[-1:]) or 'none'} of {size} bytes arrived); nothing was changed.",
            hint="The disk of the container may be full.",
        )
    _as_transfer(reply, target, "write")


# -- checking and placing ------------------------------------------------------------------------


def _finish(road: Road) -> str:
    """Compare, and move into place only when all is as it was sent; gives how it was compared."""
    files = [_target(road, item) for item in road.source.items if item.kind == "file"]
    expected = ""
    if not road.has_sums:
        _verify_by_reading(road, files)
    elif files:
        expected = hashlib.sha256("".join(f"{road.sums[target]}\n" for target in files).encode()).hexdigest()
    reply = _place(road, expected)
    if reply.code == upload_scripts.DAMAGED:
        _verify_each(road, files)  # raises, unless only the summing up went wrong
        reply = _place(road, "")
    if reply.code == upload_scripts.CONFLICT:
        where = posixpath.normpath(paths.join(road.temporary, b"t/" + reply.output))
        raise TransferError(
            f"{paths.shown(where)} in the container is of another kind "
            "(a folder where a file is to be, or the other way round); nothing was changed."
        )
    if reply.code != 0:
        _as_transfer(reply, road.source.name, "put in place")
    if road.link:
        shell.run(road.client, road.uuid, 'rm -f -- "$1"', road.link)
    return "sha256" if road.has_sums else "read back"


def _place(road: Road, expected: str) -> Reply:
    return bulk.run(road.client, road.uuid, upload_scripts.PLACE, road.temporary, road.token, expected)


def _verify_each(road: Road, files: list[bytes]) -> None:
    """Find the files that are not as they were sent; raises TransferError naming some."""
    script = 'sha256sum <"$1" 2>/dev/null|cut -c1-64'
    wrong = []
    for target in files[:_EACH]:
        reply = bulk.run(road.client, road.uuid, script, road.temporary + b"/t/" + target)
        if reply.output.strip().decode("ascii", "replace") != road.sums[target]:
            wrong.append(target)
            if len(wrong) > 5:
                break
    if wrong or len(files) > _EACH:
        raise archive.refuse(
            "Files arrived in the container incomplete or damaged; nothing was changed",
            wrong or files[:1],
            "Its disk may be full. Try again.",
        )


def _verify_by_reading(road: Road, files: list[bytes]) -> None:
    from chi_edge_lab.core import files as container_files

    for target in files:
        digest, offset = hashlib.sha256(), 0
        while True:
            road.reporter.check("")
            piece, _ = container_files.read_piece(
                road.client, road.uuid, road.temporary + b"/t/" + target, offset, container_files.READ_PIECE
            )
            digest.update(piece)
            offset += len(piece)
            if len(piece) < container_files.READ_PIECE:
                break
        if digest.hexdigest() != road.sums[target]:
            raise archive.refuse(
                "Files arrived in the container incomplete or damaged; nothing was changed", [target]
            )


def _clean(road: Road) -> None:
    """Remove what was sent; where even that fails it is left to the next upload into the same folder."""
    with suppress(EdgeLabError, KeyboardInterrupt):
        shell.run(
            road.client,
            road.uuid,
            _REMOVE,
            road.temporary,
            road.link or road.temporary,
        )


def _as_transfer(reply: Reply, path: bytes, doing: str) -> None:
    try:
        scripts.check(reply, path, doing)
    except EdgeLabError as error:
        raise TransferError(error.message, hint=error.hint) from error
    raise AssertionError("only called for replies that are errors")
