"""Files in a container: list, stat, read, write, make, rename, copy, delete, through exec with a POSIX `sh`.

Paths are str (any bytes, with surrogateescape) and never interpreted; relative ones are of the container's
working directory. Every function raises BadInput (a path that cannot be one), FileError with a sentence,
NoShell, InvalidState (the container does not run), ExecTimeout and the client's errors.
"""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from chi_edge_lab.core import bulk, listing, paths, scripts, shell
from chi_edge_lab.core.listing import Entry
from chi_edge_lab.core.localtree import TEMPORARY
from chi_edge_lab.core.progress import Cancel
from chi_edge_lab.core.shell import Reply
from chi_edge_lab.errors import BadInput, EdgeLabError, FileChanged, FileError

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

BLOCK = 4096
READ_PIECE = 2 << 20  # bytes read by one exec
READ_LIMIT = 64 << 20  # bytes that `read` returns at most; larger files are downloaded
TREE_LIMIT = 256 << 20  # bytes of a listing of a whole tree, about two million paths


def list_directory(client: Client, uuid: str, path: str, *, cancel: Cancel | None = None) -> list[Entry]:
    """What is in a directory, sorted by name."""
    entries = [entry for page in iterate_directory(client, uuid, path, cancel=cancel) for entry in page]
    return sorted(entries, key=lambda entry: paths.to_bytes(entry.name))


def iterate_directory(
    client: Client, uuid: str, path: str, *, cancel: Cancel | None = None
) -> Iterator[list[Entry]]:
    """What is in a directory, unsorted, in pages as they arrive: for directories of any size."""
    raw = paths.checked(path)
    parser: listing.DirectoryParser | None = None
    head = b""
    try:
        for piece in bulk.pieces(client, uuid, scripts.LIST, raw, cancel=cancel):
            if isinstance(piece, int):
                if piece == scripts.NO_TOOL:
                    yield _list_plain(client, uuid, raw, cancel)
                    return
                scripts.check(Reply(head, piece), raw, "list")
            elif parser is not None:
                yield parser.feed(piece)
            else:
                head += piece
                try:
                    links, rest = listing.parse_links(head)
                except ValueError:
                    continue  # the links are not all there yet
                parser, head = listing.DirectoryParser(links), b""
                yield parser.feed(rest)
        yield parser.end() if parser is not None else []
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise FileError(f"The listing of {paths.shown(raw)} could not be read: {error}.") from error


def _list_plain(client: Client, uuid: str, raw: bytes, cancel: Cancel | None) -> list[Entry]:
    reply = bulk.output(client, uuid, scripts.LIST_PLAIN, raw, limit=TREE_LIMIT, cancel=cancel)
    return listing.parse_plain(scripts.check(reply, raw, "list").output)


def tree(client: Client, uuid: str, path: str, *, cancel: Cancel | None = None) -> list[Entry]:
    """Everything below a directory, links not followed; each `name` is a path from it, and the first is
    "." itself.
    """
    raw = paths.checked(path)
    try:
        reply = bulk.output(client, uuid, scripts.TREE, raw, limit=TREE_LIMIT, cancel=cancel)
        if reply.code == scripts.NO_TOOL:
            return _tree_by_directories(client, uuid, raw, cancel)
        return listing.parse_tree(scripts.check(reply, raw, "list").output)
    except ValueError as error:
        if isinstance(error, BadInput):
            raise
        raise FileError(f"The listing of {paths.shown(raw)} could not be read: {error}.") from error


def _tree_by_directories(client: Client, uuid: str, raw: bytes, cancel: Cancel | None) -> list[Entry]:
    """The same where names hold newlines: one listing for each directory."""
    import dataclasses

    found = [dataclasses.replace(stat(client, uuid, paths.to_text(raw)), name=".")]
    pending = [b""]
    while pending:
        below = pending.pop()
        folder = paths.join(raw, below) if below else raw
        for entry in list_directory(client, uuid, paths.to_text(folder), cancel=cancel):
            name = paths.join(below, paths.to_bytes(entry.name)) if below else paths.to_bytes(entry.name)
            found.append(dataclasses.replace(entry, name=paths.to_text(name)))
            if entry.kind == "directory":
                pending.append(name)
    return found


