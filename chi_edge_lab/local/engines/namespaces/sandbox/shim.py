"""The supervisor of one container: makes it, keeps its log and its streams, serves the engine, notes how it
ended.

It is detached from whoever started it, so a container outlives the site's process. It reads `run.json` in the
container's
directory and writes `state.json` when pid 1 runs and `exit.json` when it has ended; the engine talks to it
over `shim.sock` there.
If it is killed the kernel kills pid 1 and with it everything in the container.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import time

from . import cgroups, procs, protocol, syscalls, workers
from .build import SandboxError, spawn
from .execs import Exec, Execs
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
from .logfile import DIRECTORY, LogFile
from .loop import READ, Loop
from .plan import Plan
from .stdio import MAX_ATTACHED, Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is slow to import
    from typing import Any

_MAX_CONNECTIONS = 256
_DRAIN = 2.0  # seconds for what is left in the pipes when pid 1 has ended
_GRACE = 5.0  # seconds between SIGTERM to the shim (the machine goes down) and SIGKILL to pid 1


def main(arguments: list[str]) -> int:
    """`sandbox DIRECTORY REPORT_FD` starts a container; for `sandbox --files SOCKET_FD` see `workers`."""
    if arguments[0] == "--files":
        return workers.serve_stopped(int(arguments[1]))
    directory, report_fd = arguments[0], int(arguments[1])
    os.set_inheritable(report_fd, False)
    if os.fork():
        return 0  # our parent need not wait for more
    os.setsid()
    os.umask(0o077)
    os.chdir(directory)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    code = 1
    try:
        code = Shim(report_fd).run()
    finally:
        sys.stderr.flush()
        os._exit(code)


def write_json(name: str, value: dict[str, Any]) -> None:
    """Write a file of the container's directory, whole or not at all."""
    temporary = f"{name}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    os.write(fd, json.dumps(value).encode())
    os.close(fd)
    os.replace(temporary, name)


