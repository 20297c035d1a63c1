"""The local side of transfers: what is to be uploaded, and the staging directory that a download goes
through.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat as stat_bits
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from typing_extensions import Self

from chi_edge_lab.core import archive, paths
from chi_edge_lab.errors import BadInput, TransferError

ITEMS_LIMIT = archive.MEMBERS_LIMIT
TEMPORARY = ".chi-edge-lab-"


@dataclass(frozen=True)
class Item:
    """One thing of a local source. `path` is relative to the folder that is uploaded (a single file's is
    its name).
    """

    path: bytes
    kind: str  # file, directory, link
    mode: int
    mtime: int
    size: int = 0
    target: bytes = b""
    local: bytes = b""  # where a file's content is; empty when `data` holds it
    data: bytes | None = None


@dataclass(frozen=True)
class Source:
    """What is uploaded: a file or a folder with its items, folders before what is in them."""

    name: bytes
    is_folder: bool
    items: list[Item]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(item.size for item in self.items)


def scan(source: str | os.PathLike[str]) -> Source:
    """Look at a local file or folder. A link given as the source itself is followed.

    Links in a folder are kept where they lead to a place in it. Raises TransferError (missing, unreadable,
    links that lead out, devices) and BadInput; nothing was sent then.
    """
    text = os.fspath(source)
    if not text:
        raise BadInput("The source is empty.")
    if "\0" in text:
        raise BadInput(f"The source {paths.shown(text)} holds a NUL character.")
    top = Path(text).expanduser()
    try:
        resolved = top.resolve(strict=True)
        status = resolved.stat()
    except FileNotFoundError:
        raise TransferError(f"There is no {paths.shown(text)} here, so nothing was uploaded.") from None
    except (OSError, RuntimeError) as error:
        raise TransferError(f"{paths.shown(text)} cannot be read: {_why(error)}.") from error
    name = os.fsencode(top.name if top.name not in {"", ".", ".."} else resolved.name)
    if stat_bits.S_ISREG(status.st_mode):
        _readable(resolved)
        return Source(name, False, [_file(name, os.fsencode(resolved), status)])
    if not stat_bits.S_ISDIR(status.st_mode):
        raise TransferError(f"{paths.shown(text)} is neither a file nor a folder.")
    if not name:
        raise BadInput("The root directory cannot be uploaded as a whole.")
    return Source(name, True, list(_walk(os.fsencode(resolved))))


def _walk(top: bytes) -> Iterator[Item]:
    outside: list[bytes] = []
    special: list[bytes] = []
    count = 0
    root = paths.local(top).stat()
    yield Item(b"", "directory", root.st_mode & 0o777, int(root.st_mtime))
    pending = [b""]
    while pending:
        below = pending.pop()
        try:
            with os.scandir(paths.join(top, below) if below else top) as found:
                children = sorted(found, key=lambda child: child.name)
        except OSError as error:
            raise TransferError(
                f"The folder {paths.shown(below or top)} cannot be read: {_why(error)}."
            ) from error
        for child in children:
            count += 1
            if count > ITEMS_LIMIT:
                raise TransferError(
                    f"The folder holds more than {ITEMS_LIMIT} files.",
                    hint="Pack it into one archive file first.",
                )
            path = paths.join(below, child.name) if below else child.name
            status = child.stat(follow_symlinks=False)
            if child.is_symlink():
                target = os.fsencode(paths.local(child.path).readlink())
                if not archive.link_stays_inside(path, target):
                    outside.append(path)
                yield Item(path, "link", 0o777, int(status.st_mtime), target=target)
            elif child.is_dir(follow_symlinks=False):
                pending.append(path)
                yield Item(path, "directory", status.st_mode & 0o777, int(status.st_mtime))
            elif stat_bits.S_ISREG(status.st_mode):
                yield _file(path, child.path, status)
            else:
                special.append(path)
    if outside:
        raise archive.refuse(
            "The folder holds links that lead out of it",
            outside,
            "Replace them by what they lead to, or leave them out.",
        )
    if special:
        raise archive.refuse("The folder holds devices, pipes or sockets", special, "Leave them out.")


def _file(path: bytes, local: bytes, status: os.stat_result) -> Item:
    return Item(path, "file", status.st_mode & 0o777, int(status.st_mtime), size=status.st_size, local=local)


def _readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise TransferError(f"{paths.shown(str(path))} cannot be read: {_why(error)}.") from error


def read_pieces(item: Item, piece: int) -> Iterator[bytes]:
    """A file's content in pieces of `piece` bytes, exactly `item.size` in all. Raises TransferError when
    it has changed meanwhile.
    """
    if item.data is not None:
        for start in range(0, len(item.data), piece):
            yield item.data[start : start + piece]
        return
    left = item.size
    try:
        with paths.local(item.local).open("rb", buffering=0) as file:
            while left:
                data = _read_full(file.read, min(piece, left))
                if not data:
                    raise TransferError(f"{paths.shown(item.path)} became shorter while it was read.")
                left -= len(data)
                yield data
    except OSError as error:
        if isinstance(error, TransferError):
            raise
        raise TransferError(f"{paths.shown(item.path)} cannot be read: {_why(error)}.") from error


def _read_full(read: Callable[[int], bytes | None], size: int) -> bytes:
    data = read(size) or b""
    while len(data) < size:
        more = read(size - len(data))
        if not more:
            break
        data += more
    return data


class Staging:
    """A fresh private directory beside the destination. What is whole moves out of it with `place`; the
    rest goes with it.
    """

    def __init__(self, dest: str | os.PathLike[str]) -> None:
        text = os.fspath(dest)
        if not text or "\0" in text:
            raise BadInput(f"{text!r} is not a path.")
        self.dest = Path(text).expanduser()
        try:
            self.dest.mkdir(parents=True, exist_ok=True)
            self.path = self.dest / f"{TEMPORARY}{secrets.token_hex(8)}"
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            raise TransferError(f"The destination {paths.shown(text)} is a file, not a folder.") from None
        except NotADirectoryError:
            raise TransferError(f"The destination {paths.shown(text)} lies below a file.") from None
        except OSError as error:
            raise TransferError(
                f"The destination {paths.shown(text)} cannot be written: {_why(error)}."
            ) from error

    def free_bytes(self) -> int:
        """Bytes free where the destination is."""
        return shutil.disk_usage(self.path).free

    def place(self, name: bytes) -> Path:
        """Move the staged `name` to the destination: a file replaces a file, a folder is merged into one that
        exists.

        What stands in the way (a folder for a file, a link for a folder) is found before anything is moved;
        then TransferError is raised.
        """
        source, target = self.path / paths.local(name), self.dest / paths.local(name)
        _refuse(list(_conflicts(source, target)))
        _merge(source, target)
        return target

    def place_content(self, name: bytes) -> Path:
        """As `place`, but what is in the staged folder `name` goes straight into the destination."""
        pairs = [(child, self.dest / child.name) for child in (self.path / paths.local(name)).iterdir()]
        _refuse([path for source, target in pairs for path in _conflicts(source, target)])
        for source, target in pairs:
            _merge(source, target)
        return self.dest

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def _refuse(conflicts: list[Path]) -> None:
    if conflicts:
        names = [os.fsencode(path) for path in conflicts]
        raise archive.refuse(
            "At the destination, things of another kind stand in the way", names, "Nothing was changed."
        )


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _conflicts(source: Path, target: Path) -> Iterator[Path]:
    if not os.path.lexists(target):
        return
    if not _is_folder(source):
        if _is_folder(target):
            yield target
    elif not _is_folder(target):
        yield target
    else:
        for child in source.iterdir():
            yield from _conflicts(child, target / child.name)


def _merge(source: Path, target: Path) -> None:
    if _is_folder(source) and _is_folder(target):
        for child in list(source.iterdir()):
            _merge(child, target / child.name)
    else:
        source.replace(target)


def _why(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
