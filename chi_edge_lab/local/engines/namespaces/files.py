"""Archives out of and into containers, running or not."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from typing import Any, BinaryIO

from ..base import EngineError, NotRunning, PathStat
from . import client
from .home import Home

_CHUNK = 65536
_Exchange = Callable[[socket.socket], dict[str, Any]]


def get(home: Home, message: dict[str, Any], plan: dict[str, Any], out: BinaryIO) -> PathStat:
    """Write a tar of message["path"] to `out`. Raises PathNotFound, EngineError."""
    read, write = os.pipe()
    try:
        answer = _perform(home, {"op": "get", **message}, plan, write, lambda made: _pull(made, read, out))
    finally:
        os.close(read)
    return PathStat(
        name=answer["name"],
        size=answer["size"],
        mode=answer["mode"],
        mtime=answer["mtime"],
        link_target=answer["link_target"],
    )


def put(home: Home, message: dict[str, Any], plan: dict[str, Any], tar: BinaryIO) -> None:
    """Unpack `tar` into the directory message["path"]. Raises PathNotFound, EngineError."""
    read, write = os.pipe()
    feeder = _Feeder(write, tar)
    try:
        _perform(home, {"op": "put", **message}, plan, read, feeder.push)
    finally:
        feeder.close()


def unpack_image(message: dict[str, Any], plan: dict[str, Any], tar: BinaryIO) -> None:
    """Fill a new private tree from the tar of an image. Raises EngineError."""
    _perform_stopped({"op": "put", "path": "/", **message, "plan": plan}, os.dup(tar.fileno()), _answer)


def pack_tree(message: dict[str, Any], plan: dict[str, Any], out: BinaryIO) -> None:
    """Write a tar of a whole private tree. Raises EngineError."""
    _perform_stopped({"op": "get", "path": "/", **message, "plan": plan}, os.dup(out.fileno()), _answer)


def _perform(
    home: Home, message: dict[str, Any], plan: dict[str, Any], theirs: int, exchange: _Exchange
) -> dict[str, Any]:
    """Have it done by the shim, or in a sandbox of its own where the container does not run.

    Closes `theirs`.
    """
    try:
        made = client.connect(home)
    except NotRunning:
        return _perform_stopped({**message, "plan": plan}, theirs, exchange)
    except BaseException:
        os.close(theirs)
        raise
    with made:
        try:
            client.send(made, message, [theirs])
        finally:
            os.close(theirs)
        return exchange(made)


def _perform_stopped(message: dict[str, Any], theirs: int, exchange: _Exchange) -> dict[str, Any]:
    with client.stopped_sandbox() as (made, process):
        try:
            client.send(made, message, [theirs])
        finally:
            os.close(theirs)
        try:
            return exchange(made)
        except NotRunning as error:
            process.kill()
            raise EngineError(f"The helper for archives ended without an answer: {error}") from error


def _answer(made: socket.socket) -> dict[str, Any]:
    return client.receive(made, None)[0]


def _pull(made: socket.socket, read: int, out: BinaryIO) -> dict[str, Any]:
    """Data until its end, then the answer; a failure needs no end."""
    poller = select.poll()
    poller.register(read, select.POLLIN)
    poller.register(made, select.POLLIN)
    answer: dict[str, Any] | None = None
    is_open = True
    while is_open or answer is None:
        for fd, _ in poller.poll():
            if fd == read:
                data = os.read(read, _CHUNK)
                if data:
                    out.write(data)
                else:
                    is_open = False
                    poller.unregister(read)
            elif answer is None:
                answer = _answer(made)
                poller.unregister(made)
    return answer


class _Feeder:
    """Writes a tar into a pipe until it has ended or the other side has answered."""

    def __init__(self, write: int, tar: BinaryIO) -> None:
        self._write: int | None = write
        self._tar = tar
        os.set_blocking(write, False)

    def push(self, made: socket.socket) -> dict[str, Any]:
        poller = select.poll()
        poller.register(made, select.POLLIN)
        if self._write is not None:
            poller.register(self._write, select.POLLOUT)
        waiting = memoryview(b"")
        while True:
            for fd, _ in poller.poll():
                if fd == made.fileno():
                    return _answer(made)
                if self._write is None:
                    continue
                if not waiting:
                    waiting = memoryview(self._tar.read(_CHUNK))
                try:
                    if waiting:
                        waiting = waiting[os.write(self._write, waiting) :]
                        continue
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    pass  # it has failed; its answer says why
                poller.unregister(self._write)
                self.close()

    def close(self) -> None:
        if self._write is not None:
            os.close(self._write)
            self._write = None