def stat(client: Client, uuid: str, path: str, *, follow: bool = False) -> Entry:
    """One path; a link is told as a link unless `follow`. The entry's `name` is the path's last component."""
    raw = paths.checked(path)
    if follow:
        raw = real_path(client, uuid, raw)
    reply = scripts.check(shell.run(client, uuid, scripts.STAT, raw), raw, "look at")
    try:
        links, meta = listing.parse_links(reply.output)
        name = raw.rpartition(b"/")[2] or raw
        if len(meta) <= 2:  # an image without `stat` tells the kind alone
            return listing.parse_plain(meta.strip() + b"\0" + name + b"\0")[0]
        return listing.parse_meta(meta.strip(), name, dict.fromkeys([name], *links.values()) if links else {})
    except ValueError as error:
        raise FileError(f"{paths.shown(raw)} could not be looked at: {error}.") from error


def exists(client: Client, uuid: str, path: str) -> bool:
    """Whether there is anything at the path (a link that leads nowhere counts)."""
    return shell.run(client, uuid, '[ -e "$1" ]||[ -L "$1" ]', paths.checked(path)).code == 0


def real_path(client: Client, uuid: str, raw: bytes) -> bytes:
    """The absolute path without links. The path, or at least its folder, must exist."""
    script = f"""p=$1;[ -e "$p" ]||{{ [ -L "$p" ]&&exit {scripts.DANGLING};}}
if [ -d "$p" ];then cd -P -- "$p"&&pwd -P&&exit;exit {scripts.DENIED};fi
if r=$(readlink -f -- "$p" 2>/dev/null;echo x)&&[ "$r" != x ];then printf %s "${{r%x}}";exit 0;fi
cd -P -- "${{p%/*}}/" 2>/dev/null||exit {scripts.MISSING};printf '%s/%s\\n' "$(pwd -P)" "${{p##*/}}" """
    output = scripts.check(shell.run(client, uuid, script, raw), raw, "find").output
    return output[:-1] if output.endswith(b"\n") else output


