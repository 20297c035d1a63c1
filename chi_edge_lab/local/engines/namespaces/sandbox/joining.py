"""Entering the namespaces of a container that runs."""

from __future__ import annotations

import contextlib
import os
import socket

from . import protocol, syscalls

# In this order: the user namespace gives the right to join the others.
_KINDS = {
    "user": syscalls.CLONE_NEWUSER,
    "mnt": syscalls.CLONE_NEWNS,
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "pid": syscalls.CLONE_NEWPID,
}


def send_namespaces(shim: socket.socket) -> None:
    """In pid 1 to be: give the shim a hold on all namespaces.

    It could not open them itself before pid 1 has executed a program, without CAP_SYS_PTRACE; and a short
    program may have ended by then.
    """
    fds = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in _KINDS]
    try:
        socket.send_fds(shim, [b"n"], fds)
    finally:
        protocol.close_all(fds)


class Namespaces:
    """The namespaces of a container, held open by its shim. `fds` are in the order of `send_namespaces`."""

    def __init__(self, fds: list[int]) -> None:
        self._fds = dict(zip(_KINDS, fds, strict=True))

    def join(self, kinds: tuple[str, ...] = tuple(_KINDS)) -> None:
        """Join those of `kinds` and be root inside. Only for a process with one thread. Raises OSError.

        The pid namespace counts from the next fork on.
        """
        syscalls.hide_from_ptrace()
        for kind, fd in self._fds.items():
            if kind in kinds:
                syscalls.setns(fd, _KINDS[kind])
        become_root()
        syscalls.hide_from_ptrace()  # a change of user resets it on some kernels

    def close(self) -> None:
        protocol.close_all(list(self._fds.values()))
        self._fds.clear()


def become_root() -> None:
    """Be user 0 and group 0 of the user namespace we are in. Raises OSError."""
    os.setresgid(0, 0, 0)
    # A map of one user forbids setgroups; the groups stay as nobody's.
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    os.setresuid(0, 0, 0)