def exit_code_of(status: int) -> int:
    """As a shell and Docker count: 128 + N after signal N."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class Shim:
    """One run of one container."""

    def __init__(self, report_fd: int) -> None:
        self._report_fd = report_fd
        self._run: dict[str, Any] = json.loads(procs.read_text("run.json"))
        self._ended: int | None = None
        self._deadline: float | None = None
        self._looked = time.monotonic()
        self._reaped_seconds = 0.0
        self._commands: dict[int, Exec] = {}
        self._connections: dict[int, socket.socket] = {}
        self._master: int | None = None
        self._helpers: list[int] = []  # children from before there is somebody to expect them

    # -- start

    def run(self) -> int:
        """Start the container, serve until it ends. The exit code of the shim."""
        syscalls.become_subreaper()
        self._group = cgroups.Group(self._run["cgroup"])
        self._group.create(self._run["memory_mib"], self._run["cpu"])
        try:
            self._start()
        except (SandboxError, OSError) as error:
            self._group.remove()
            self._answer({"error": str(error), "kind": "sandbox"})
            return 1
        except ExecError as error:
            self._group.remove()
            self._answer({"error": str(error), "kind": "command"})
            return 1
        self._listen()
        write_json(
            "state.json",
            {
                "run": self._run["run"],
                "boot": procs.boot_id(),
                "shim": os.getpid(),
                "shim_started": procs.start_time(os.getpid()),
                "pid": self._pid,
                "pid_started": self._pid_started,
                "started_at": self._started_at,
                "cgroup": self._group.is_real,
            },
        )
        self._answer({"pid": self._pid})
        self._reap()  # a short program has ended before the loop could be told
        while self._ended is None:
            self._loop.step(self._timeout())
            self._stdio.drop_stalled()
            self._look_around()
            if self._deadline is not None and time.monotonic() > self._deadline:
                os.kill(self._pid, signal.SIGKILL)
        self._finish(self._ended)
        return 0

    def _answer(self, message: dict[str, Any]) -> None:
        # Who started us has gone; the container goes on.
        with contextlib.suppress(OSError):
            os.write(self._report_fd, json.dumps(message).encode())
        os.close(self._report_fd)

    def _timeout(self) -> float | None:
        quick = self._deadline is not None or self._stdio.is_held
        return 0.5 if quick else float(self._run["look_seconds"])

    def _look_around(self) -> None:
        """A container whose directory somebody has removed could never be reached again: end it."""
        if time.monotonic() - self._looked > self._run["look_seconds"]:
            self._looked = time.monotonic()
            if not os.path.exists("run.json"):
                os.kill(self._pid, signal.SIGKILL)

    def _start(self) -> None:
        run = self._run
        plan = Plan.from_message(run["plan"])
        outputs: list[tuple[int, str]] = []
        stdin: int | None = None
        ends: list[int] = []
        ours, theirs = socket.socketpair()
        if not run["tty"]:
            for stream in ("stdout", "stderr"):
                read, write = os.pipe()
                outputs.append((read, stream))
                ends.append(write)
            if run["interactive"]:
                read, stdin = os.pipe()
                ends.insert(0, read)
            else:
                ends.insert(0, os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC))

        give_pipes(ends, plan.ids[0])

        def body(up: int) -> int:
            self._become_program(up, ends, theirs)
            return 127

        self._pid, status = spawn(plan, body, self._adopt)
        try:
            self._started_at = time.time()
            protocol.close_all(ends)
            theirs.close()
            text = b""
            while part := os.read(status, 65536):
                text += part
            failure = read_report(text)
            if failure is not None:
                os.waitpid(self._pid, 0)
                raise ExecError(failure["message"])
            if run["tty"]:
                _, fds = protocol.receive_packet(ours)
                if not fds:
                    raise SandboxError("the container ended before it had a terminal")
                self._master = fds[0]
                outputs = [(self._master, "stdout")]
                stdin = os.dup(self._master) if run["interactive"] else None
        finally:
            os.close(status)
            ours.close()
        self._loop = Loop(self._reap)
        log = LogFile(DIRECTORY, run["log_bytes"], run["log_files"])
        self._stdio = Stdio(self._loop, log, outputs, stdin, tty=run["tty"])
        self._execs = Execs(self._loop, self._namespaces, plan.ids[0], self._group.add_self, run["max_execs"])
        for helper in self._helpers:
            self._execs.expect(helper)
        signal.signal(signal.SIGTERM, self._terminate)

    def _adopt(self, pid: int, namespaces: Namespaces) -> None:
        """Pid 1 is there and waits."""
        self._group.add(pid)
        self._pid_started = procs.start_time(pid)
        self._namespaces = namespaces
        if self._run["outbound"]:
            from . import outbound

            outbound.start(namespaces, self._run["plan"]["ids"][0], self._helpers.append)

    def _become_program(self, up: int, ends: list[int], connection: socket.socket) -> None:
        """In pid 1."""
        run = self._run
        try:
            os.setsid()
            if run["tty"]:
                master, slave = os.openpty()
                socket.send_fds(connection, [b"m"], [master])
                take_terminal(slave)
            else:
                set_stdio(*ends)
            os.makedirs(run["workdir"], exist_ok=True)
            execute(run["argv"], run["environment"], run["workdir"])
        except ExecError as error:
            report(up, "command", str(error))
        except (OSError, ValueError) as error:
            report(up, "error", str(error))

    # -- children

    def _reap(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._ended = exit_code_of(status)
            else:
                self._reaped_seconds += usage.ru_utime + usage.ru_stime
                self._execs.ended(pid, exit_code_of(status))

    def _terminate(self, _number: int, _frame: object) -> None:
        os.kill(self._pid, signal.SIGTERM)
        self._deadline = time.monotonic() + _GRACE

    def _finish(self, exit_code: int) -> None:
        limit = time.monotonic() + _DRAIN
        while (self._stdio.is_open or not self._stdio.is_flushed) and time.monotonic() < limit:
            self._stdio.release()
            self._loop.step(max(0.0, limit - time.monotonic()))
        self._stdio.close()
        self._reap()
        ended = {
            "run": self._run["run"],
            "exit_code": exit_code,
            "finished_at": time.time(),
            "error": self._group.verdict(),
        }
        with contextlib.suppress(FileNotFoundError):  # the directory was removed
            write_json("exit.json", ended)
            os.unlink(protocol.SOCKET_NAME)
        self._namespaces.close()
        self._group.remove()
        for connection in self._connections.values():
            connection.close()

    # -- the engine's requests

    def _listen(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(protocol.SOCKET_NAME)
        self._listener = protocol.make_socket()
        # A relative name: an absolute one may be longer than the 108 bytes that a socket address holds.
        self._listener.bind(protocol.SOCKET_NAME)
        self._listener.listen(64)
        self._listener.setblocking(False)
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        _, user, _ = struct.unpack("iII", credentials)
        if user not in {0, os.geteuid()} or len(self._connections) >= _MAX_CONNECTIONS:
            connection.close()
            return
        connection.setblocking(False)
        fd = connection.fileno()
        self._connections[fd] = connection
        self._loop.watch(fd, READ, lambda _events: self._serve(connection))

    def _serve(self, connection: socket.socket) -> None:
        fd = connection.fileno()
        try:
            message, fds = protocol.receive(connection)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            message, fds = None, []
        if message is None:
            self._loop.forget(fd)
            del self._connections[fd]
            command = self._commands.pop(fd, None)
            if command is not None:
                self._execs.abandoned(command)
            connection.close()
            return
        try:
            self._dispatch(connection, message, fds)
        except (OSError, LookupError, TypeError) as error:
            # It has gone.
            with contextlib.suppress(OSError):
                protocol.send(connection, {"event": "failed", "kind": "error", "message": str(error)})

    def _dispatch(self, connection: socket.socket, message: dict[str, Any], fds: list[int]) -> None:
        operation = message["op"]
        answer: dict[str, Any] = {"event": "done"}
        if operation == "watch":
            return  # it waits for the end of the connection
        if operation == "exec":
            command = self._execs.start(connection, message, fds)
            if command is not None:
                self._commands[connection.fileno()] = command
            return
        if operation in {"get", "put", "socket"}:
            workers.start(operation, self._namespaces, connection, message, fds, self._execs.expect)
            return
        if operation == "attach":
            if self._stdio.attached >= MAX_ATTACHED:
                protocol.close_all(fds)
                raise OSError(f"{MAX_ATTACHED} are attached to this container already")
            self._stdio.attach(socket.socket(fileno=fds[0]))
        elif operation == "resize":
            if self._master is not None:
                self._stdio.resize(self._master, message["rows"], message["cols"])
        elif operation == "signal":
            os.kill(self._pid, message["signal"])
        elif operation == "usage":
            answer["reaped_seconds"] = self._reaped_seconds
        else:
            raise OSError(f"unknown request {operation}")
        protocol.send(connection, answer)
