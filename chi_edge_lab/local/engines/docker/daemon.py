"""The container daemon on this machine: finding it, asking it, and the raw streams of its API.

Plain questions go through the `docker` SDK. Streams that go both ways (exec, attach) and those that must be
interruptible (events) use a socket of our own: the SDK reads the answer's head through a buffer and then
hands out the socket below it, so that what came along with the head is lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from chi_edge_lab.local.engines.base import (
    EngineError,
    EngineUnavailable,
    ImageNotFound,
    NoSuchContainer,
    NotRunning,
)

SECONDS_TO_ANSWER = 60.0  # a loaded daemon takes long to start or to remove a container
CONNECTIONS = 64  # kept open; as many as the site has threads
_NOT_RUNNING = ("is not running", "is paused", "is not paused", "container state improper")
MAX_HEAD = 64 * 1024  # bytes of an answer's head; the daemon's are below 1 KiB


class Daemon:
    """A daemon that answered. `client` is the SDK's low-level client; threads may share it."""

    def __init__(self, url: str) -> None:
        """Connect to `url` (`unix:///path` or `tcp://host:port`). Raises EngineUnavailable."""
        try:
            import docker
            import docker.errors
            import requests
        except ImportError as missing:
            raise EngineUnavailable(
                "The docker engine needs the docker package: pip install 'chi-edge-lab[docker]'."
            ) from missing
        self.url = url
        self._api_error: type[Exception] = docker.errors.APIError
        self._http_error: type[Exception] = requests.RequestException
        self._connect().close()  # the SDK would leave its socket open where nobody answers
        try:
            self.client: Any = docker.APIClient(
                base_url=url, version="auto", timeout=SECONDS_TO_ANSWER, max_pool_size=CONNECTIONS
            )
            version = self.client.version()
        except (docker.errors.DockerException, OSError) as error:
            raise EngineUnavailable(
                f"No container daemon answers at {url} ({_last_cause(error)})."
            ) from error
        components = [str(part.get("Name", "")) for part in version.get("Components") or []]
        self.is_podman = any("podman" in name.lower() for name in components)
        self.description = f"{'Podman' if self.is_podman else 'Docker'} {version.get('Version', '')}".strip()
        self.prefix = f"/v{self.client.api_version}"

    def close(self) -> None:
        """Close the pooled connections."""
        self.client.close()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn the SDK's exceptions into those of `base`."""
        try:
            yield
        except self._api_error as error:
            status = getattr(error, "status_code", None)
            raise error_for(int(status or 500), str(getattr(error, "explanation", None) or error)) from error
        except self._http_error as error:
            raise EngineUnavailable(
                f"The container daemon at {self.url} does not answer ({_last_cause(error)})."
            ) from error

    def get(self, path: str, /, **query: str | int) -> Any:
        """GET a JSON document of the API, where the SDK lacks a parameter that we need."""
        with self.errors():
            response = self.client.get(
                f"{self.client.base_url}{self.prefix}{path}", params=query, timeout=SECONDS_TO_ANSWER
            )
        return _checked(response).json()

    def stream(self, path: str, /, **query: str | int) -> Any:
        """GET an answer whose body is read piece by piece (`requests.Response`; close it)."""
        with self.errors():
            response = self.client.get(
                f"{self.client.base_url}{self.prefix}{path}",
                params=query,
                stream=True,
                timeout=SECONDS_TO_ANSWER,
            )
        return _checked(response)

    def send(self, method: str, path: str, body: BinaryIO, /, **query: str | list[str]) -> bytes:
        """Send a stream as the body of a request; returns the answer's body."""
        with self.errors():
            response = self.client.request(
                method,
                f"{self.client.base_url}{self.prefix}{path}",
                params=query,
                data=_pieces(body),
                headers={"Content-Type": "application/x-tar"},
                timeout=None,  # a big archive onto a slow disk may take any time
            )
            return bytes(_checked(response).content)

    def open(
        self, method: str, path: str, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
    ) -> socket.socket:
        """Ask, and take over the connection: a blocking socket with the answer's body and nothing read of it.

        A POST asks for a connection that goes both ways; a GET is sent as HTTP/1.0, whose body ends with the
        connection.
        """
        sock = self._connect()
        try:
            content = b"" if body is None else json.dumps(body).encode()
            target = self.prefix + path + (f"?{urlencode(query)}" if query else "")
            lines = [f"{method} {target} HTTP/{'1.0' if method == 'GET' else '1.1'}", "Host: docker"]
            if method == "POST":
                lines += ["Connection: Upgrade", "Upgrade: tcp", "Content-Type: application/json"]
                lines += [f"Content-Length: {len(content)}"]
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + content)
            status = int(_read_head(sock).split(None, 2)[1])
            if status not in (101, 200):
                raise error_for(status, _message(_drain(sock)))
            sock.settimeout(None)
        except OSError as error:
            sock.close()
            raise EngineUnavailable(
                f"The container daemon at {self.url} does not answer ({error})."
            ) from error
        except BaseException:
            sock.close()
            raise
        return sock

    def _connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        unix = parts.scheme == "unix"
        sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        try:
            sock.settimeout(SECONDS_TO_ANSWER)
            sock.connect(parts.path if unix else (parts.hostname or "127.0.0.1", parts.port or 2375))
        except OSError as error:
            sock.close()
            raise EngineUnavailable(f"No container daemon answers at {self.url} ({error}).") from error
        return sock


