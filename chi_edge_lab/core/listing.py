"""Pure parsers of what the scripts of `files` print: directory listings, stats, links."""

from __future__ import annotations

import stat as stat_bits
from collections.abc import Iterator
from dataclasses import dataclass

from chi_edge_lab.core import paths

# One line for each path: mode (hex), size, mtime, uid, gid, hard links, path. GNU, busybox and toybox know
# these.
STAT_FORMAT = "%f %s %Y %u %g %h %n"
_META_FIELDS = 6

_KINDS = {
    stat_bits.S_IFREG: "file",
    stat_bits.S_IFDIR: "directory",
    stat_bits.S_IFLNK: "link",
    stat_bits.S_IFIFO: "fifo",
    stat_bits.S_IFSOCK: "socket",
    stat_bits.S_IFCHR: "device",
    stat_bits.S_IFBLK: "device",
}


@dataclass(frozen=True)
class Entry:
    """A thing in a directory. `name` holds any bytes (surrogateescape).

    `kind` is file, directory, link, fifo, socket, device or unknown. `size` is in bytes and `mtime` in
    seconds since 1970; both are None where the image has no `stat`. `target` is a link's text, `target_kind`
    what it leads to ("" when to nothing).
    """

    name: str
    kind: str
    size: int | None = None
    mode: int | None = None
    mtime: int | None = None
    uid: int | None = None
    gid: int | None = None
    target: str | None = None
    target_kind: str = ""

    @property
    def is_directory(self) -> bool:
        """A directory, or a link that leads to one."""
        return "directory" in {self.kind, self.target_kind}


Links = dict[bytes, tuple[str, bytes]]  # path -> (what it leads to, its text)


def parse_meta(meta: bytes, name: bytes, links: Links) -> Entry:
    """An entry from the fields of STAT_FORMAT before the path. Raises ValueError where they are something
    else.
    """
    fields = meta.split(b" ")
    if len(fields) != _META_FIELDS:
        raise ValueError(f"not a line of stat: {meta[:80]!r}")
    mode = int(fields[0], 16)
    size, mtime, uid, gid = (int(field) for field in fields[1:5])
    kind = _KINDS.get(stat_bits.S_IFMT(mode), "unknown")
    target_kind, target = links.get(name, ("", None)) if kind == "link" else ("", None)
    return Entry(
        paths.to_text(name), kind, size, stat_bits.S_IMODE(mode), mtime, uid, gid,
        None if target is None else paths.to_text(target), target_kind,
    )  # fmt: skip


def parse_links(data: bytes) -> tuple[Links, bytes]:
    """Read `path NUL kind NUL text NUL` up to an empty path; give the links and the rest. ValueError when
    cut off.
    """
    links: Links = {}
    while True:
        path, found, rest = data.partition(b"\0")
        if not found:
            raise ValueError("the list of links is cut off")
        if not path:
            return links, rest
        kind, _, rest = rest.partition(b"\0")
        target, found, data = rest.partition(b"\0")
        if not found:
            raise ValueError("the list of links is cut off")
        links[path.removeprefix(b"./")] = (_LEADS_TO.get(kind, ""), target)


_LEADS_TO = {b"d": "directory", b"f": "file", b"o": "other"}


class DirectoryParser:
    """Lines of STAT_FORMAT for the `./name`s of one directory, fed in pieces cut anywhere.

    A name may hold newlines and anything else, but never a slash; so each slash in the text begins a name,
    and the last newline before the next slash ends it.
    """

    def __init__(self, links: Links | None = None) -> None:
        self._links = links or {}
        self._rest = b""
        self._meta: bytes | None = None

    def feed(self, piece: bytes) -> list[Entry]:
        """The entries that are whole by now."""
        *tokens, self._rest = (self._rest + piece).split(b"/")
        return [entry for token in tokens for entry in self._token(token)]

    def end(self) -> list[Entry]:
        """The last entry. Raises ValueError when the text was cut off."""
        if self._meta is None:
            if self._rest:
                raise ValueError("the listing is cut off")
            return []
        if not self._rest.endswith(b"\n"):
            raise ValueError("the listing is cut off")
        return [parse_meta(self._meta, self._rest[:-1], self._links)]

    def _token(self, token: bytes) -> Iterator[Entry]:
        if self._meta is None:
            head = token
        else:
            name, found, head = token.rpartition(b"\n")
            if not found:
                raise ValueError("the listing holds what no directory can")
            yield parse_meta(self._meta, name, self._links)
        if not head.endswith(b" ."):
            raise ValueError("the listing holds what no directory can")
        self._meta = head[:-2]


def parse_directory(data: bytes) -> list[Entry]:
    """A whole listing: links, then lines of STAT_FORMAT."""
    links, rest = parse_links(data)
    parser = DirectoryParser(links)
    return [*parser.feed(rest), *parser.end()]


def parse_tree(data: bytes) -> list[Entry]:
    """A whole tree: links, then lines of STAT_FORMAT with paths from "."; no path may hold a newline. The
    root is named ".".
    """
    links, rest = parse_links(data)
    entries = []
    for line in rest.split(b"\n")[:-1]:
        fields = line.split(b" ", _META_FIELDS)
        if len(fields) <= _META_FIELDS or not (fields[-1] == b"." or fields[-1].startswith(b"./")):
            raise ValueError(f"not a line of stat: {line[:80]!r}")
        path = fields[-1].removeprefix(b"./")
        entries.append(parse_meta(b" ".join(fields[:-1]), path, links))
    if rest and not rest.endswith(b"\n"):
        raise ValueError("the listing is cut off")
    return entries


def parse_plain(data: bytes) -> list[Entry]:
    """`kind NUL name NUL` pairs, what an image without `find` or `stat` can still tell."""
    fields = data.split(b"\0")
    if fields.pop() != b"" or len(fields) % 2:
        raise ValueError("the listing is cut off")
    kinds = {b"d": "directory", b"f": "file", b"l": "link", b"p": "fifo", b"o": "device"}
    return [
        Entry(paths.to_text(name), kinds.get(kind, "unknown"))
        for kind, name in zip(fields[::2], fields[1::2], strict=True)
    ]
