"""The site as a process: start it in the background, stop it, see whether it runs."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import logging
import logging.handlers
import os
import re
import select
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from chi_edge_lab import __version__
from chi_edge_lab.local import runtime
from chi_edge_lab.local.config import ProfileName, SiteConfig, SiteProblem, make_private
from chi_edge_lab.local.runtime import Runtime

log = logging.getLogger(__name__)

START_SECONDS = 30.0
"""Until a site that does not come up is given up; it takes well under two."""

ANSWER_SECONDS = 5.0
"""Until a running site that does not answer counts as stuck."""

STOP_SECONDS = 15.0
"""Between TERM and KILL of a site."""

LOG_BYTES = 1_000_000
LOG_FILES = 2

ENVIRONMENT = re.compile(
    r"PATH|HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|VIRTUAL_ENV|PYTHON\w+|LD_LIBRARY_PATH"
    r"|DOCKER_\w+|CONTAINER_HOST|CHI_EDGE_LAB_\w+|SSL_CERT_\w+|\w+_proxy"
)
"""Variables the site's process gets. Others (OS_PASSWORD, JUPYTERHUB_API_TOKEN, ...) are none of its
business, and it outlives the session they belong to."""


def start(directory: Path, profile: ProfileName | None, engine: str = "auto") -> tuple[Runtime, bool]:
    """Start the site of a directory unless it runs; returns when it answers.

    Returns the site, and whether it was started now. Raises SiteProblem.
    """
    make_private(directory)
    busy = f"Another process has been starting the site in {directory} for half a minute: see its site.log."
    with runtime.lock(directory / "start.lock", timeout=START_SECONDS, busy=busy):
        config = SiteConfig.open(directory, profile)
        running = runtime.find(directory)
        if running and running.version != __version__:
            # the package was upgraded under it: the old process would run containers with the new one's files
            stop(directory)
            running = None
        if running:
            if engine not in ("auto", running.engine):
                raise SiteProblem(
                    f"The site in {directory} already runs with the {running.engine} engine: "
                    f"stop it first to start it with {engine}."
                )
            if not answers(running):
                raise SiteProblem(
                    f"The site in {directory} runs (process {running.pid}) but does not answer: "
                    "`chi-edge-lab site stop` ends it, its containers go on."
                )
            return running, False
        return _spawn(directory, config.profile, engine), True


def stop(directory: Path) -> Runtime | None:
    """End the site of a directory; its containers go on.

    Returns what ran, None when none did. Raises SiteProblem.
    """
    running = runtime.find(directory)
    if running is None:
        return None
    for kind, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        if not _signal(running, kind):
            break
        end = time.monotonic() + seconds
        while running.alive and time.monotonic() < end:
            time.sleep(0.01)
        if not running.alive:
            break
    else:
        raise SiteProblem(f"The site's process {running.pid} does not end.")
    with contextlib.suppress(ChildProcessError):  # it is our child where this process has started it
        os.waitpid(running.pid, os.WNOHANG)
    if runtime.find(directory) is None:
        runtime.forget(directory)
    return running


def destroy(directory: Path) -> int:
    """End the site, remove its containers and then all its files; returns how many containers there were.

    Raises SiteProblem, and leaves the files, when a container cannot be removed.
    """
    from chi_edge_lab.local import engine_choice

    if not (directory / "site.json").exists():  # not a site's directory: nothing in it is ours to remove
        raise SiteProblem(f"There is no site in {directory}.")
    busy = f"The site in {directory} is being started by another process."
    with runtime.lock(directory / "start.lock", timeout=START_SECONDS, busy=busy):
        stop(directory)
        count = engine_choice.remove_containers(SiteConfig.open(directory))
        shutil.rmtree(directory)
    return count


def answers(running: Runtime) -> bool:
    """Whether that site answers HTTP, and is the one it should be."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/")
        said = json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError):
        return False
    finally:
        connection.close()
    return isinstance(said, dict) and said.get("auth_url") == running.auth_url


