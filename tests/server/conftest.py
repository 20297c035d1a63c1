"""A real Jupyter server with the extension, on real local sites in both profiles."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from chi_edge_lab import sites
from tests.localsite import clean_environment, site_command

PROFILES = {"local": "chi-edge", "local-zun": "zun"}


@pytest.fixture(scope="session")
def edge_home() -> Iterator[Path]:
    """The home of the run's own local sites, which start when a test first names them."""
    with tempfile.TemporaryDirectory(prefix="chi-edge-lab-server-") as home:
        yield Path(home)
        environment = clean_environment() | {"CHI_EDGE_LAB_HOME": home}
        for profile in PROFILES.values():
            site_command("destroy", "--profile", profile, environment=environment, check=False)


@pytest.fixture(autouse=True)
def only_local_sites(edge_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's credentials: this server knows the local sites."""
    for name in list(os.environ):
        if name.startswith(("OS_", "CHI_EDGE_LAB_", "JUPYTERHUB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CHI_EDGE_LAB_HOME", str(edge_home))
    sites.use_site(None)
    sites.use_project(None)


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"chi_edge_lab": True}}}


Api = Callable[..., Awaitable[Any]]


@pytest.fixture
def api(jp_fetch: Any) -> Api:
    """`await api("GET", "sites", body=..., status=...)`: the JSON of one request to the extension."""

    async def call(method: str, *path: str, status: int | None = None, body: Any = None, **query: Any) -> Any:
        options: dict[str, Any] = {"method": method, "params": {k: str(v) for k, v in query.items()}}
        if method in {"POST", "PUT", "PATCH"}:
            options["body"] = json.dumps(body) if body is not None else ""
        try:
            reply = await jp_fetch("chi-edge-lab", "api", *path, request_timeout=90, **options)
        except HTTPClientError as error:
            if error.response is None:
                raise
            reply = error.response
        wanted = status or (reply.code if reply.code < 400 else 200)
        assert reply.code == wanted, f"{reply.code}: {reply.body.decode(errors='replace')[:2000]}"
        if "json" in reply.headers.get("Content-Type", "") and reply.body:
            return json.loads(reply.body)
        return reply.body

    return call


@pytest.fixture(params=list(PROFILES))
def site(request: pytest.FixtureRequest) -> str:
    """The name of a local site, in each profile."""
    return str(request.param)


@pytest.fixture
def unique() -> str:
    """A name for a container that no other test has."""
    return f"s-{uuid.uuid4().hex[:10]}"


# ends at once when it is stopped, which a shell as process 1 does not
IDLE = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]


@pytest.fixture
def box(api: Api, site: str, unique: str, jp_asyncio_loop: Any) -> Iterator[Box]:
    """Containers of a site by name: `await box.create()` gives a running one; they go with the test."""
    made = Box(api, site, unique)
    yield made
    jp_asyncio_loop.run_until_complete(made.delete())


class Box:
    """Creates containers through the extension, asks it about them and waits for what it says."""

    def __init__(self, api: Api, site: str, name: str) -> None:
        self._api = api
        self.site = site
        self.name = name
        self.made: list[str] = []

    async def create(self, *, until: str = "Running", **body: Any) -> str:
        """The uuid of a new container, once it has a status ("": at once)."""
        fields = {"name": f"{self.name}-{len(self.made)}", "image": "busybox", "command": IDLE, **body}
        found = await self._api("POST", "sites", self.site, "containers", body=fields, status=202)
        self.made.append(found["uuid"])
        if until:
            await self.until(found["uuid"], until)
        return str(found["uuid"])

    async def delete(self) -> None:
        """Delete them all, and wait until they are gone: the site has room for few."""
        for one in dict.fromkeys(self.made):
            await self.ask("DELETE", one)
        for _ in range(400):
            listed = await self._api("GET", "sites", self.site, "containers")
            if not {one["uuid"] for one in listed["containers"]} & set(self.made):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not deleted: {listed}")

    async def ask(self, method: str, uuid: str, *path: str, **options: Any) -> Any:
        """A request about one container."""
        return await self._api(method, "sites", self.site, "containers", uuid, *path, **options)

    async def until(self, uuid: str, status: str) -> dict[str, Any]:
        """The container, once it has a status and nothing is being done to it."""
        for _ in range(400):
            found = await self.ask("GET", uuid)
            if found["status"] == status and not found["task_state"]:
                return dict(found)
            await asyncio.sleep(0.05)
        raise AssertionError(f"not {status}: {found}")
