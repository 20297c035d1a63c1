"""Runs a program as on a machine that allows no user namespaces: as Docker's default seccomp filter has it.

python locked_down.py PROGRAM [ARGUMENT...] (root becomes nobody first)
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
PR_SET_KEEPCAPS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 8, 47, 2
CAPABILITY_VERSION_3, CAP_DAC_READ_SEARCH = 0x20080522, 2
NOBODY = 65534
ALLOW, FAIL = 0x7FFF0000, 0x00050000
LOAD, JUMP_EQUAL, JUMP_BITS, RETURN = 0x20, 0x15, 0x45, 0x06
NUMBER, FIRST_ARGUMENT = 0, 16  # offsets in struct seccomp_data
CALLS = {"x86_64": (272, 56, 435), "aarch64": (97, 220, 435)}  # unshare, clone, clone3


def forbid_user_namespaces() -> None:
    """Make unshare and clone with CLONE_NEWUSER fail with EPERM, and clone3 ENOSYS (it hides its flags)."""
    unshare, clone, clone3 = CALLS[platform.machine()]
    program = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_EQUAL, 5, 0, clone3),
        (JUMP_EQUAL, 1, 0, unshare),
        (JUMP_EQUAL, 0, 2, clone),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_BITS, 2, 0, CLONE_NEWUSER),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, FAIL | errno.ENOSYS),
        (RETURN, 0, 0, FAIL | errno.EPERM),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(header)), 0, 0),
    ):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), "prctl")


def become_nobody() -> None:
    """Let go of root, but for reading any file: the interpreter may be where only root can read."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    only = 1 << CAP_DAC_READ_SEARCH
    if libc.capset(header, struct.pack("=6I", only, only, only, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")
    if libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_READ_SEARCH, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    if os.getuid() == 0:
        become_nobody()
    forbid_user_namespaces()
    os.execvp(sys.argv[1], sys.argv[1:])
