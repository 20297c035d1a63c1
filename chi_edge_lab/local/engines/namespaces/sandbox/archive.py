"""Tar archives out of and into a tree, by a process whose root directory that tree is.

So links, `..` and absolute names resolve within the container whatever an archive says. Python's own
extraction is not used: its
filters are missing in 3.11.2 and older, and it stops at names and times that a container may well have.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is slow to import
    from typing import IO, Any

_CHUNK = 256 * 1024
_NO_FILES = ("/proc", "/sys", "/dev")  # no part of "/", as Docker sees it, but got when asked for by name
_MAX_TIME = 2**33  # seconds; tar's plain field ends there, and no file is younger
_DECOMPRESSORS = (bz2, lzma, zlib)  # tarfile imports them when it needs them, which is too late inside


class ArchiveError(Exception):
    """`kind` is "path" (not there, or not a directory), "limit" or "archive"; `str()` is a sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Limits:
    """How much one archive may hold; counted down."""

    def __init__(self, members: int, size: int) -> None:
        self.members = members
        self.bytes = size

    def take(self, size: int) -> None:
        """Count a member. Raises ArchiveError."""
        self.members -= 1
        self.bytes -= max(0, size)
        if self.members < 0:
            raise ArchiveError("limit", "the archive has more members than this site allows")
        if self.bytes < 0:
            raise ArchiveError("limit", "the archive has more bytes than this site allows")


# -- out


def get(path: str, out: int, limits: Limits, exclude: tuple[str, ...] = ()) -> dict[str, Any]:
    """Write a tar of `path` to the descriptor `out`, its base name on top. The fields of a PathStat. Raises
    ArchiveError, OSError.

    A link is not followed unless the path ends in `/` or `/.`, as Docker has it. `exclude` are paths left
    out, with all below.
    """
    full = "/" + path.lstrip("/")
    contents_only = full.endswith("/.")
    if full.endswith(("/", "/.")):
        try:
            full = os.path.realpath(full)
        except OSError as error:
            raise _not_there(path, error) from error
    try:
        found = os.lstat(full)
    except (OSError, ValueError) as error:
        raise _not_there(path, error) from error
    if path.endswith(("/", "/.")) and not stat.S_ISDIR(found.st_mode):
        raise ArchiveError("path", f"{path} is not a directory")
    name = os.path.basename(full.rstrip("/")) or "/"
    if full == "/":
        exclude = (*exclude, *_NO_FILES)
    top = "." if contents_only or name == "/" else name
    with (
        os.fdopen(out, "wb", closefd=False) as file,
        tarfile.open(
            fileobj=file,
            mode="w|",
            bufsize=_CHUNK,
            format=tarfile.GNU_FORMAT,  # names as they are, of any length and any bytes
            encoding="utf-8",
            errors="surrogateescape",
        ) as tar,
    ):
        packer = _Packer(tar, limits)
        for member_path, member_name, info in _walk(full, top, exclude):
            packer.add(member_path, member_name, info)
    return {
        "name": name,
        "size": found.st_size,
        "mode": found.st_mode,
        "mtime": found.st_mtime,
        "link_target": os.readlink(full) if stat.S_ISLNK(found.st_mode) else "",
    }


def _not_there(path: str, error: Exception) -> ArchiveError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ArchiveError("path", f"cannot find {path!r} in the container: {reason}")


def _walk(path: str, name: str, exclude: tuple[str, ...]) -> Iterator[tuple[str, str, os.stat_result]]:
    """The path and all below it, a directory before its entries; without recursion, trees may be deep."""
    waiting = [(path, name)]
    while waiting:
        here, called = waiting.pop()
        try:
            info = os.lstat(here)
        except FileNotFoundError:
            continue  # gone since its directory was read
        yield here, called, info
        if stat.S_ISDIR(info.st_mode):
            with os.scandir(here) as entries:
                names = sorted((entry.name for entry in entries), reverse=True)
            base = here.rstrip("/")
            waiting += [
                (f"{base}/{entry}", f"{called}/{entry}")
                for entry in names
                if f"{base}/{entry}" not in exclude
            ]


class _Packer:
    def __init__(self, tar: tarfile.TarFile, limits: Limits) -> None:
        self._tar = tar
        self._limits = limits
        self._links: dict[tuple[int, int], str] = {}

    def add(self, path: str, name: str, info: os.stat_result) -> None:
        member = tarfile.TarInfo(name)
        member.mode = stat.S_IMODE(info.st_mode)
        member.uid, member.gid = info.st_uid, info.st_gid
        member.mtime = max(0, min(int(info.st_mtime), _MAX_TIME))
        first = self._links.get((info.st_dev, info.st_ino)) if info.st_nlink > 1 else None
        if stat.S_ISDIR(info.st_mode):
            member.type = tarfile.DIRTYPE
        elif stat.S_ISLNK(info.st_mode):
            member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
        elif stat.S_ISFIFO(info.st_mode):
            member.type = tarfile.FIFOTYPE
        elif not stat.S_ISREG(info.st_mode):
            return  # sockets have no place in a tar, devices none in a container
        elif first is not None:
            member.type, member.linkname = tarfile.LNKTYPE, first
        else:
            self._add_file(path, member, info)
            return
        self._limits.take(0)
        self._tar.addfile(member)

    def _add_file(self, path: str, member: tarfile.TarInfo, info: os.stat_result) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # gone since its directory was read
        with os.fdopen(fd, "rb", buffering=0) as file:
            member.size = os.fstat(fd).st_size
            self._limits.take(member.size)
            self._tar.addfile(member, _Exactly(file, member.size))
        self._tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
        if info.st_nlink > 1:
            self._links[info.st_dev, info.st_ino] = member.name


