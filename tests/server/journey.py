"""A person's whole way through the extension: everything that is read, and everything that is done."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any
from urllib.parse import quote

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.websocket import websocket_connect

from chi_edge_lab.server.operations import Operation
from tests.server.asking import OPERATIONS, Raw, filled

SECRET = "hunter2-in-an-environment"
IDLE = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]
QUERIES = {"path": "/etc/passwd"}  # for the operations that cannot be asked without


class Journey:
    """Asks with the token, and keeps all that came back."""

    def __init__(self, raw: Raw, headers: dict[str, str], site: str = "default") -> None:
        self.raw = raw
        self.headers = headers
        self.site = f"/sites/{site}"
        self.replies: list[tuple[str, HTTPResponse]] = []
        self.heard: list[str] = []  # of sockets
        self.ids: dict[str, str] = {}
        self.uuid = ""

    @property
    def container(self) -> str:
        return f"{self.site}/containers/{self.uuid}"

    async def ask(self, method: str, path: str, body: Any = None, data: bytes | None = None) -> Any:
        """One request; its JSON, whatever its status is."""
        sent = data if data is not None else None if body is None else json.dumps(body).encode()
        reply = await self.raw.ask(method, path, self.headers, sent)
        self.replies.append((f"{method} {path}", reply))
        with contextlib.suppress(ValueError):
            return json.loads(reply.body)
        return None

    async def make(self, name: str) -> None:
        """Create a container and wait until it runs."""
        body = {"name": name, "image": "busybox", "command": IDLE, "environment": {"KEY": SECRET}}
        made = await self.ask("POST", f"{self.site}/containers", body)
        self.uuid = made["uuid"]
        await self.until(self.container, lambda one: one["status"] == "Running")

    async def until(self, path: str, fits: Any, seconds: float = 30.0) -> Any:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            found = await self.ask("GET", path)
            if fits(found):
                return found
            assert loop.time() < end, found
            await asyncio.sleep(0.05)

    async def work(self) -> None:
        """A command, a terminal, an upload, a download."""
        done = await self.ask("POST", f"{self.container}/exec", {"command": ["echo", "hello"]})
        assert (done["exit_code"], done["output"]) == (0, "hello\n"), done
        started = await self.ask("POST", f"{self.container}/execs", {"command": "sleep 600"})
        self.ids["execs"] = started["exec_id"]
        terminal = await self.ask("POST", f"{self.container}/terminals", {})
        self.ids["terminals"] = terminal["id"]
        await self.type(f"/terminals/{terminal['id']}/socket", "echo to''gether\n", "together")
        upload = {"direction": "upload", "path": "/tmp", "name": "up.txt", "files": [{"path": "", "size": 5}]}
        sent = await self.ask("POST", f"{self.container}/transfers", upload)
        self.ids["transfers"] = sent["id"]
        await self.ask("PUT", f"/transfers/{sent['id']}/content?path=&offset=0", data=b"bytes")
        await self.until(f"/transfers/{sent['id']}", lambda one: one["state"] == "done")
        fetched = await self.ask(
            "POST", f"{self.container}/transfers", {"direction": "download", "paths": ["/tmp/up.txt"]}
        )
        await self.until(f"/transfers/{fetched['id']}", lambda one: one["state"] == "ready")
        await self.ask("GET", f"/transfers/{fetched['id']}/content")
        assert self.replies[-1][1].body == b"bytes"
        await self.ask("GET", f"{self.container}/files/content?path=/tmp/up.txt")
        assert self.replies[-1][1].body == b"bytes"

    async def type(self, path: str, keys: str, expected: str) -> None:
        """Type into a terminal until it shows what is expected."""
        url = "ws" + self.raw.absolute(path).removeprefix("http")
        socket = await websocket_connect(HTTPRequest(url, headers=self.headers))
        await socket.write_message(keys.encode(), binary=True)
        shown = ""
        while expected not in shown:
            message = await asyncio.wait_for(socket.read_message(), 20)
            assert message is not None, shown
            shown += message.decode(errors="replace") if isinstance(message, bytes) else message
        self.heard.append(shown)
        socket.close()

    async def listen(self, *topics: dict[str, Any], seconds: float = 1.0) -> None:
        """Follow topics for a while."""
        url = "ws" + self.raw.absolute("/events").removeprefix("http")
        socket = await websocket_connect(HTTPRequest(url, headers=self.headers))
        for id, topic in enumerate(topics):
            await socket.write_message(json.dumps({"op": "subscribe", "id": id, "topic": topic}))
        with contextlib.suppress(asyncio.TimeoutError):
            while True:
                message = await asyncio.wait_for(socket.read_message(), seconds)
                assert message is not None
                self.heard.append(str(message))
        socket.close()

    async def look_around(self) -> None:
        """Every operation that reads, once."""
        for one in OPERATIONS:
            if one.method == "GET":
                await self.ask("GET", self._path(one))

    def _path(self, one: Operation) -> str:
        noun = one.path.split("/")[1]
        site = self.site.rpartition("/")[2]
        path = filled(one.path, site=site, uuid=self.uuid, id=self.ids.get(noun, ""))
        fields = one.query.model_fields if one.query else {}
        needed = [name for name, field in fields.items() if field.is_required()]
        words = "&".join(f"{name}={quote(QUERIES[name])}" for name in needed)
        return f"{path}?{words}" if words else path

    async def leave(self) -> None:
        """End and delete what was made."""
        await self.ask("DELETE", f"/execs/{self.ids['execs']}")
        await self.ask("DELETE", f"/terminals/{self.ids['terminals']}")
        await self.ask("DELETE", self.container)
        assert self.replies[-1][1].code == 202
