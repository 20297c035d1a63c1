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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chi_edge_lab.core import archive, blind, bulk, paths, scripts, shell, upload_scripts
from chi_edge_lab.core.localtree import TEMPORARY, Item, Source, read_pieces
from chi_edge_lab.core.progress import Reporter
from chi_edge_lab.core.result import TransferResult
from chi_edge_lab.core.shell import Reply
from chi_edge_lab.errors import (
    Cancelled,
    EdgeLabError,
    InvalidState,
    NoShell,
    OverQuota,
    ServerError,
    TransferError,
    Unreachable,
)  # fmt: skip

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

PART = 4 << 20  # bytes of content in one tar: five times that is held while it travels
EXEC_LIMIT = 2 << 20  # bytes that may go through exec where there is no tar
_EXEC_PIECE = 60_000  # bytes in one exec, before base64
_APPEND_AFTER = (
    16  # parts of a large file before they are put together, so that little lies in the container twice
)
_RETRIES = 2  # of one part, where the site did not answer
_PLAIN_PATH = re.compile(rb"/[A-Za-z0-9_./-]*")


@dataclass
class _Road:
    """What was found out about the container's side, and what must be done there."""

    client: Client
    uuid: str
    source: Source
    reporter: Reporter
    folder: bytes  # the real path of the destination's folder
    token: str
    uid: int
    gid: int
    tar: str  # "", "gnu" or "busybox"; what unpacks at the site where the container's own does not
    has_sums: bool
    place: str = ""  # the temporary directory as the archive calls are told it
    link: bytes = b""  # a link that stands for it, where its path is not plain
    sent: int = 0
    checked_first: bool = False
    sums: dict[bytes, str] = field(default_factory=dict)
    batch: list[archive.Member] = field(default_factory=list)
    batch_size: int = 0

    @property
    def target(self) -> bytes:
        return paths.join(self.folder, self.source.name)

    @property
    def temporary(self) -> bytes:
        return paths.join(self.folder, self.token.encode())


def upload(
    client: Client, uuid: str, source: Source, dest: str, reporter: Reporter, began: float
) -> TransferResult:
    """Send `source` into the directory `dest`; see `transfer.upload`."""
    raw = paths.checked(dest)
    paths.checked(paths.join(raw, source.name))
    reporter.check("Nothing was uploaded.")
    try:
        road = _prepare(client, uuid, source, raw, reporter)
    except (NoShell, InvalidState) as error:
        if client.dialect.archive_runs_tar:
            raise
        return blind.upload(client, uuid, source, raw, reporter, began, error)
    unchanged = f"{paths.shown(raw)} in the container is as it was"
    try:
        _send(road)
        reporter.report("verifying", "comparing checksums")
        verified = _verify(road)
        reporter.report("placing", "moving into place")
        _place(road)
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