def _pieces(source: BinaryIO) -> Iterator[bytes]:
    """An iterator makes requests send chunks; it would trust the length of a file, and a pipe's is 0."""
    while piece := source.read(256 * 1024):
        yield piece


def find_daemon() -> Daemon:
    """The first daemon that answers: `DOCKER_HOST`, Docker's socket, rootless Docker's, Podman's.

    Raises EngineUnavailable with a sentence that says what to change.
    """
    problems = []
    for url in candidates():
        path = pathlib.Path(urlsplit(url).path)
        if url.startswith("unix://") and not path.exists():
            if "DOCKER_HOST" in os.environ:
                problems.append(f"DOCKER_HOST is {url}, where there is no socket")
            continue
        if url.startswith("unix://") and not os.access(path, os.R_OK | os.W_OK):
            problems.append(f"this user may not open {path}, add it to that file's group")
            continue
        try:
            return Daemon(url)
        except EngineUnavailable as error:
            problems.append(str(error).rstrip("."))
    reason = "; ".join(problems) or "there is no socket of Docker or Podman"
    raise EngineUnavailable(f"No Docker can be used: {reason}.")


def candidates() -> list[str]:
    """Where a daemon may be, in the order in which they are tried."""
    host = os.environ.get("DOCKER_HOST")
    if host:
        return [host]  # who sets it means this one and no other
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    paths = [
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        f"{runtime}/podman/podman.sock",
        "/run/podman/podman.sock",
    ]
    return [f"unix://{path}" for path in paths]


def error_for(status: int, message: str) -> EngineError:
    """The exception for an error answer of the daemon, by status and text (the daemon has no error codes)."""
    text = message.strip() or f"the container daemon answered {status}"
    low = text.lower()
    if status == 404 and "no such container" in low:
        return NoSuchContainer(text)
    if status == 404 and "no such image" in low:
        return ImageNotFound(text)
    if status in (409, 500) and any(state in low for state in _NOT_RUNNING):
        return NotRunning(text)
    return EngineError(text)


def _checked(response: Any) -> Any:
    if response.status_code >= 400:
        content = response.content
        response.close()
        raise error_for(response.status_code, _message(content))
    return response


def _read_head(sock: socket.socket) -> str:
    """Take the answer's head off the socket and no byte more: the rest is for whoever gets the socket."""
    seen = 0
    while True:
        data = sock.recv(MAX_HEAD, socket.MSG_PEEK)
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            return sock.recv(end + 4).decode("latin-1")
        if not data or len(data) >= MAX_HEAD:
            raise ConnectionError("it closed the connection before answering")
        if len(data) == seen:
            time.sleep(0.001)  # peeking does not wait for more
        seen = len(data)


def _drain(sock: socket.socket) -> bytes:
    """The rest of an error answer. The daemon keeps such a connection open, so a pause ends it too."""
    sock.settimeout(0.2)
    data = b""
    with contextlib.suppress(TimeoutError):
        while (piece := sock.recv(65536)) and len(data) < MAX_HEAD:
            data += piece
    return data


def _message(content: bytes) -> str:
    text = content.decode("utf-8", "replace").strip()
    start = text.find("{")
    try:
        return str(json.loads(text[start : text.rfind("}") + 1])["message"])
    except (ValueError, KeyError, TypeError):
        return text


def _last_cause(error: BaseException) -> str:
    """The innermost reason, without the three layers of HTTP around it."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None:
            return str(error) or type(error).__name__
        error = inner
