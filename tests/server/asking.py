"""Raw requests for every operation of the list, and for the sockets beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tornado.httpclient import HTTPClientError, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketHandler, websocket_connect

from chi_edge_lab.server.operations import HANDLERS, PATTERNS, Operation, path_names
from chi_edge_lab.server.routes import load_operations

UUID = "01234567-89ab-cdef-0123-456789abcdef"
_CANDIDATES = (UUID, "nosuch", "1", "127.9.9.9")
OPERATIONS: list[Operation] = load_operations()
SOCKETS: list[str] = [path for path, handler in HANDLERS if issubclass(handler, WebSocketHandler)]


def fitting(name: str) -> list[str]:
    """Values for a name in a path that have its form."""
    return [one for one in _CANDIDATES if re.fullmatch(PATTERNS[name], one)]


def filled(path: str, **values: str) -> str:
    """A path with a value for each name in it: those given, else something that fits its pattern."""
    for name in path_names(path):
        path = path.replace(f"{{{name}}}", values.get(name) or fitting(name)[0])
    return path


class Raw:
    """Sends requests exactly as told: no token, no cookie and no retry of its own."""

    def __init__(self, client: Any, base_url: str) -> None:
        self._client = client
        self.base = f"{base_url}chi-edge-lab/api"

    def url(self, path: str) -> str:
        return f"{self.base}{path}"

    def absolute(self, path: str) -> str:
        return str(self._client.get_url(self.url(path)))

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> HTTPResponse:
        """One request; a 4xx or 5xx is an answer too."""
        if body is None and method in {"POST", "PUT", "PATCH"}:
            body = b"{}"
        found: HTTPResponse = await self._client.fetch(
            self.url(path), method=method, headers=dict(headers or {}), body=body, raise_error=False,
            request_timeout=30, follow_redirects=False, allow_nonstandard_methods=True,
        )  # fmt: skip
        return found

    async def upgrade(self, path: str, headers: Mapping[str, str] | None = None) -> int:
        """The status with which a websocket's handshake is answered; one that opens is closed again."""
        url = "ws" + self.absolute(path).removeprefix("http")
        try:
            socket = await websocket_connect(
                HTTPRequest(url, headers=dict(headers or {}), request_timeout=20)
            )
        except HTTPClientError as error:
            return error.code
        socket.close()
        return 101
