"""How a transfer moves between the spool and the container: in a thread of its own pool."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chi_edge_lab import errors
from chi_edge_lab.core import files, paths, transfer
from chi_edge_lab.core.progress import Progress
from chi_edge_lab.server.failures import LimitReached
from chi_edge_lab.server.transfers import zipped
from chi_edge_lab.server.transfers.spool import Leftover, Spool
from chi_edge_lab.server.transfers.transfer import Transfer
from chi_edge_lab.zun import Client

if TYPE_CHECKING:
    from chi_edge_lab.server.limits import EdgeLabLimits

_FILE_MODE = 0o644
_NO_LIMIT = 1 << 62


def look(client: Client, uuid: str, dest: str) -> None:
    """Pass when `dest` is a folder of the container, so that nobody sends a gigabyte for nothing. Blocks.

    Raises:
        TransferError and as `files.stat`: it is not.
    """
    try:
        found = files.stat(client, uuid, dest, follow=True)
    except (errors.NoShell, errors.InvalidState):
        if client.dialect.archive_runs_tar:
            raise
        return  # this site unpacks archives itself, also where nothing runs
    if found.kind != "directory":
        raise errors.TransferError(
            f"The destination {paths.shown(dest)} is a file in the container; it must be a folder."
        )


def prepare(one: Transfer) -> None:
    """Make the folders and the empty files of an upload in the spool. Blocks. Raises TransferError."""
    assert one.plan is not None
    try:
        one.place.mkdir(mode=0o700)
        if one.plan.is_folder:
            one.top.mkdir()
        for directory in one.plan.directories:
            (one.top / paths.local(directory)).mkdir()
        for file in one.incoming.values():
            if not file.wanted.size:
                file.write(0, b"")
    except OSError as error:
        raise errors.TransferError(
            f"The Jupyter server cannot keep this upload: {error.strerror or error}."
        ) from error


def send(one: Transfer, spool: Spool, told: Callable[[Progress], None]) -> Leftover | None:
    """Upload from the spool; gives what may still lie in the container where that could not be removed. Blocks.

    Raises:
        Undone: as `transfer.upload`, with the same `Leftover`.
    """
    token = transfer.new_token()
    left = Leftover(one.site, one.call.project, one.call.uuid, one.path, token)
    for file in one.incoming.values():
        mode = _FILE_MODE if file.wanted.mode is None else file.wanted.mode
        file.local.chmod(mode | 0o400)  # what comes from a person's machine must be readable here
        if file.wanted.mtime is not None:
            os.utime(file.local, (file.wanted.mtime, file.wanted.mtime))
    one.top.chmod(one.top.stat().st_mode | _FILE_MODE)
    spool.note(left)
    try:
        transfer.upload(
            one.client,
            one.call.uuid,
            one.top,
            one.path,
            token=token,
            on_progress=told,
            cancel=one.cancel.is_set,
        )
    except BaseException as error:
        raise Undone(error, None if _discarded(one, left, spool) else left) from error
    spool.forget(left)
    return None


def _discarded(one: Transfer, left: Leftover, spool: Spool) -> bool:
    try:
        transfer.discard(one.client, one.call.uuid, one.path, left.token)
    except (errors.NotFound, errors.ContainerGone, errors.NoShell, errors.BadInput):
        pass  # nothing is left where there is no container, and a site that unpacks by itself makes no such directory
    except errors.EdgeLabError:
        return False
    spool.forget(left)
    return True


class Undone(Exception):
    """An upload did not finish; `error` says why, `left` what may lie in the container."""

    def __init__(self, error: BaseException, left: Leftover | None) -> None:
        super().__init__(str(error))
        self.error = error
        self.left = left


def fetch(one: Transfer, spool: Spool, limits: EdgeLabLimits, told: Callable[[Progress, int], None]) -> None:
    """Download into the spool, each source into a directory of its own. Blocks. Raises as `transfer.download`."""
    spool.remove(one.id)
    one.place.mkdir(mode=0o700)
    moved = count = 0
    refused: list[LimitReached] = []

    def hear(progress: Progress) -> None:
        most = min(one for one in (limits.transfer_bytes, limits.spool_bytes, _NO_LIMIT) if one is not None)
        if moved + (progress.total or 0) > most:
            refused.append(LimitReached(f"A transfer may have {most} bytes.", hint="Download less at once."))
        if len(one.sources) == 1 and progress.total is not None:
            one.total = one.size = progress.total
        told(progress, moved)

    for number, source in enumerate(one.sources):
        try:
            result = transfer.download(
                one.client, one.call.uuid, source, one.place / f"{number:06d}",
                on_progress=hear, cancel=lambda: one.cancel.is_set() or bool(refused),
            )  # fmt: skip
        except errors.Cancelled:
            if refused and not one.cancel.is_set():
                raise refused[0] from None
            raise
        moved, count = moved + result.size, count + result.files
    one.size, one.files = moved, count
    roots = roots_of(one)
    one.notes = [] if single(one) else zipped.notes_of(roots)


def roots_of(one: Transfer) -> list[Path]:
    """The directories of the spool that hold what was downloaded."""
    return sorted(one.place.iterdir())


def single(one: Transfer) -> Path | None:
    """The one file that was downloaded; None where it is a folder or several."""
    found = [path for root in roots_of(one) for path in root.iterdir()]
    return found[0] if len(found) == 1 and found[0].is_file() and not found[0].is_symlink() else None
