"""Executing a program in a sandbox."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import stat
import termios

from . import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is slow to import
    from typing import Any, NoReturn


class ExecError(Exception):
    """A program could not be executed; `str()` is as runc says it."""


def prepare_signals() -> None:
    """Python ignores SIGPIPE and SIGXFSZ, and the shim has handlers: none of it is for programs inside."""
    for number in (
        signal.SIGPIPE,
        signal.SIGXFSZ,
        signal.SIGCHLD,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGINT,
    ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def set_stdio(stdin: int, stdout: int, stderr: int) -> None:
    """Make these the process's 0, 1 and 2. They may be any numbers, 0 to 2 as well."""
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (stdin, stdout, stderr)]
    for number, fd in enumerate(moved):
        os.dup2(fd, number)


def give_pipes(fds: list[int], owner: int) -> None:
    """Let the container's root open these again, as /dev/stdout does: a pipe belongs to who made it.

    Raises OSError.
    """
    if os.geteuid() == 0:
        for fd in fds:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.fchown(fd, owner, owner)


def take_terminal(slave: int) -> None:
    """Make the pty the controlling terminal and the stdio of this new session's leader."""
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    set_stdio(slave, slave, slave)


def execute(argv: list[str], environment: dict[str, str], workdir: str) -> NoReturn:
    """Drop privileges and become the program.

    PATH is searched here: `os.execvpe` imports a module, gone by now. Raises ExecError.
    """
    os.umask(0o022)
    try:
        os.chdir(workdir)
    except OSError as error:
        raise ExecError(f'chdir to cwd ("{workdir}") failed: {_reason(error)}') from error
    prepare_signals()
    # It only hides the name of the control group.
    with contextlib.suppress(OSError):
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)
    syscalls.drop_privileges()
    program = argv[0]
    if "/" in program:
        _try(program, argv, environment)
    denied = False
    for directory in environment.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":"):
        candidate = (directory or ".") + "/" + program
        if not program or not os.path.exists(candidate) or os.path.isdir(candidate):
            continue
        if not os.access(candidate, os.X_OK):
            denied = True
            continue
        _try(candidate, argv, environment)
    if denied:
        raise ExecError(f'exec: "{program}": permission denied')
    raise ExecError(f'exec: "{program}": executable file not found in $PATH')


def _try(path: str, argv: list[str], environment: dict[str, str]) -> NoReturn:
    try:
        os.execve(path, argv, environment)
    except OSError as error:
        if error.errno == errno.ENOENT and not os.path.lexists(path):
            raise ExecError(f'exec: "{path}": stat {path}: no such file or directory') from error
        if error.errno == errno.EACCES:
            raise ExecError(f'exec: "{path}": permission denied') from error
        raise ExecError(f"exec {path}: {_reason(error)}") from error
    except ValueError as error:  # a NUL byte
        raise ExecError(f"exec {path!r}: {error}") from error


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOEXEC:
        return "exec format error"
    return (error.strerror or str(error)).lower()


def report(fd: int, kind: str, message: str) -> None:
    """Tell the shim, over a pipe that closes on exec, that it failed."""
    os.write(fd, json.dumps({"kind": kind, "message": message}).encode() + b"\n")


def read_report(text: bytes) -> dict[str, Any] | None:
    """The last report in what came over the pipe; None when there was none."""
    lines = [line for line in text.split(b"\n") if line.startswith(b"{")]
    return json.loads(lines[-1]) if lines else None
