"""A small real HTTP server that is a Keystone and a Zun which misbehaves as it is told to."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROJECT = "0123456789abcdef0123456789abcdef"


@dataclass
class Reply:
    """One answer. `body`: bytes as they are, anything else as JSON. `cut`: bytes promised and not sent."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int = 0
    hang_up: bool = False


@dataclass
class Request:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        return  # a client that went away is what some tests are about


class FaultySite:
    """`script[("GET", "/v1/containers")]` holds the answers still to give; the last one is given for ever."""

    def __init__(
        self, *, k8s: bool = False, maximum: str = "1.40", region: str = "here", tls: Path | None = None
    ) -> None:
        self.script: dict[tuple[str, str], list[Reply | Callable[[Handler], None]]] = {}
        self.requests: list[Request] = []
        self.logins: list[dict[str, Any]] = []
        self.refuse_logins = False
        self.bearers_taken: set[str] | None = None
        self.connections: list[socket.socket] = []
        server = _Server(("127.0.0.1", 0), Handler)
        server.site = self  # type: ignore[attr-defined]
        self.server = server
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        self.region = region
        self.say("GET", "/", {"versions": [{"id": "v1", "min_version": "1.1", "max_version": maximum}]})
        profiles = "/v1/drivers/k8s/device_profiles"
        if k8s:
            self.say("GET", profiles, b"null")
        else:
            self.say(
                "GET", profiles, Reply(404, {"errors": [{"code": "container.", "status": 404, "title": ""}]})
            )
        self.thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def say(self, method: str, path: str, *answers: Any) -> None:
        """The answers to a request, in order: Reply, function of the handler, or a body of status 200."""
        self.script[method, path] = [
            answer if isinstance(answer, Reply) or callable(answer) else Reply(body=answer)
            for answer in answers
        ]

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests of that kind so far."""
        return [one for one in self.requests if (one.method, one.path) == (method, path)]

    def env(self) -> dict[str, str]:
        """OS_* variables for it."""
        return {
            "OS_AUTH_URL": f"{self.url}/v3", "OS_USERNAME": "student", "OS_PASSWORD": "hunter2secret",
            "OS_PROJECT_NAME": "class", "OS_REGION_NAME": self.region,
        }  # fmt: skip

    def close(self) -> None:
        self.server.shutdown()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server.server_close()
        self.thread.join(5)

    def token_document(self) -> dict[str, Any]:
        endpoint = {
            "interface": "public",
            "region": self.region,
            "region_id": self.region,
            "url": self.url + "/v1",
        }
        service = {"type": "container", "name": "zun", "id": "1", "endpoints": [endpoint]}
        domain = {"id": "default", "name": "Default"}
        return {
            "token": {
                "methods": ["password"], "expires_at": "2999-01-01T00:00:00.000000Z",
                "issued_at": "2026-01-01T00:00:00.000000Z", "audit_ids": ["a"], "roles": [],
                "user": {"id": "u", "name": "student", "domain": domain},
                "project": {"id": PROJECT, "name": "class", "domain": domain}, "catalog": [service],
            }
        }  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """Answers from the script of its FaultySite."""

    protocol_version = "HTTP/1.1"
    server: Any
    deaf_from: float | None = None  # time.monotonic() from which no ping is answered

    def setup(self) -> None:
        super().setup()
        self.server.site.connections.append(self.connection)

    def log_message(self, *_: Any) -> None:
        return

    def _any(self) -> None:
        site: FaultySite = self.server.site
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {key.lower(): value for key, value in self.headers.items()}
        site.requests.append(Request(self.command, path, query, headers, body))
        if (self.command, path) in site.script:
            answers = site.script[self.command, path]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if callable(answer):
                answer(self)
            else:
                self.answer(answer)
        elif path == "/v3/auth/tokens" and self.command == "POST":
            self._log_in(site, body)
        elif path.startswith("/v3/OS-FEDERATION/"):
            self._federate(site)
        else:
            self.answer(Reply(404, {"errors": []}))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815

    def _log_in(self, site: FaultySite, body: bytes) -> None:
        if site.refuse_logins:
            self.answer(Reply(401, {"error": {"code": 401, "title": "Unauthorized", "message": "no"}}))
            return
        site.logins.append(json.loads(body))
        self.answer(
            Reply(201, site.token_document(), {"X-Subject-Token": f"gAAAAtoken{'x' * 20}{len(site.logins)}"})
        )

    def _federate(self, site: FaultySite) -> None:
        bearer = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if site.bearers_taken is not None and bearer not in site.bearers_taken:
            self.answer(Reply(401, {"error": {"code": 401, "title": "Unauthorized", "message": "no"}}))
            return
        document = site.token_document()
        del document["token"]["project"], document["token"]["catalog"]
        self.answer(Reply(201, document, {"X-Subject-Token": "gAAAAunscoped" + "x" * 20}))

    def answer(self, reply: Reply) -> None:
        if reply.delay:
            time.sleep(reply.delay)
        if reply.hang_up:
            self.close_connection = True
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        headers = {"Content-Type": "application/json", **reply.headers}
        for key, value in headers.items():
            self.send_header(key, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(data) + reply.cut))
        self.end_headers()
        self.wfile.write(data)
        if reply.cut:
            self.close_connection = True

    # -- the few lines of a websocket -----------------------------------------------------------

    def open_websocket(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in (
            ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept),
            ("Sec-WebSocket-Protocol", "binary"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True

    def send_frame(self, data: bytes, opcode: int = 2) -> None:
        size = len(data)
        head = bytes([0x80 | opcode])
        if size < 126:
            head += bytes([size])
        elif size < 65536:
            head += b"\x7e" + struct.pack("!H", size)
        else:
            head += b"\x7f" + struct.pack("!Q", size)
        self.wfile.write(head + data)

    def linger(self) -> None:
        """Read what still comes: a socket closed with unread bytes takes back what it has sent."""
        self.connection.settimeout(0.3)
        with contextlib.suppress(OSError):
            while self.read_frame()[0] != 8:
                pass

    def read_frame(self) -> tuple[int, bytes]:
        """(opcode, data) of the next frame; pings are answered on the way. (8, b"") when the line is cut."""
        while True:
            if self.deaf_from is not None and time.monotonic() > self.deaf_from:
                time.sleep(3)
                return 8, b""
            head = self.rfile.read(2)
            if len(head) < 2:
                return 8, b""
            size = head[1] & 0x7F
            if size == 126:
                size = struct.unpack("!H", self.rfile.read(2))[0]
            elif size == 127:
                size = struct.unpack("!Q", self.rfile.read(8))[0]
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(size)))
            if head[0] & 0xF != 9:
                return head[0] & 0xF, data
            self.send_frame(data, 10)
