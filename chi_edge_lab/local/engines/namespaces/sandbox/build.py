"""Making a sandbox: namespaces, mounts and the first process in them.

Three processes take part. The shim forks A, which leaves all namespaces and makes the bind mounts, still
under its own
user number (only that one may traverse the directories above the tree). A forks B, the pid 1 inside, and
ends, so that B becomes the
shim's child (the shim is a subreaper). B mounts what needs the new pid namespace, moves into the tree and
goes on with `body`.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable

from . import protocol, syscalls
from .joining import Namespaces, become_root, send_namespaces
from .network import raise_loopback
from .plan import Plan

_NAMESPACES = (
    syscalls.CLONE_NEWUSER
    | syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWPID
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWNET
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
)
_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_PROC_HIDDEN = ("kcore", "keys", "timer_list", "sched_debug", "latency_stats")


Adopt = Callable[[int, Namespaces], None]


class SandboxError(Exception):
    """The sandbox could not be made; `str()` says at which step and why."""


def spawn(plan: Plan, body: Callable[[int], int], adopt: Adopt) -> tuple[int, int]:
    """Make the sandbox and run `body` as pid 1 in it; its result is the exit code.

    `adopt` gets the pid and the namespaces before pid 1 goes on. Returns the pid as seen here and the
    reading end of a pipe whose other end `body` gets (it closes on exec). Raises SandboxError.
    """
    up_read, up_write = os.pipe()
    down_read, down_write = os.pipe()
    ours, theirs = socket.socketpair()
    first = os.fork()
    if first == 0:
        code = 125
        try:
            os.close(up_read)
            os.close(down_write)
            ours.close()
            code = _leave_namespaces(plan, body, up_write, down_read, theirs)
        except (OSError, SandboxError, ValueError, MemoryError) as error:
            _say(up_write, f"error {error}")
        finally:
            os._exit(code)
    os.close(up_write)
    os.close(down_read)
    theirs.close()
    reader = _Lines(up_read)
    try:
        reader.expect("unshared")
        _write_maps(first, plan.ids)
        os.write(down_write, b"m")
        pid = int(reader.expect("pid"))
        os.waitpid(first, 0)
        fds = protocol.receive_packet(ours)[1]
        if not fds:
            reader.expect("armed")  # says why there are none
        adopt(pid, Namespaces(fds))
        os.write(down_write, b"g")
        reader.expect("armed")
        reader.expect("ready")
    except (OSError, SandboxError) as error:
        os.close(up_read)
        raise SandboxError(str(error)) from error
    finally:
        os.close(down_write)
        ours.close()
    return pid, up_read


class _Lines:
    def __init__(self, fd: int) -> None:
        self._fd = fd

    def expect(self, word: str) -> str:
        """What follows `word` on the next line.

        Read byte by byte: what comes after belongs to someone else.
        """
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._fd, 1)
            if not byte:
                raise SandboxError(f"the sandbox ended before it was ready (waiting for {word})")
            line += byte
        got, _, rest = line.decode("utf-8", "replace").rstrip("\n").partition(" ")
        if got != word:
            raise SandboxError(rest or got)
        return rest


def _say(fd: int, line: str) -> None:
    # os.write, not a file object: a failed write in a garbage-collected file object raises nothing.
    os.write(fd, line.replace("\n", " ").encode("utf-8", "replace") + b"\n")


def _wait_for(fd: int, byte: bytes) -> None:
    if os.read(fd, 1) != byte:
        os._exit(125)  # the shim is gone


def _write_maps(pid: int, ids: tuple[int, int]) -> None:
    outer, count = ids
    if os.geteuid() != 0:
        _write_file(f"/proc/{pid}/setgroups", "deny")
    _write_file(f"/proc/{pid}/uid_map", f"0 {outer} {count}\n")
    _write_file(f"/proc/{pid}/gid_map", f"0 {outer if os.geteuid() == 0 else os.getegid()} {count}\n")


def _write_file(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise SandboxError(f"write {path}: {error.strerror}") from error
    finally:
        os.close(fd)


# -- in A


def _leave_namespaces(plan: Plan, body: Callable[[int], int], up: int, down: int, shim: socket.socket) -> int:
    syscalls.unshare(_NAMESPACES)
    _say(up, "unshared")
    _wait_for(down, b"m")
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount(plan.root, plan.root, "", syscalls.MS_BIND | syscalls.MS_REC)
    root = os.open(plan.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    if plan.shell:
        _bind_host(plan, root)
    files = [os.open(host, os.O_PATH | os.O_CLOEXEC) for host, _, _ in plan.files]
    os.fchdir(root)
    become_root()
    pid = os.fork()
    if pid != 0:
        _say(up, f"pid {pid}")
        return 0
    code = 125
    try:
        send_namespaces(shim)
        _wait_for(down, b"g")
        syscalls.die_with_parent()
        _say(up, "armed")  # fails when the shim died before the line above
        _become_first(plan, root, files)
        _say(up, "ready")
        code = body(up)
    except (OSError, SandboxError, ValueError, MemoryError) as error:
        _say(up, f"error {error}")
    finally:
        os._exit(code)


def _bind_host(plan: Plan, root: int) -> None:
    kept = [(path, descend(root, path)) for path in plan.private]
    for host, inside in plan.binds:
        try:
            target = descend(root, inside)
            syscalls.mount(host, _path_of(target), "", syscalls.MS_BIND | syscalls.MS_REC)
            os.close(target)
            target = descend(root, inside)  # the mount now, not what it hides
            syscalls.make_read_only(_path_of(target))
            os.close(target)
        except OSError as error:
            raise SandboxError(f"cannot show {host} in the container: {error.strerror}") from error
    for path, fd in kept:
        target = descend(root, path)
        syscalls.mount(_path_of(fd), _path_of(target), "", syscalls.MS_BIND | syscalls.MS_REC)
        os.close(target)
        os.close(fd)


def _path_of(fd: int) -> str:
    return f"/proc/self/fd/{fd}"


def descend(root: int, path: str) -> int:
    """Open a directory below `root` without following any link, making what is missing. The caller closes it.

    A tree may come from anyone: a link in it must not lead our mkdir or mount to a place of the host.
    """
    here = os.dup(root)
    for part in path.split("/"):
        if part in {"", "."}:
            continue
        flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            below = os.open(part, flags, dir_fd=here)
        except (FileNotFoundError, NotADirectoryError):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part, dir_fd=here)
            os.mkdir(part, 0o755, dir_fd=here)
            below = os.open(part, flags, dir_fd=here)
        os.close(here)
        here = below
    return here


# -- in B


def _become_first(plan: Plan, root: int, files: list[int]) -> None:
    if plan.shell:
        _mount_own(root)
    outside = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    os.fchdir(root)
    syscalls.pivot_root(".", ".")
    os.chdir("/")
    # Files come before the host's tree is let go of: a bind mount takes its source from this mount namespace
    # only.
    for source, (_, inside, read_only) in zip(files, plan.files, strict=True):
        _show_file(source, "/" + inside.lstrip("/"), read_only)
    os.fchdir(outside)
    syscalls.unmount(".", syscalls.MNT_DETACH)
    os.chdir("/")
    for fd in (outside, root, *files):
        os.close(fd)
    if plan.shell:
        _seal_proc()
        syscalls.sethostname(plan.hostname)
        raise_loopback(plan.address)
        _write_etc(plan)


def _mount_own(root: int) -> None:
    guard = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    target = _path_of(descend(root, "proc"))
    try:
        syscalls.mount("proc", target, "proc", guard)
    except PermissionError:
        # In a pod parts of /proc are masked and the kernel refuses a new one that would show them: then the
        # outer one has to do.
        syscalls.mount("/proc", target, "", syscalls.MS_BIND | syscalls.MS_REC)
    target = _path_of(descend(root, "sys"))
    # The same rule; programs live without /sys.
    with contextlib.suppress(PermissionError):
        syscalls.mount("sysfs", target, "sysfs", guard | syscalls.MS_RDONLY)
    syscalls.mount(
        "tmpfs", _path_of(descend(root, "dev")), "tmpfs", guard & ~syscalls.MS_NODEV, "mode=755,size=65536k"
    )
    dev = descend(root, "dev")
    here = _path_of(dev)
    for name in _DEVICES:
        os.close(os.open(f"{here}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        syscalls.mount(f"/dev/{name}", f"{here}/{name}", "", syscalls.MS_BIND)
    for target, name in _DEVICE_LINKS:
        os.symlink(target, name, dir_fd=dev)
    for name in ("pts", "shm"):
        os.mkdir(name, 0o755, dir_fd=dev)
    # No gid=5: a map of one group has no group 5.
    syscalls.mount(
        "devpts", f"{here}/pts", "devpts", guard & ~syscalls.MS_NODEV, "newinstance,ptmxmode=0666,mode=620"
    )
    syscalls.mount("shm", f"{here}/shm", "tmpfs", guard, "mode=1777,size=65536k")


def _show_file(source: int, path: str, read_only: bool) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise SandboxError(
            f"the given file {path} has no place in the container: {error.strerror}"
        ) from error
    syscalls.mount(_path_of(source), path, "", syscalls.MS_BIND)
    if read_only:
        syscalls.make_read_only(path)


def _seal_proc() -> None:
    # Only with the outer /proc, which is read-only already.
    with contextlib.suppress(SandboxError, OSError):
        _write_file("/proc/sys/user/max_user_namespaces", "0")  # no user namespaces within the container
    for name in _PROC_READ_ONLY:
        path = "/proc/" + name
        if os.path.exists(path):
            syscalls.mount(path, path, "", syscalls.MS_BIND | syscalls.MS_REC)
            syscalls.make_read_only(path)
    for name in _PROC_HIDDEN:
        if os.path.exists("/proc/" + name):
            syscalls.mount("/dev/null", "/proc/" + name, "", syscalls.MS_BIND)


def _write_etc(plan: Plan) -> None:
    """The three files that Docker writes at each start, too."""
    hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
    hosts += f"{plan.address or '127.0.1.1'}\t{plan.hostname}\n"
    os.makedirs("/etc", exist_ok=True)
    for name, text in (("hostname", plan.hostname + "\n"), ("hosts", hosts), ("resolv.conf", plan.resolver)):
        path = "/etc/" + name
        if os.path.islink(path):
            os.unlink(path)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.write(fd, text.encode())
        os.close(fd)