def serve(
    directory: Path,
    profile: ProfileName | None,
    engine: str = "auto",
    ready: Callable[[Runtime], None] | None = None,
) -> None:
    """Be the site, until SIGTERM or SIGINT. Raises SiteProblem when it cannot start."""
    import asyncio

    from chi_edge_lab.local import app, engine_choice

    make_private(directory)
    busy = f"A site already runs in {directory}."
    # held for life: whatever the files say, two sites never share a directory
    with runtime.lock(directory / "serve.lock", timeout=1.0, busy=busy):
        config = SiteConfig.open(directory, profile)
        sockets, config.port = app.bind(config.port)
        chosen = engine_choice.choose(config, engine)
        config.engine = chosen.name
        config.save()
        try:
            site = app.Site(config, chosen)
        except sqlite3.Error as error:
            raise SiteProblem(
                f"{directory / 'site.sqlite'} cannot be used ({error}): "
                "move it away to begin anew; containers of the site are then removed."
            ) from error
        me = Runtime(
            pid=os.getpid(),
            starttime=runtime.start_time(os.getpid()) or 0,
            port=config.port,
            url=config.url,
            auth_url=config.auth_url,
            profile=config.profile,
            engine=config.engine,
            version=__version__,
            directory=str(directory),
        )

        async def main() -> None:
            stopped = asyncio.Event()
            loop = asyncio.get_running_loop()
            for kind in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(kind, stopped.set)

            def announce() -> None:
                me.write(directory)
                log.info(
                    "site %s of profile %s with engine %s on %s", __version__, me.profile, me.engine, me.url
                )
                if ready:
                    ready(me)

            await app.serve(site, sockets, stopped, announce)

        try:
            asyncio.run(main())
        finally:
            runtime.forget(directory)
            log.info("site ended")


def serve_detached(directory: Path, profile: ProfileName | None, engine: str, ready_fd: int) -> None:
    """Be the site in the background: log to site.log, tell through a pipe how the start went."""
    os.set_inheritable(ready_fd, False)  # or a container's process would keep the starter waiting
    log_to(directory / "site.log")
    os.chdir("/")  # keeps no file system busy
    with os.fdopen(ready_fd, "w", encoding="utf-8") as pipe:

        def ready(me: Runtime) -> None:
            json.dump({"runtime": dataclasses.asdict(me)}, pipe)
            pipe.close()

        try:
            serve(directory, profile, engine, ready)
        except SiteProblem as error:
            if pipe.closed:
                raise
            log.info("%s", error)
            json.dump({"problem": str(error), "hint": error.hint}, pipe)
        except Exception:
            log.exception("the site fails")
            raise


def log_to(path: Path) -> None:
    """Send this process's log to a file that is rotated, without the queries of URLs.

    They hold commands and tokens.
    """
    handler = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_BYTES, backupCount=LOG_FILES, encoding="utf-8"
    )
    handler.setFormatter(Redacting("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    path.chmod(0o600)


class Redacting(logging.Formatter):
    """Takes the query out of everything that looks like a URL or path."""

    _QUERY = re.compile(r"(?<=[\w/])\?[\w.%~+-]+=[^\s'\")]*")

    def format(self, record: logging.LogRecord) -> str:
        return self._QUERY.sub("?...", super().format(record))


def _spawn(directory: Path, profile: ProfileName, engine: str) -> Runtime:
    runtime.forget(directory)
    said = directory / "start.err"  # what the process prints before its log is set up, if anything
    argv = [
        sys.executable,
        "-m",
        "chi_edge_lab.local",
        "serve",
        "--dir",
        str(directory),
        "--profile",
        profile,
    ]
    argv += ["--engine", engine, "--ready-fd", "3"]
    with _pipe() as (reader, writer):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        # a session of its own: it does not end with the terminal, notebook or test that started it
        pid = os.posix_spawn(
            sys.executable,
            argv,
            _environment(),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, writer, 3),
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(said), flags, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        os.close(writer)
        answer = _read_all(reader, START_SECONDS)
    if answer is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise SiteProblem(
            f"The site did not come up within {START_SECONDS:.0f} s: see {directory / 'site.log'}."
        )
    if not answer:
        os.waitpid(pid, 0)
        lines = said.read_text("utf-8", errors="replace").strip().splitlines()
        why = lines[-1] if lines else "no reason given"
        raise SiteProblem(f"The site ended while it was starting ({why}): see {directory / 'site.log'}.")
    result = json.loads(answer)
    if "problem" in result:
        os.waitpid(pid, 0)
        raise SiteProblem(result["problem"], hint=result.get("hint", ""))
    return Runtime(**result["runtime"])


def _environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if ENVIRONMENT.fullmatch(k)}
    root = Path(__file__).parents[2]
    if root.name not in ("site-packages", "dist-packages"):
        # not installed but run from its sources: the new process must find it from any working directory
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), kept.get("PYTHONPATH"))))
    return kept


@contextlib.contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe; the reading end is closed at the end, the writing end by whoever used it up."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)


def _read_all(reader: int, seconds: float) -> bytes | None:
    """All that is written until the other end closes; None when it takes too long."""
    data = b""
    end = time.monotonic() + seconds
    while True:
        left = end - time.monotonic()
        if left <= 0 or not select.select([reader], [], [], left)[0]:
            return None
        chunk = os.read(reader, 65536)
        if not chunk:
            return data
        data += chunk


def _signal(running: Runtime, kind: signal.Signals) -> bool:
    """Send a signal to that very process; whether it was there."""
    try:
        handle = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return False
    try:
        # with the handle open its id cannot be given to another process between the check and the signal
        if not running.alive:
            return False
        signal.pidfd_send_signal(handle, kind)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True