def _prepare(client: Client, uuid: str, source: Source, raw: bytes, reporter: Reporter) -> _Road:
    token = f"{TEMPORARY}{secrets.token_hex(8)}"
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
    road = _Road(
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


def _name_place(road: _Road) -> None:
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


def _target(road: _Road, item: Item) -> bytes:
    """An item's path below `t`."""
    if not road.source.is_folder:
        return road.source.name
    return paths.join(road.source.name, item.path) if item.path else road.source.name


def _send(road: _Road) -> None:
    road.reporter.report("sending", "sending", done=0, total=road.source.size)
    large = 0
    for item in road.source.items:
        target = _target(road, item)
        if item.kind == "directory":
            # what is to be written into must be writable until the end
            _add(road, archive.Member(b"t/" + target, "directory", item.mode | 0o700, item.mtime))
        elif item.kind == "file" and item.size <= PART:
            data = b"".join(read_pieces(item, PART))
            road.sums[target] = hashlib.sha256(data).hexdigest()
            _add(road, archive.Member(b"t/" + target, "file", item.mode | 0o400, item.mtime, data=data))
        elif item.kind == "file":
            _send_large(road, item, target, large)
            large += 1
    for name, content in _lists(road):
        _add(road, archive.Member(b"x/" + name, "file", 0o600, 0, data=content))
    _flush(road)


def _lists(road: _Road) -> Iterator[tuple[bytes, bytes]]:
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


def _send_large(road: _Road, item: Item, target: bytes, number: int) -> None:
    _flush(road)
    digest = hashlib.sha256()
    pieces = size = waiting = 0
    for data in read_pieces(item, PART):
        digest.update(data)
        if not pieces:
            _add(road, archive.Member(b"p", "directory", 0o700))
        if not waiting:
            _add(road, archive.Member(b"p/%d" % number, "directory", 0o700))
        _add(road, archive.Member(b"p/%d/%08d" % (number, pieces), "file", 0o600, 0, data=data))
        _flush(road)
        pieces, waiting, size = pieces + 1, waiting + 1, size + len(data)
        if waiting == _APPEND_AFTER:
            _append(road, number, target, item.mode, size)
            waiting = 0
    if waiting:
        _append(road, number, target, item.mode, size)
    road.sums[target] = digest.hexdigest()


def _append(road: _Road, number: int, target: bytes, mode: int, size: int) -> None:
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


def _add(road: _Road, member: archive.Member) -> None:
    if road.batch and road.batch_size + len(member.data) > PART:
        _flush(road)
    road.batch.append(member)
    road.batch_size += len(member.data) + 512


def _flush(road: _Road) -> None:
    if not road.batch:
        return
    road.reporter.check("")
    members, road.batch, road.batch_size = road.batch, [], 0
    if road.client.dialect.archive_runs_tar and not road.tar:
        _put_by_exec(road, members)
    else:
        _put(road, members)
    road.sent += sum(len(member.data) for member in members if not member.path.startswith(b"x/"))
    road.reporter.report("sending", "sending", done=min(road.sent, road.source.size), total=road.source.size)


def _put(road: _Road, members: list[archive.Member]) -> None:
    runs_tar = road.client.dialect.archive_runs_tar
    first = [] if road.checked_first else [archive.Member(b"first", "file", 0o600)]
    data = archive.build(
        members + first, uid=road.uid, gid=road.gid, endless=runs_tar and road.tar == "busybox"
    )
    for attempt in range(_RETRIES + 1):
        try:
            road.client.put_archive(road.uuid, road.place, data)
            break
        except (Unreachable, ServerError) as error:
            # the same part again is harmless: it has the same names
            if attempt == _RETRIES:
                raise TransferError(
                    f"The site did not take a part of the upload: {error.message}",
                    hint="The destination is as it was.",
                    request_id=error.request_id,
                ) from error
            road.reporter.sleep(0.5 * (attempt + 1), "")
        except OverQuota as error:
            raise TransferError(
                f"The site did not take a part of the upload: {error.message}", request_id=error.request_id
            ) from error
    if first:
        _check_first(road)


def _check_first(road: _Road) -> None:
    """CHI@Edge answers 200 whatever `tar` said: look once, before the rest is sent for nothing."""
    road.checked_first = True
    reply = shell.run(road.client, road.uuid, '[ -f "$1/first" ]', road.temporary)
    if reply.code != 0:
        raise TransferError(
            "The site says that it wrote the upload, and there is nothing of it in the container.",
            hint="The disk of the container may be full, or its tar does not work.",
        )


def _put_by_exec(road: _Road, members: list[archive.Member]) -> None:
    """The same without tar: each folder and piece of a file is an exec."""
    write = 'if command -v base64 >/dev/null;then printf %s "$2"|base64 -d >>"$1";else exit 90;fi 2>&1'
    import base64

    for member in members:
        place = paths.join(road.temporary, member.path)
        if member.kind == "directory":
            reply = bulk.run(
                road.client, road.uuid, 'mkdir -p -- "$1"&&chmod $2 "$1" 2>&1', place, f"{member.mode:o}"
            )
        else:
            reply = bulk.run(
                road.client,
                road.uuid,
                'mkdir -p -- "${1%/*}"&&: >"$1"&&chmod $2 "$1" 2>&1',
                place,
                f"{member.mode:o}",
            )
        for start in range(0, len(member.data), _EXEC_PIECE):
            if reply.code != 0:
                break
            road.reporter.check("")
            piece = base64.b64encode(member.data[start : start + _EXEC_PIECE]).decode()
            reply = bulk.run(road.client, road.uuid, write, place, piece)
        if reply.code == 90:
            raise TransferError("The image has neither tar nor base64, so nothing can be uploaded into it.")
        if reply.code != 0:
            _as_transfer(reply, member.path, "write")


# -- checking and placing ------------------------------------------------------------------------


def _verify(road: _Road) -> str:
    files = [_target(road, item) for item in road.source.items if item.kind == "file"]
    if not files:
        return "sha256"
    if not road.has_sums:
        _verify_by_reading(road, files)
        return "read back"
    wanted = "".join(f"{road.sums[target]}\n" for target in files)
    reply = bulk.run(road.client, road.uuid, upload_scripts.SUM_OF_SUMS, road.temporary)
    if reply.output.strip().decode("ascii", "replace") == hashlib.sha256(wanted.encode()).hexdigest():
        return "sha256"
    wrong = []
    for target in files[:1000]:
        found = (
            bulk.run(
                road.client,
                road.uuid,
                'sha256sum <"$1" 2>/dev/null|cut -c1-64',
                road.temporary + b"/t/" + target,
            )
            .output.strip()
            .decode()
        )
        if found != road.sums[target]:
            wrong.append(target)
            if len(wrong) > 5:
                break
    if not wrong and len(files) <= 1000:
        return "sha256"  # only the summing up went wrong (a name it does not print as expected)
    raise archive.refuse(
        "Files arrived in the container incomplete or damaged; nothing was changed", wrong or files[:1],
        "Its disk may be full. Try again.",
    )  # fmt: skip


def _verify_by_reading(road: _Road, files: list[bytes]) -> None:
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


def _place(road: _Road) -> None:
    reply = bulk.run(
        road.client, road.uuid, upload_scripts.PLACE, road.temporary, road.token, road.source.name
    )
    if reply.code == upload_scripts.CONFLICT:
        raise TransferError(
            f"{paths.shown(posixpath.normpath(paths.join(road.temporary, b't/' + reply.output)))} "
            "in the container is of another kind "
            "(a folder where a file is to be, or the other way round); nothing was changed."
        )
    if reply.code != 0:
        _as_transfer(reply, road.source.name, "put in place")
    if road.link:
        shell.run(road.client, road.uuid, 'rm -f -- "$1"', road.link)


def _clean(road: _Road) -> None:
    """Remove what was sent; where even that fails it is left to the next upload into the same folder."""
    with suppress(EdgeLabError, KeyboardInterrupt):
        shell.run(
            road.client,
            road.uuid,
            'chmod -R u+rwx "$1" 2>/dev/null;rm -rf -- "$1" "$2"',
            road.temporary,
            road.link or road.temporary,
        )


def _as_transfer(reply: Reply, path: bytes, doing: str) -> None:
    try:
        scripts.check(reply, path, doing)
    except EdgeLabError as error:
        raise TransferError(error.message, hint=error.hint) from error
    raise AssertionError("only called for replies that are errors")
