"""Tars: small ones built for uploads, and what a container sends taken apart without trusting it.

Extraction follows the rules of tarfile's `data` filter on every Python (3.10 and Debian's 3.11.2 have no
filter, and the filter has had holes), and adds limits: names, links, devices, sizes, counts and depth are
checked before anything is written.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chi_edge_lab.core import paths
from chi_edge_lab.errors import TransferError

MEMBERS_LIMIT = 200_000
DEPTH_LIMIT = 200  # folders within folders
SIZE_LIMIT = 1 << 40  # bytes, where the caller knows no better
_NAMES_SHOWN = 5
MTIME_LATEST = 1 << 33  # the year 2242; later ones break utime on some file systems


@dataclass(frozen=True)
class Member:
    """One thing to put into a tar. `path` has no leading slash; `data` is a file's content, `target` a
    link's text.
    """

    path: bytes
    kind: str  # file, directory or link
    mode: int = 0o644
    mtime: int = 0
    data: bytes = b""
    target: bytes = b""


def build(members: list[Member], *, uid: int, gid: int, endless: bool = False) -> bytes:
    """An uncompressed tar (GNU format, as docker, GNU tar and busybox read it) with names of any bytes.

    `endless` is for a busybox tar on CHI@Edge: after the end of an archive it reads on until its input is
    closed, which that driver never does. So its archive ends with a block that is no header: busybox stops at
    once with an error, after having extracted everything, and the driver does not look at exit codes.
    """
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as tar:
        for member in members:
            info = tarfile.TarInfo(paths.to_text(member.path))
            info.uid, info.gid, info.uname, info.gname = uid, gid, "", ""
            info.mode = member.mode & 0o777
            info.mtime = max(0, min(member.mtime, MTIME_LATEST))
            if member.kind == "directory":
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            elif member.kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, paths.to_text(member.target)
                tar.addfile(info)
            else:
                info.size = len(member.data)
                tar.addfile(info, io.BytesIO(member.data))
        end = tar.offset
    if not endless:
        return buffer.getvalue()
    return buffer.getvalue()[:end] + b"\xff" * tarfile.BLOCKSIZE


def link_stays_inside(path: bytes, target: bytes) -> bool:
    """Whether a link at `path` (relative to a folder) with the text `target` leads to a place in that
    folder.
    """
    if not target or target.startswith(b"/") or b"\0" in target:
        return False
    depth = len([part for part in path.split(b"/")[:-1] if part not in {b"", b"."}])
    for part in target.split(b"/"):
        if part == b"..":
            depth -= 1
            if depth < 0:
                return False
        elif part not in {b"", b"."}:
            depth += 1
    return True


def member_path(name: bytes) -> bytes:
    """A member's name as a safe relative path ("" for the root itself). Raises TransferError for any
    other.
    """
    if name.startswith(b"/") or b"\0" in name:
        raise TransferError(
            f"The archive holds the absolute or broken path {paths.shown(name)}; nothing was written."
        )
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    if b".." in parts:
        raise TransferError(
            f"The archive holds {paths.shown(name)}, which leaves its folder; nothing was written."
        )
    if len(parts) > DEPTH_LIMIT:
        raise TransferError(f"The archive holds folders more than {DEPTH_LIMIT} deep; nothing was written.")
    if any(len(part) > paths.LONGEST_NAME for part in parts):
        raise TransferError("The archive holds a name of more than 255 bytes; nothing was written.")
    return b"/".join(parts)


def safe_mode(mode: int, *, directory: bool = False) -> int:
    """A mode for a file here: never setuid, setgid or sticky, never writable for others, always for the
    owner.
    """
    if directory:
        return 0o755
    kept = mode & 0o755 | 0o600
    return kept if mode & 0o100 else kept & ~0o111


def refuse(kind: str, names: list[bytes], hint: str = "") -> TransferError:
    """The error that names what is refused."""
    listed = ", ".join(paths.shown(name) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return TransferError(f"{kind}: {listed}{more}.", hint=hint)


def extract(
    archive: IO[bytes], into: Path, *, size_limit: int = SIZE_LIMIT, members_limit: int = MEMBERS_LIMIT
) -> int:
    """Extract a tar into the fresh, empty directory `into`; return the bytes written.

    Everything is checked first, then written: folders, files (new ones only), hard links as copies, and
    symbolic links last, so that nothing is ever written through a link. Raises TransferError; the caller
    removes `into`.
    """
    try:
        with tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            plan = _plan(tar, size_limit, members_limit)
            return _write(tar, plan, into)
    except tarfile.TarError as error:
        raise TransferError(f"The site sent an archive that is cut off or damaged ({error}).") from error
    except (EOFError, OverflowError, ValueError) as error:
        if isinstance(error, TransferError):
            raise
        raise TransferError(f"The site sent a damaged archive ({error}).") from error


def _members(tar: tarfile.TarFile, limit: int) -> Iterator[tarfile.TarInfo]:
    for count, info in enumerate(tar):
        if count >= limit:
            raise TransferError(f"The archive holds more than {limit} members; nothing was written.")
        yield info


def _plan(tar: tarfile.TarFile, size_limit: int, members_limit: int) -> dict[bytes, tarfile.TarInfo]:
    """path -> member, the last one of a name; everything that is refused is refused here."""
    plan: dict[bytes, tarfile.TarInfo] = {}
    outside: list[bytes] = []
    special: list[bytes] = []
    total = 0
    for info in _members(tar, members_limit):
        path = member_path(info.name.encode("utf-8", "surrogateescape"))
        if not path:
            if not info.isdir():
                raise TransferError(
                    "The archive's root is something other than a folder; nothing was written."
                )
            continue
        if info.issym() or info.islnk():
            if not _leads_inside(info, path, plan):
                outside.append(path)
        elif info.isreg():
            total += max(0, info.size)
            if info.size < 0 or total > size_limit:
                raise TransferError(
                    f"The archive unpacks to more than {size_limit} bytes; nothing was written."
                )
        elif not info.isdir():
            special.append(path)
        plan[path] = info
    if outside:
        raise refuse("The archive holds links that lead out of its folder", outside)
    if special:
        raise refuse("The archive holds devices, pipes or sockets", special)
    _check_parents(plan)
    return plan


def _leads_inside(info: tarfile.TarInfo, path: bytes, plan: dict[bytes, tarfile.TarInfo]) -> bool:
    target = info.linkname.encode("utf-8", "surrogateescape")
    return link_stays_inside(path, target) if info.issym() else member_path(target) in plan


def _check_parents(plan: dict[bytes, tarfile.TarInfo]) -> None:
    """Nothing may lie below a file or a link."""
    for path in plan:
        parent = path
        while parent := parent.rpartition(b"/")[0]:
            above = plan.get(parent)
            if above is not None and not above.isdir():
                raise TransferError(
                    f"The archive holds {paths.shown(path)} below {paths.shown(parent)}, which is no folder; "
                    "nothing was written."
                )


def _write(tar: tarfile.TarFile, plan: dict[bytes, tarfile.TarInfo], into: Path) -> int:
    written = 0
    links: list[tuple[Path, bytes]] = []
    for path, info in plan.items():
        place = into / paths.local(path)
        target = info.linkname.encode("utf-8", "surrogateescape")
        if info.isdir():
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            continue
        if info.issym():
            links.append((place, target))
            continue
        source = info
        for _ in range(DEPTH_LIMIT):  # a hard link may lead to a hard link
            if not source.islnk():
                break
            source = plan[member_path(source.linkname.encode("utf-8", "surrogateescape"))]
        if source.issym():
            links.append((place, source.linkname.encode("utf-8", "surrogateescape")))
            continue
        if not source.isreg():
            raise TransferError(f"The archive holds a hard link {paths.shown(path)} to what is no file.")
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        written += _copy(tar, source, place)
        place.chmod(safe_mode(info.mode))
        mtime = max(0, min(int(info.mtime), MTIME_LATEST))
        os.utime(place, (mtime, mtime))
    for place, target in links:
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        place.symlink_to(paths.local(target))
    return written


def _copy(tar: tarfile.TarFile, info: tarfile.TarInfo, place: Path) -> int:
    content = tar.extractfile(info)
    assert content is not None
    left = info.size
    with place.open("xb") as file:
        while left > 0:
            piece = content.read(min(left, 1 << 20))
            if not piece:
                raise TransferError("The site sent an archive that is cut off.")
            file.write(piece)
            left -= len(piece)
    return info.size


def contents(data: bytes) -> dict[bytes, bytes]:
    """path -> content of the files of a small tar. Raises TransferError as `extract`."""
    try:
        with tarfile.open(
            fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            found = {}
            for info in _members(tar, MEMBERS_LIMIT):
                file = tar.extractfile(info) if info.isreg() else None
                if file is not None:
                    found[member_path(info.name.encode("utf-8", "surrogateescape"))] = file.read()
            return found
    except (tarfile.TarError, EOFError) as error:
        raise TransferError(f"The site sent an archive that is cut off or damaged ({error}).") from error