def read_piece(client: Client, uuid: str, raw: bytes, offset: int, size: int) -> tuple[bytes, int]:
    """Up to `size` bytes from `offset`, and the file's size at that moment. `raw` is a checked path."""
    block, skip = divmod(offset, BLOCK)
    count = -(-(skip + size) // BLOCK)
    reply = scripts.check(shell.run(client, uuid, scripts.READ, raw, str(block), str(count)), raw, "read")
    line, _, data = reply.output.partition(b"\n")
    whole = int(line)
    if not whole:  # /proc and the like: there is no size, and everything came from the beginning
        return data[offset : offset + size], whole
    return data[skip : skip + size], whole


def read(client: Client, uuid: str, path: str, *, offset: int = 0, size: int | None = None) -> bytes:
    """A file's content, or `size` bytes of it from `offset`. FileError for more than 64 MiB: download that
    instead.
    """
    if offset < 0 or (size is not None and size < 0):
        raise BadInput("offset and size are numbers of bytes from 0.")
    raw = paths.checked(path)
    collected = bytearray()
    while size is None or len(collected) < size:
        wanted = READ_PIECE if size is None else min(READ_PIECE, size - len(collected))
        piece, whole = read_piece(client, uuid, raw, offset + len(collected), wanted)
        collected += piece
        if (whole if size is None else min(size, whole)) > READ_LIMIT or len(collected) > READ_LIMIT:
            raise FileError(
                f"{paths.shown(raw)} is larger than {READ_LIMIT >> 20} MiB.", hint="Download it instead."
            )
        if len(piece) < wanted:
            break
    return bytes(collected)


def write(
    client: Client,
    uuid: str,
    path: str,
    data: bytes | str,
    *,
    mode: int | None = None,
    if_mtime: int | None = None,
    if_size: int | None = None,
) -> None:
    """Write a file whole or not at all; text is UTF-8. A link is written through; an existing file keeps
    its mode unless one is given. With `if_mtime` (seconds) or `if_size` (bytes) FileChanged is raised when the file
    is another by now.
    """
    from chi_edge_lab.core import transfer  # which reads listings with this module

    content = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else bytes(data)
    raw = real_path(client, uuid, paths.checked(path))
    if mode is None:
        mode = 0o644
        if exists(client, uuid, paths.to_text(raw)):
            entry = stat(client, uuid, paths.to_text(raw))
            if entry.kind != "file":
                code = scripts.IS_DIRECTORY if entry.kind == "directory" else scripts.SPECIAL
                scripts.check(Reply(b"", code), raw, "write")
            mode = entry.mode if entry.mode is not None else mode
    if if_mtime is not None or if_size is not None:
        _unchanged(client, uuid, raw, if_mtime, if_size)
    folder, _, name = raw.rpartition(b"/")
    transfer.upload_bytes(
        client, uuid, content, paths.to_text(folder or b"/"), paths.to_text(name), mode=mode
    )


def _unchanged(client: Client, uuid: str, raw: bytes, mtime: int | None, size: int | None) -> None:
    if exists(client, uuid, paths.to_text(raw)):
        found = stat(client, uuid, paths.to_text(raw))
        if (mtime is None or found.mtime == mtime) and (size is None or found.size == size):
            return
        state = "was changed in the container since you opened it"
    else:
        state = "is no longer in the container"
    raise FileChanged(f"{paths.shown(raw)} {state}.", hint="Load it again, or save under another name.")


def make_directory(client: Client, uuid: str, path: str, *, parents: bool = False) -> None:
    """Make a directory; with `parents` also those above it, and one that exists is fine."""
    raw = paths.checked(path)
    scripts.check(
        shell.run(client, uuid, scripts.MKDIR, raw, "-p" if parents else ""), raw, "make the folder"
    )


def rename(client: Client, uuid: str, old: str, new: str, *, replace: bool = False) -> None:
    """Rename or move. An existing file is replaced with `replace`, an existing folder never."""
    raw, target = paths.checked(old), paths.checked(new)
    _not_root(raw, "renamed")
    reply = shell.run(client, uuid, scripts.RENAME, raw, target, "y" if replace else "")
    scripts.check(reply, target if reply.code == scripts.EXISTS else raw, "rename")


def copy(
    client: Client, uuid: str, old: str, new: str, *, replace: bool = False, cancel: Cancel | None = None
) -> None:
    """Copy a file, a link (as a link) or a folder with all that is in it, whole or not at all. An existing file is
    replaced with `replace`, an existing folder never.
    """
    raw, target = paths.checked(old), paths.checked(new)
    _not_root(target, "a copy")
    token = f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        reply = bulk.run(
            client, uuid, scripts.COPY, raw, target, "y" if replace else "", token, cancel=cancel
        )
    except BaseException:
        with suppress(EdgeLabError):  # the script cleans up itself where it is told of its end
            shell.run(
                client, uuid, 'rm -rf -- "$1"', paths.join(target.rpartition(b"/")[0] or b"/", token.encode())
            )
        raise
    scripts.check(
        reply, target if reply.code in {scripts.EXISTS, scripts.NO_FOLDER, scripts.INSIDE} else raw, "copy"
    )


def checksum(
    client: Client, uuid: str, raw: bytes, *, offset: int = 0, size: int, cancel: Cancel | None = None
) -> str | None:
    """sha256 of `size` bytes of a file as the container computes it; None where the image has no tool for it.
    `raw` is a checked path.
    """
    reply = bulk.run(client, uuid, scripts.CHECKSUM, raw, str(offset + 1), str(size), cancel=cancel)
    if reply.code == scripts.NO_TOOL:
        return None
    return scripts.check(reply, raw, "read").output.strip().decode("ascii", "replace")


def page(
    client: Client, uuid: str, path: str, *, limit: int, after: str | None = None
) -> tuple[list[Entry], int]:
    """Up to `limit` entries of a directory, by name, whose names come after `after`, and how many there are in all.
    Memory is bounded by `limit`.
    """
    total = 0
    last = paths.to_bytes(after) if after is not None else None

    def wanted() -> Iterator[Entry]:
        nonlocal total
        for entries in iterate_directory(client, uuid, path):
            total += len(entries)
            for entry in entries:
                if last is None or paths.to_bytes(entry.name) > last:
                    yield entry

    return heapq.nsmallest(limit, wanted(), key=lambda entry: paths.to_bytes(entry.name)), total


def delete(client: Client, uuid: str, path: str, *, recursive: bool = False) -> None:
    """Delete a file, a link (never what it leads to) or a folder; a folder that is not empty only with
    `recursive`.
    """
    raw = paths.checked(path)
    _not_root(raw, "deleted")
    reply = bulk.run(client, uuid, scripts.DELETE, raw, "y" if recursive else "")
    if reply.code == scripts.IS_DIRECTORY:
        raise FileError(
            f"{paths.shown(raw)} is a folder that is not empty.", hint="Delete it with recursive=True."
        )
    scripts.check(reply, raw, "delete")


def _not_root(raw: bytes, done: str) -> None:
    parts = [part for part in raw.split(b"/") if part not in {b"", b"."}]
    if not parts or parts[-1] == b"..":
        raise BadInput(f"{paths.shown(raw)} cannot be {done}.")
