"""What an upload consists of, checked before anything is received."""

from __future__ import annotations

from dataclasses import dataclass

from chi_edge_lab.core import archive, paths
from chi_edge_lab.errors import BadInput, TransferError
from chi_edge_lab.server.failures import LimitReached
from chi_edge_lab.server.limits import EdgeLabLimits
from chi_edge_lab.server.transfers.models import TransferBody, UploadFile


@dataclass(frozen=True)
class Plan:
    """The tree that will come. Paths are relative to the folder `name`, or b"" alone for a file."""

    name: bytes
    is_folder: bool
    directories: list[bytes]  # parents before what is in them
    files: dict[bytes, UploadFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def plan_of(body: TransferBody, limits: EdgeLabLimits) -> Plan:
    """The plan of an upload's request.

    Raises:
        BadInput: it cannot be.
        LimitReached: it is more than this server takes.
    """
    if body.paths:
        raise BadInput("An upload has files and directories, no paths.")
    paths.checked(body.path)
    name = paths.checked_name(body.name)
    if len(body.files) + len(body.directories) > limits.transfer_files:
        raise LimitReached(
            f"An upload may hold {limits.transfer_files} files and folders.",
            hint="Pack it into one archive file first, or raise c.EdgeLabLimits.transfer_files.",
        )
    is_folder = not (len(body.files) == 1 and not body.files[0].path and not body.directories)
    files: dict[bytes, UploadFile] = {}
    folders: set[bytes] = set()
    for directory in body.directories:
        raw = _relative(directory)
        folders.add(raw)
        folders.update(_above(raw))
    for file in body.files:
        raw = _relative(file.path) if is_folder else b""
        if raw in files:
            raise BadInput(f"{paths.shown(raw)} is there twice.")
        files[raw] = file
        if is_folder:
            folders.update(_above(raw))
    both = folders & files.keys()
    if both:
        raise BadInput(f"{paths.shown(min(both))} is a file and a folder.")
    plan = Plan(name, is_folder, sorted(folders), files)
    if limits.transfer_bytes is not None and plan.size > limits.transfer_bytes:
        raise LimitReached(
            f"A transfer may have {limits.transfer_bytes} bytes; this one has {plan.size}.",
            hint="Raise c.EdgeLabLimits.transfer_bytes.",
        )
    return plan


def _relative(path: str) -> bytes:
    raw = paths.to_bytes(path)
    try:
        fits = bool(raw) and archive.member_path(raw) == raw
    except TransferError as error:
        raise BadInput(f"{paths.shown(raw)} is not a path below the folder ({error.message})") from None
    if not fits:
        raise BadInput(f"{paths.shown(raw)} is not a plain path below the folder.")
    return raw


def _above(path: bytes) -> list[bytes]:
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(1, len(parts))]
