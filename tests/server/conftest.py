"""A real Jupyter server with the extension, on real local sites in both profiles."""

from __future__ import annotations

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
from chi_edge_lab.core import create, lifecycle
from chi_edge_lab.server.services import Services
from chi_edge_lab.zun import Client, client_for
from tests.boxes import IDLE
from tests.localsite import clean_environment, site_command
from tests.server.box import Box
from tests.server.events import Events

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
        options: dict[str, Any] = {
            "method": method,
            "params": {k: v if isinstance(v, bytes) else str(v) for k, v in query.items()},
        }
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


@pytest.fixture
def site_client(site: str) -> Client:
    """A client of `site`, for what a test prepares or looks at beside the server."""
    return client_for(sites.login(site))


@pytest.fixture
def container(site_client: Client, unique: str) -> Iterator[str]:
    """The uuid of a running container on `site`."""
    made = create.create(
        site_client,
        name=unique,
        image="busybox",
        command=IDLE,
        environment={"PASSWORD": "hunter2"},
        timeout=60,
    )
    yield made.uuid
    lifecycle.delete(site_client, made.uuid)


@pytest.fixture
def box(api: Api, site: str, unique: str, jp_asyncio_loop: Any) -> Iterator[Box]:
    """Containers of `site`: `await box.create()` gives the uuid of a running one; they go with the test."""
    made = Box(api, site, unique)
    yield made
    jp_asyncio_loop.run_until_complete(made.delete())


@pytest.fixture
def events(jp_ws_fetch: Any, jp_asyncio_loop: Any) -> Iterator[Callable[[], Awaitable[Events]]]:
    """`await events()`: a client of a new event socket, closed at the test's end."""
    opened: list[Events] = []

    async def connect() -> Events:
        opened.append(Events(await jp_ws_fetch("chi-edge-lab", "api", "events")))
        return opened[-1]

    yield connect
    for client in opened:
        jp_asyncio_loop.run_until_complete(client.end())


@pytest.fixture
def services(jp_serverapp: Any) -> Services:
    """The server's own."""
    found: Services = jp_serverapp.web_app.settings["chi_edge_lab_services"]
    return found
