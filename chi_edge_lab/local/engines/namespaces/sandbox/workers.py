"""Short-lived helpers inside a container: archives, and sockets of its network."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable

from . import protocol, syscalls
from .build import SandboxError, spawn
from .joining import Namespaces
from .plan import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is slow to import
    from typing import Any

_SOCKET_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def start(
    operation: str,
    namespaces: Namespaces,
    connection: socket.socket,
    message: dict[str, Any],
    fds: list[int],
    expect: Callable[[int], None],
) -> None:
    """Fork a helper that does it and answers on `connection` itself."""
    if operation != "socket":
        # Now, while the host's files are in sight: nothing can be imported inside.
        from . import archive  # noqa: F401
    helper = os.fork()
    if helper:
        expect(helper)
        protocol.close_all(fds)
        return
    try:
        syscalls.die_with_parent()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        connection.setblocking(True)
        if operation == "socket":
            namespaces.join(("user", "net"))
            with socket.socket(socket.AF_INET, _SOCKET_KINDS[message["protocol"]]) as made:
                protocol.send(connection, {"event": "done"}, [made.fileno()])
        else:
            # Not in its pid namespace: so nobody in the container can see this process or its open files.
            namespaces.join(("user", "mnt"))
            syscalls.die_with_parent()  # the change of user cleared it
            perform(operation, connection, message, fds)
    except (OSError, KeyError) as error:
        protocol.send(connection, {"event": "failed", "kind": "ended", "message": str(error)})
    finally:
        os._exit(0)


def perform(operation: str, connection: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
    """Do an archive operation in this process, which is in the sandbox, and answer."""
    from . import archive

    os.umask(0)
    os.chdir("/")
    syscalls.drop_privileges()
    limits = archive.Limits(message["max_members"], message["max_bytes"])
    try:
        if operation == "get":
            answer = archive.get(message["path"], fds[0], limits, exclude=tuple(message.get("exclude", ())))
        else:
            answer = archive.put(message["path"], fds[0], limits)
    except archive.ArchiveError as error:
        protocol.send(connection, {"event": "failed", "kind": error.kind, "message": str(error)})
    except (OSError, MemoryError, RecursionError) as error:
        protocol.send(
            connection, {"event": "failed", "kind": "error", "message": f"{operation} archive: {error}"}
        )
    else:
        protocol.send(connection, {"event": "done", **answer})


def serve_stopped(socket_fd: int) -> int:
    """One archive operation on a container that does not run: the same sandbox, this program its pid 1."""
    connection = socket.socket(fileno=socket_fd)
    connection.set_inheritable(False)
    os.setsid()
    from . import archive  # noqa: F401 as in `start`

    message, fds = protocol.receive(connection)
    if message is None:
        return 1
    plan = Plan.from_message(message["plan"])
    asked = message

    def body(_up: int) -> int:
        perform(asked["op"], connection, asked, fds)
        return 0

    syscalls.become_subreaper()
    syscalls.die_with_parent()
    try:
        pid, status = spawn(plan, body, lambda _pid, namespaces: namespaces.close())
    except (SandboxError, OSError) as error:
        protocol.send(connection, {"event": "failed", "kind": "sandbox", "message": str(error)})
        return 1
    os.close(status)
    protocol.close_all(fds)
    os.waitpid(pid, 0)
    sys.stderr.flush()
    return 0
