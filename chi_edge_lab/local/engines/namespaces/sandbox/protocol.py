"""Messages between the engine and a shim: JSON with file descriptors, one to a packet of a SOCK_SEQPACKET
socket.

A packet has a size limit that depends on the machine, so a long message travels in a memory file of its own.
"""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is slow to import
    from typing import Any

SOCKET_NAME = "shim.sock"
_INLINE = 32 * 1024  # well below the smallest default of net.core.wmem_default
_MAX_MESSAGE = 8 * 2**20  # argv and environment: the kernel takes 2 MiB of them
_MAX_FDS = 8

Message = dict[str, "Any"]


class TooLongError(ValueError):
    """The message exceeds what a shim takes."""


def make_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)


def send(connection: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send one message. Raises OSError, TooLongError."""
    body = json.dumps(message).encode("ascii")
    if len(body) <= _INLINE:
        socket.send_fds(connection, [body], list(fds))
        return
    if len(body) > _MAX_MESSAGE:
        raise TooLongError(f"{len(body)} bytes")
    memory = os.memfd_create("message", os.MFD_CLOEXEC)
    try:
        view = memoryview(body)
        while view:
            view = view[os.write(memory, view) :]
        socket.send_fds(connection, [b"+"], [memory, *fds])
    finally:
        os.close(memory)


def receive(connection: socket.socket) -> tuple[Message | None, list[int]]:
    """The next message and its descriptors (close-on-exec); (None, []) at the end.

    Raises OSError, ValueError.
    """
    body, fds = receive_packet(connection)
    if not body:
        close_all(fds)
        return None, []
    try:
        if body == b"+":
            memory = fds.pop(0)
            try:
                body = _read_memory(memory)
            finally:
                os.close(memory)
        message = json.loads(body)
        if not isinstance(message, dict):
            raise ValueError("not an object")
    except (ValueError, IndexError, OSError):
        close_all(fds)
        raise
    return message, fds


def receive_packet(connection: socket.socket) -> tuple[bytes, list[int]]:
    """One packet and its descriptors, close-on-exec: `socket.recv_fds` forgets to pass its flags on.

    Raises OSError.
    """
    fds = array.array("i")
    body, extra, _, _ = connection.recvmsg(
        _INLINE, socket.CMSG_LEN(_MAX_FDS * fds.itemsize), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return body, list(fds)


def _read_memory(memory: int) -> bytes:
    size = os.fstat(memory).st_size
    if size > _MAX_MESSAGE:
        raise TooLongError(f"{size} bytes")
    parts: list[bytes] = []
    offset = 0
    while offset < size:
        part = os.pread(memory, size - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def close_all(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