class _Exactly:
    """Reads a file as long as its header says, whether it has grown or shrunk in the meantime."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = b""
        while len(data) < wanted:
            part = self._file.read(wanted - len(data))
            if not part:
                data += bytes(wanted - len(data))
            data += part
        self._left -= wanted
        return data


# -- in


def put(path: str, source: int, limits: Limits) -> dict[str, Any]:
    """Unpack the tar (perhaps compressed) that comes from the descriptor into the directory `path`.

    Raises ArchiveError, OSError.
    """
    try:
        base = os.path.realpath("/" + path.lstrip("/"))
        is_directory = stat.S_ISDIR(os.stat(base).st_mode)
    except (OSError, ValueError) as error:
        raise _not_there(path, error) from error
    if not is_directory:
        raise ArchiveError("path", f"{path!r} in the container is not a directory")
    unpacker = _Unpacker(base, limits)
    with os.fdopen(source, "rb", closefd=False) as file:
        if not file.peek(1):
            return {"members": 0}  # as Docker: nothing to unpack
        try:
            with tarfile.open(
                fileobj=file, mode="r|*", bufsize=_CHUNK, encoding="utf-8", errors="surrogateescape"
            ) as tar:
                while (member := tar.next()) is not None:
                    unpacker.add(tar, member)
                    tar.members.clear()  # type: ignore[attr-defined]  # else it keeps them all
        except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise ArchiveError("archive", f"this is not a whole tar archive: {error}") from error
        finally:
            unpacker.finish()
        while file.read(_CHUNK):
            pass  # padding: whoever writes it must not be stopped by a closed pipe
    return {"members": unpacker.count}


class _Unpacker:
    def __init__(self, base: str, limits: Limits) -> None:
        self._base = base
        self._limits = limits
        self._directories: list[tuple[str, tarfile.TarInfo]] = []
        self.count = 0

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        self._limits.take(member.size if member.isreg() else 0)
        self.count += 1
        target = self._place(member.name)
        if member.isdir():
            self._make_directory(target, member)
            return
        if target == self._base:
            raise ArchiveError("archive", f"the member {member.name!r} would replace the directory itself")
        if not (member.isreg() or member.issym() or member.islnk() or member.isfifo()):
            return  # devices: a container of ours has none but its own
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        _clear(target)
        if member.isreg():
            self._make_file(tar, member, target)
        elif member.issym():
            os.symlink(member.linkname, target)
        elif member.islnk():
            os.link(self._place(member.linkname), target, follow_symlinks=False)
            return  # mode and times are those of what it is linked to
        else:
            os.mkfifo(target, 0o600)
        _dress(target, member)

    def _place(self, name: str) -> str:
        parts = [part for part in name.split("/") if part not in {"", "."}]
        if ".." in parts:
            raise ArchiveError("archive", f"the member {name!r} leads out of the directory")
        return os.path.join(self._base, *parts)

    def _make_directory(self, target: str, member: tarfile.TarInfo) -> None:
        try:
            os.makedirs(target, mode=0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(target).st_mode):
                if os.path.isdir(target) and target != self._base:
                    return  # a link to a directory stays, as tar has it: /bin in many images
                os.unlink(target)
                os.mkdir(target, 0o755)
        self._directories.append((target, member))

    def _make_file(self, tar: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
        content = tar.extractfile(member)
        if content is None:
            raise ArchiveError("archive", f"the member {member.name!r} has no content")
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            left = member.size
            while left:
                data = content.read(min(_CHUNK, left))
                if not data:
                    raise ArchiveError("archive", f"the archive ends within {member.name!r}")
                left -= len(data)
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
        except BaseException:
            os.unlink(target)  # no half file
            raise
        finally:
            os.close(fd)

    def finish(self) -> None:
        """Directories get their mode and time last: entries change the one and may need another."""
        for target, member in reversed(self._directories):
            _dress(target, member)


def _clear(target: str) -> None:
    try:
        if stat.S_ISDIR(os.lstat(target).st_mode):
            os.rmdir(target)
        else:
            os.unlink(target)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ArchiveError(
            "archive", f"cannot replace {target!r} in the container: {error.strerror}"
        ) from error


def _dress(target: str, member: tarfile.TarInfo) -> None:
    # A user that is not mapped, as any but root without privileges.
    with contextlib.suppress(OSError, OverflowError):
        os.chown(target, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(target, stat.S_IMODE(member.mode))
    when = max(0, min(member.mtime, _MAX_TIME))
    os.utime(target, (when, when), follow_symlinks=False)
