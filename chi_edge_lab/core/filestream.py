"""One file of a container read as a stream of verified pieces, without a copy of it here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chi_edge_lab.core import files, paths, scripts
from chi_edge_lab.core.listing import Entry
from chi_edge_lab.core.shell import Reply
from chi_edge_lab.errors import ExecTimeout, TransferError

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

PIECE = 2 << 20  # bytes of one exec
_SMALLEST = 64 << 10  # over a link so slow that larger pieces run into the site's exec limit


@dataclass
class FileStream:
    """A file from byte `start` to before `end`. Blocks; one caller at a time.

    The last piece comes only after the checksum of all that was given fits what the container computes: who waits for
    every byte never takes a damaged file for a whole one.
    """

    client: Client
    uuid: str
    raw: bytes
    entry: Entry
    start: int
    end: int
    _position: int = 0
    _piece: int = PIECE
    _first: bytes | None = None  # of a file without a size (/proc), all of it
    _sum: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def name(self) -> str:
        """The file's name."""
        return paths.to_text(self.raw.rpartition(b"/")[2])

    @property
    def etag(self) -> str:
        """A word for the state the file is in."""
        return f'"{self.entry.mtime}-{self.entry.size}"'

    def narrow(self, start: int, end: int) -> None:
        """Read only the bytes from `start` to before `end`."""
        self.start = self._position = start
        self.end = end

    def read(self) -> bytes:
        """The next piece; b"" at the end. Raises TransferError when the file has changed, and as `files.read_piece`."""
        if self._first is not None:
            data, self._first = self._first[self._position : self.end], b""
            return data
        if self._position >= self.end:
            return b""
        while True:
            wanted = min(self._piece, self.end - self._position)
            try:
                data, _ = files.read_piece(self.client, self.uuid, self.raw, self._position, wanted)
                break
            except ExecTimeout:
                if self._piece <= _SMALLEST:
                    raise
                self._piece = max(_SMALLEST, self._piece // 4)
        if not data:
            raise TransferError(f"{paths.shown(self.raw)} became shorter while it was read.")
        self._position += len(data)
        self._sum.update(data)
        if self._position >= self.end:
            self._verify()
        return data

    def _verify(self) -> None:
        size = self.end - self.start
        found = files.checksum(self.client, self.uuid, self.raw, offset=self.start, size=size)
        if found is None:
            found = self._sum_again()
        if found != self._sum.hexdigest():
            raise TransferError(
                f"{paths.shown(self.raw)} changed while it was read, or was damaged on the way.",
                hint="Stop what is writing to it, or download a copy of it.",
            )

    def _sum_again(self) -> str:
        digest, position = hashlib.sha256(), self.start
        while position < self.end:
            data, _ = files.read_piece(
                self.client, self.uuid, self.raw, position, min(self._piece, self.end - position)
            )
            if not data:
                break
            digest.update(data)
            position += len(data)
        return digest.hexdigest()


def open_file(client: Client, uuid: str, path: str) -> FileStream:
    """A file (links followed), to be read from its beginning to the size it has now. Raises as `files.stat`."""
    raw = files.real_path(client, uuid, paths.checked(path))
    entry = files.stat(client, uuid, paths.to_text(raw))
    if entry.kind != "file":
        code = scripts.IS_DIRECTORY if entry.kind == "directory" else scripts.SPECIAL
        scripts.check(Reply(b"", code), raw, "read")
    if entry.size:
        return FileStream(client, uuid, raw, entry, 0, entry.size)
    data, size = files.read_piece(client, uuid, raw, 0, PIECE)
    if size:  # it has grown in the meantime, or the image has no stat
        return FileStream(client, uuid, raw, entry, 0, size)
    return FileStream(client, uuid, raw, entry, 0, len(data), _first=data)
