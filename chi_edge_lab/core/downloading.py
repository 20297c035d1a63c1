"""The road of a download.

The tree is listed first; then small files come several to an exec and large ones in pieces, each with its
sha256 from the container, into a staging directory beside the destination. Only execs are used (a single
file's archive is empty on CHI@Edge, and no site streams one). Where nothing can be run in the container,
docker sites give one archive of bounded size.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chi_edge_lab.core import archive, blind, bulk, files, paths, scripts, shell
from chi_edge_lab.core.listing import Entry
from chi_edge_lab.core.localtree import Staging
from chi_edge_lab.core.progress import Reporter
from chi_edge_lab.core.result import TransferResult
from chi_edge_lab.core.shell import Reply
from chi_edge_lab.errors import (
    Cancelled,
    EdgeLabError,
    ExecTimeout,
    FileError,
    InvalidState,
    NoShell,
    TransferError,
)  # fmt: skip

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

PIECE = 4 << 20  # bytes of one exec at most
PIECE_SMALLEST = 64 << 10  # over a link so slow that larger pieces run into the site's exec limit
_BATCH_NAMES = 60_000  # characters of names in one exec
_BATCH_FILES = 400
_RETRIES = 3

# Checksums of "$@" (one line each, nothing where there is no tool), an empty line, then their content in a
# row
_BATCH = f"""cd -P -- "$1"||exit {scripts.MISSING}
shift;command -v sha256sum >/dev/null&&for f;do sha256sum <"$f" 2>&1||exit {scripts.FAILED};done;echo
cat -- "$@" 2>&1||exit {scripts.FAILED}"""
# sha256 of the first $2 bytes of $1
_SUM = f"""command -v sha256sum >/dev/null||exit {scripts.NO_TOOL}
head -c $2 <"$1"|sha256sum|cut -c1-64"""


@dataclass
class _Job:
    client: Client
    uuid: str
    root: bytes  # the real path of what is downloaded
    staging: Staging
    reporter: Reporter
    total: int
    done: int = 0
    piece: int = PIECE
    by_sums: bool = True

    def count(self, size: int) -> None:
        self.done += size
        self.reporter.report("receiving", "receiving", done=min(self.done, self.total), total=self.total)


def download(
    client: Client,
    uuid: str,
    source: str,
    dest: str | os.PathLike[str],
    reporter: Reporter,
    began: float,
    *,
    content_only: bool = False,
) -> TransferResult:
    """See `transfer.download`."""
    raw = paths.checked(source)
    reporter.report("checking", "looking at the source")
    reporter.check("Nothing was downloaded.")
    unchanged = f"{paths.shown(os.fspath(dest))} is as it was"
    why: EdgeLabError | None = None
    real = raw
    entries: list[Entry] = []
    try:
        real, entries = _look(client, uuid, raw, reporter)
    except (NoShell, InvalidState) as error:
        if client.dialect.archive_runs_tar:
            raise
        why = error
    except FileError as error:
        raise TransferError(error.message, hint=error.hint) from error
    with Staging(dest) as staging:
        try:
            if why is not None:
                return blind.download(client, uuid, raw, staging, began, why, content_only=content_only)
            return _fetch(
                client,
                uuid,
                real,
                blind.local_name(raw, real),
                entries,
                staging,
                reporter,
                began,
                content_only,
            )
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"The download was interrupted; {unchanged}.") from None
        except Cancelled:
            raise Cancelled(f"The download was cancelled; {unchanged}.") from None
        except OSError as error:
            if isinstance(error, EdgeLabError):
                raise
            raise TransferError(
                f"The download could not be written here: {error.strerror or error}; {unchanged}."
            ) from error


def _look(client: Client, uuid: str, raw: bytes, reporter: Reporter) -> tuple[bytes, list[Entry]]:
    """The real path and what is there: one entry for a file, the tree (its first named ".") for a folder."""
    real = files.real_path(client, uuid, raw)
    entry = files.stat(client, uuid, paths.to_text(real))
    if entry.kind == "directory":
        return real, files.tree(client, uuid, paths.to_text(real), cancel=reporter.cancel)
    if entry.kind != "file":
        scripts.check(Reply(b"", scripts.SPECIAL), raw, "download")
    return real, [entry]


def _fetch(
    client: Client,
    uuid: str,
    real: bytes,
    name: bytes,
    entries: list[Entry],
    staging: Staging,
    reporter: Reporter,
    began: float,
    content_only: bool,
) -> TransferResult:
    is_folder = entries[0].kind == "directory"
    _refuse(entries if is_folder else [])
    regular = [entry for entry in entries if entry.kind == "file"]
    total = sum(entry.size or 0 for entry in regular)
    free = staging.free_bytes()
    if total > free:
        raise TransferError(
            f"There is not enough space here: {total} bytes are to be downloaded and {free} are free."
        )
    job = _Job(client, uuid, real, staging, reporter, total)
    reporter.report("receiving", "receiving", done=0, total=total)
    top = staging.path / paths.local(archive.member_path(name))
    digest = None
    if is_folder:
        top.mkdir()
        for entry in entries[1:]:
            if entry.kind == "directory":
                _place(top, entry).mkdir(parents=True, exist_ok=True)
        _fetch_many(job, top, regular)
        for entry in entries[1:]:
            if entry.kind == "link":
                _place(top, entry).symlink_to(paths.local(paths.to_bytes(entry.target or "")))
    else:
        digest = _fetch_large(job, real, entries[0], top)
    reporter.check("")
    reporter.report("placing", "moving into place")
    placed = staging.place_content(name) if content_only and is_folder else staging.place(name)
    reporter.report("done", "downloaded and verified", done=total, total=total)
    return TransferResult(
        str(placed),
        len(regular),
        job.done,
        time.monotonic() - began,
        "sha256" if job.by_sums else "read back",
        digest,
    )


def _refuse(entries: list[Entry]) -> None:
    if len(entries) > archive.MEMBERS_LIMIT:
        raise TransferError(
            f"The folder holds more than {archive.MEMBERS_LIMIT} files.",
            hint="Pack it into one archive file first.",
        )
    outside, special = [], []
    seen: set[bytes] = set()
    for entry in entries[1:]:
        path = paths.to_bytes(entry.name)
        if archive.member_path(path) != path or path in seen:
            raise TransferError(
                f"The container lists the impossible path {paths.shown(path)}; nothing was downloaded."
            )
        seen.add(path)
        if entry.kind == "link" and not archive.link_stays_inside(path, paths.to_bytes(entry.target or "")):
            outside.append(path)
        elif entry.kind not in {"file", "directory", "link"}:
            special.append(path)
    if outside:
        raise archive.refuse(
            "The folder holds links that lead out of it",
            outside,
            "Remove them, or download what they lead to by itself.",
        )
    if special:
        raise archive.refuse(
            "The folder holds devices, pipes or sockets",
            special,
            "Remove them, or download the rest by itself.",
        )


def _place(top: Path, entry: Entry) -> Path:
    return top / paths.local(archive.member_path(paths.to_bytes(entry.name)))


# -- many files -----------------------------------------------------------------------------------


def _fetch_many(job: _Job, top: Path, entries: list[Entry]) -> None:
    small: list[Entry] = []
    for entry in entries:
        path = paths.join(job.root, paths.to_bytes(entry.name))
        # what has no size (/proc, /sys) or an unknown one is read by itself
        if not entry.size or entry.size > PIECE // 4:
            if entry.size == 0 and not job.root.startswith((b"/proc", b"/sys")):
                small.append(entry)
            else:
                _fetch_large(job, path, entry, _place(top, entry))
        else:
            small.append(entry)
    for batch in _batches(small):
        _fetch_batch(job, top, batch)


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = names = 0
    for entry in entries:
        length = len(shell.encode_argument(entry.name)) * 2 + 8
        if batch and (
            size + (entry.size or 0) > PIECE or names + length > _BATCH_NAMES or len(batch) >= _BATCH_FILES
        ):
            yield batch
            batch, size, names = [], 0, 0
        batch.append(entry)
        size, names = size + (entry.size or 0), names + length
    if batch:
        yield batch


def _fetch_batch(job: _Job, top: Path, batch: list[Entry]) -> None:
    """Several small files with one exec; when they do not come out as they were listed, each by itself."""
    job.reporter.check("")
    names = [b"./" + paths.to_bytes(entry.name) for entry in batch]
    try:
        reply = shell.run(job.client, job.uuid, _BATCH, job.root, *names)
    except ExecTimeout:
        reply = Reply(b"", scripts.FAILED)
    if reply.code == 0:
        lines, content = _split_batch(reply.output)
        if len(content) == sum(entry.size or 0 for entry in batch) and len(lines) in {0, len(batch)}:
            position, right = 0, True
            parts = []
            for index, entry in enumerate(batch):
                data = content[position : position + (entry.size or 0)]
                position += len(data)
                parts.append(data)
                right = right and bool(lines) and hashlib.sha256(data).hexdigest().encode() == lines[index]
            if right:
                for entry, data in zip(batch, parts, strict=True):
                    place = _place(top, entry)
                    place.write_bytes(data)
                    _finish_file(place, entry)
                    job.count(len(data))
                return
    for entry in batch:
        _fetch_large(job, paths.join(job.root, paths.to_bytes(entry.name)), entry, _place(top, entry))


def _split_batch(output: bytes) -> tuple[list[bytes], bytes]:
    """The checksum lines up to the empty one, and the content after it."""
    lines: list[bytes] = []
    while True:
        line, found, output = output.partition(b"\n")
        if not line or not found:
            return lines, output
        lines.append(line[:64])


# -- one file -------------------------------------------------------------------------------------


def _fetch_large(job: _Job, path: bytes, entry: Entry, place: Path) -> str:
    """One file in pieces, to the size that it has now; what is appended while it is read is left out.
    Gives its sha256.
    """
    for attempt in range(_RETRIES):
        before = job.done
        digest, size = hashlib.sha256(), 0
        with place.open("wb") as file:
            for data in _pieces(job, path):
                file.write(data)
                digest.update(data)
                size += len(data)
                job.count(len(data))
        found = _remote_sum(job, path, size)
        if found is None:
            job.by_sums = False
            found = _sum_by_reading(job, path, size)
        if found == digest.hexdigest() or path.startswith((b"/proc/", b"/sys/")):
            _finish_file(place, entry)
            return digest.hexdigest()
        job.done = before
        job.reporter.check("")
        if attempt + 1 < _RETRIES:
            job.reporter.sleep(0.2, "")
    raise TransferError(
        f"{paths.shown(path)} changed each time it was read, so that it could not be verified.",
        hint="Stop what is writing to it, or download a copy of it.",
    )


def _pieces(job: _Job, path: bytes) -> Iterator[bytes]:
    offset, whole = 0, None
    while whole is None or offset < whole:
        job.reporter.check("")
        wanted = job.piece if whole is None else min(job.piece, whole - offset)
        began = time.monotonic()
        try:
            data, size = files.read_piece(job.client, job.uuid, path, offset, wanted)
        except ExecTimeout:
            if job.piece <= PIECE_SMALLEST:
                raise
            job.piece = max(PIECE_SMALLEST, job.piece // 4)
            continue
        except FileError as error:
            raise TransferError(error.message, hint=error.hint) from error
        if whole is None:
            whole = size or len(data)
            if size > job.staging.free_bytes():
                raise TransferError(f"There is not enough space here for {paths.shown(path)} ({size} bytes).")
            data = data[:whole]
        if not data and offset < whole:
            raise TransferError(f"{paths.shown(path)} became shorter while it was read.")
        offset += len(data)
        yield data
        if time.monotonic() - began > job.client.dialect.exec_seconds / 2:
            job.piece = max(PIECE_SMALLEST, job.piece // 2)  # close to the limit


def _remote_sum(job: _Job, path: bytes, size: int) -> str | None:
    """sha256 of the file's first `size` bytes in the container; None where there is no tool."""
    reply = bulk.run(job.client, job.uuid, _SUM, path, str(size), cancel=job.reporter.cancel)
    if reply.code == scripts.NO_TOOL:
        return None
    return reply.output.strip().decode("ascii", "replace")


def _sum_by_reading(job: _Job, path: bytes, size: int) -> str:
    digest, offset = hashlib.sha256(), 0
    while offset < size:
        job.reporter.check("")
        data, _ = files.read_piece(job.client, job.uuid, path, offset, min(job.piece, size - offset))
        if not data:
            break
        digest.update(data)
        offset += len(data)
    return digest.hexdigest()


def _finish_file(place: Path, entry: Entry) -> None:
    place.chmod(archive.safe_mode(entry.mode if entry.mode is not None else 0o644))
    if entry.mtime is not None and 0 <= entry.mtime < archive.MTIME_LATEST:
        os.utime(place, (entry.mtime, entry.mtime))
