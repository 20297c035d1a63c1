"""Paths in containers: arbitrary bytes as str with surrogateescape, never interpreted."""

from __future__ import annotations

import os
from pathlib import Path

from chi_edge_lab.errors import BadInput

LONGEST = 4095  # bytes, Linux's PATH_MAX without its NUL
LONGEST_NAME = 255  # bytes, of one component on every file system containers use


def to_bytes(path: str | bytes | os.PathLike[str]) -> bytes:
    """The bytes of a path. Raises BadInput for lone surrogates that stand for no byte."""
    if isinstance(path, bytes):
        return path
    try:
        return os.fspath(path).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadInput(f"{os.fspath(path)!r} holds characters that no file name can hold.") from None


def to_text(path: bytes) -> str:
    """The str that `to_bytes` turns back into exactly these bytes."""
    return path.decode("utf-8", "surrogateescape")


def shown(path: str | bytes) -> str:
    """A path for a message: quoted, escaped where it is not plain printable text, shortened in the middle."""
    text = to_text(path) if isinstance(path, bytes) else path
    plain = text.isprintable() and not any(0xDC80 <= ord(character) <= 0xDCFF for character in text)
    quoted = f"'{text}'" if plain and "'" not in text else repr(text)
    return quoted if len(quoted) <= 160 else f"{quoted[:100]}...{quoted[-50:]}"


def checked(path: str | bytes | os.PathLike[str]) -> bytes:
    """A path fit for a system call and for `cd`, `mv` and the like; raises BadInput otherwise.

    Relative paths are of the container's working directory and get a leading "./", so that no tool takes "-x"
    for an option or "-" for a place of its own. Trailing slashes go, since `mv link/` means another thing
    than `mv link`.
    """
    raw = to_bytes(path)
    if not raw:
        raise BadInput("The path is empty.")
    if b"\0" in raw:
        raise BadInput(f"The path {shown(raw)} holds a NUL byte, which no path can.")
    if len(raw) > LONGEST:
        raise BadInput(f"The path is {len(raw)} bytes long; Linux takes at most {LONGEST}.")
    for part in raw.split(b"/"):
        if len(part) > LONGEST_NAME:
            raise BadInput(
                f"The name {shown(part)} is {len(part)} bytes long; file systems take {LONGEST_NAME}."
            )
    raw = raw.rstrip(b"/") or b"/"
    return raw if raw.startswith(b"/") else b"./" + raw.removeprefix(b"./")


def checked_name(name: str | bytes) -> bytes:
    """One component of a path. Raises BadInput for "", ".", "..", slashes, NULs and over-long names."""
    raw = to_bytes(name)
    if raw in {b"", b".", b".."} or b"/" in raw:
        raise BadInput(f"{shown(raw)} is not the name of a file or folder.")
    checked(raw)
    return raw


def local(path: bytes) -> Path:
    """A path of this machine for its bytes."""
    return Path(os.fsdecode(path))


def join(folder: bytes, name: bytes) -> bytes:
    """`folder/name`, without doubling the root's slash."""
    return folder + name if folder.endswith(b"/") else folder + b"/" + name
