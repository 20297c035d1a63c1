"""A real Jupyter server with the extension, in a process of its own: for kill -9, for memory, and for benchmarks."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.localsite import clean_environment

_START_SECONDS = 60.0


@dataclass
class LabServer:
    """`jupyter server` in `directory`, on a port of its own choice. `env` is added to a clean environment.

    `options` are further command-line options, such as "--EdgeLabLimits.linger=1".
    """

    directory: Path
    env: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    url: str = field(init=False, default="")
    process: subprocess.Popen[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.directory / "server.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        for name in ("root", "runtime", "data", "config"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        folders = {
            f"JUPYTER_{name.upper()}_DIR": str(self.directory / name)
            for name in ("runtime", "data", "config")
        }
        environment = clean_environment() | folders | {"PYTHONPATH": os.pathsep.join(sys.path)} | self.env
        for old in (self.directory / "runtime").glob("jpserver-*.json"):
            old.unlink()
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ServerApp.port=0",
                 "--ServerApp.ip=127.0.0.1", f"--IdentityProvider.token={self.token}",
                 "--ServerApp.jpserver_extensions={'chi_edge_lab': True}",
                 f"--ServerApp.root_dir={self.directory / 'root'}", *self.options],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until = time.monotonic() + _START_SECONDS
        while True:
            found = list((self.directory / "runtime").glob(f"jpserver-{self.process.pid}.json"))
            if found and found[0].stat().st_size:
                self.url = json.loads(found[0].read_text())["url"]
                break
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the Jupyter server did not start:\n{self.log[-3000:]}")
            time.sleep(0.05)
        while True:  # the file is there a moment before the port
            try:
                self.api("GET", "status")
                return
            except urllib.error.URLError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def request(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 60.0
    ) -> tuple[int, bytes]:
        """Status and body of a request to the extension; `path` may have a query."""
        headers = {"Authorization": f"token {self.token}", "Content-Type": "application/json"}
        request = urllib.request.Request(
            f"{self.url}chi-edge-lab/api/{path}", data=body, method=method, headers=headers
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=timeout) as reply:
                return reply.status, reply.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def api(self, method: str, path: str, body: Any = None, timeout: float = 60.0) -> Any:
        """The JSON of a request that is to succeed (None for an empty body)."""
        status, data = self.request(
            method, path, None if body is None else json.dumps(body).encode(), timeout
        )
        if status >= 400:
            raise AssertionError(f"{method} {path}: {status} {data[:2000]!r}")
        return json.loads(data) if data else None

    def websocket_url(self, path: str) -> str:
        """The address of one of the extension's sockets (the token goes in the Authorization header)."""
        return f"ws{self.url.removeprefix('http')}chi-edge-lab/api/{path}"

    def memory(self) -> int:
        """Bytes of resident memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it as a person does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the server did not stop:\n{self.log[-3000:]}") from None
