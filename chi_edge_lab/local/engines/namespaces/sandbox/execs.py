"""Commands started in a running container, and the helpers that make them."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Callable

from . import protocol
from .inside import (
    ExecError,
    execute,
    give_pipes,
    read_report,
    report,
    set_stdio,
    take_terminal,
)
from .joining import Namespaces
from .loop import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is slow to import
    from typing import Any

_DISCARD = 65536
_MAX_DRAINS = (
    128  # outputs of commands whose caller has gone, kept open so that they are not killed by SIGPIPE
)


class Exec:
    """One command. Its caller holds `connection`; the standard streams are the caller's own pipes."""

    def __init__(self, connection: socket.socket, drains: list[int]) -> None:
        self.connection: socket.socket | None = connection
        self.drains = drains
        self.pid: int | None = None
        self.exit_code: int | None = None
        self.is_started = False
        self.report = b""


class Execs:
    """All commands of a container.

    `enter` is called in each new process before it joins (for the control group).
    """

    def __init__(
        self, loop: Loop, namespaces: Namespaces, owner: int, enter: Callable[[], None], limit: int
    ) -> None:
        self._owner = owner  # the container's root, as numbered outside
        self._loop = loop
        self._namespaces = namespaces
        self._enter = enter
        self._limit = limit
        self._running: list[Exec] = []
        self._orphans: dict[int, int] = {}  # ended before its helper's word came: pid -> exit code
        self._drains: list[int] = []
        self._helpers: set[int] = set()

    def start(self, connection: socket.socket, message: dict[str, Any], fds: list[int]) -> Exec | None:
        """Start a command; None (and an answer to the caller) when it cannot be."""
        streams, drains = ([], fds) if message["tty"] else (fds[:3], fds[3:])
        if len(self._running) >= self._limit:
            protocol.close_all(fds)
            text = f"{self._limit} commands run in this container already, and no more are allowed at once"
            protocol.send(connection, {"event": "failed", "kind": "limit", "message": text})
            return None
        read, write = os.pipe()
        helper = os.fork()
        if helper == 0:
            try:
                self._help(write, connection, message, streams)
            finally:
                os._exit(125)
        self.expect(helper)
        os.close(write)
        protocol.close_all(streams)
        command = Exec(connection, drains)
        self._running.append(command)
        self._loop.watch(read, READ, lambda _events: self._hear(command, read))
        return command

    def _help(
        self, write: int, connection: socket.socket, message: dict[str, Any], streams: list[int]
    ) -> None:
        """In the helper: join, fork once more into the pid namespace, tell its number and end."""
        try:
            self._enter()
            give_pipes(streams, self._owner)
            self._namespaces.join()
            pid = os.fork()
        except OSError as error:
            report(write, "ended", f"cannot enter the container: {error.strerror}")
            return
        if pid:
            os.write(write, b"pid %d\n" % pid)
            os._exit(0)
        try:
            os.setsid()
            if message["tty"]:
                master, slave = os.openpty()
                protocol.send(connection, {"event": "terminal"}, [master])
                take_terminal(slave)
            else:
                set_stdio(*streams)
            execute(message["argv"], message["environment"], message["workdir"])
        except ExecError as error:
            report(write, "command", str(error))
        except (OSError, ValueError) as error:
            report(write, "error", str(error))

    def _hear(self, command: Exec, read: int) -> None:
        part = os.read(read, 65536)
        command.report += part
        if command.pid is None and b"\n" in command.report and command.report.startswith(b"pid "):
            command.pid = int(command.report.split(b"\n", 1)[0][4:])
            if command.pid in self._orphans:
                command.exit_code = self._orphans.pop(command.pid)
        if part:
            return
        self._loop.forget(read)
        os.close(read)
        failure = read_report(command.report)
        if failure is None and command.pid is None:
            failure = {"kind": "ended", "message": "the container ended"}
        if failure is not None:
            self._tell(command, {"event": "failed", **failure})
            self._finish(command)
            return
        command.is_started = True
        self._tell(command, {"event": "started"})
        if command.exit_code is not None:
            self.ended(command.pid or 0, command.exit_code)

    def expect(self, helper: int) -> None:
        """A child that is no command: its end means nothing."""
        self._helpers.add(helper)

    def ended(self, pid: int, exit_code: int) -> None:
        """A child of the shim that is not pid 1 has ended."""
        if pid in self._helpers:
            self._helpers.remove(pid)
            return
        for command in self._running:
            if command.pid == pid:
                command.exit_code = exit_code
                if command.is_started:
                    self._tell(command, {"event": "exited", "exit_code": exit_code})
                    self._finish(command)
                return
        self._orphans[pid] = exit_code

    def _finish(self, command: Exec) -> None:
        self._running.remove(command)

    def _tell(self, command: Exec, message: dict[str, Any]) -> None:
        if command.connection is not None:
            # The caller has gone; its end is seen by the loop, too.
            with contextlib.suppress(OSError):
                protocol.send(command.connection, message)

    def abandoned(self, command: Exec) -> None:
        """The caller has gone.

        The command goes on: nobody reads what it prints, and it reads the end of its input.
        """
        command.connection = None
        for fd in command.drains:
            if len(self._drains) >= _MAX_DRAINS:
                os.close(fd)
                continue
            os.set_blocking(fd, False)
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                with socket.socket(fileno=os.dup(fd)) as both_ways:
                    both_ways.shutdown(socket.SHUT_WR)
            self._drains.append(fd)
            self._loop.watch(fd, READ, lambda _events, fd=fd: self._discard(fd))  # type: ignore[misc]
        command.drains = []

    def _discard(self, fd: int) -> None:
        try:
            if os.read(fd, _DISCARD):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._loop.forget(fd)
        self._drains.remove(fd)
        os.close(fd)

    @property
    def running(self) -> list[Exec]:
        return list(self._running)
