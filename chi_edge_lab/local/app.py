"""One site: its services put together, and the HTTP server in front of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterable
from typing import Any

from tornado import httpserver, httputil, netutil, web
from tornado.http1connection import HTTP1Connection

from chi_edge_lab.local import identity_api, network_api, reservations_api, site_api, zunapi
from chi_edge_lab.local.config import SiteConfig, SiteProblem
from chi_edge_lab.local.engines.base import Engine
from chi_edge_lab.local.identity import Identity
from chi_edge_lab.local.network import Network
from chi_edge_lab.local.ports import Forwarder
from chi_edge_lab.local.profiles import profile_named
from chi_edge_lab.local.reservations import Reservations
from chi_edge_lab.local.store import Store
from chi_edge_lab.local.web import NotFound, Route, WrongHost
from chi_edge_lab.local.wsproxy import SocketProxy
from chi_edge_lab.local.zunapi.limits import Limits
from chi_edge_lab.local.zunapi.machine import Containers

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.1"
SMALL_BODY = 2**20
"""Bytes of a request without a token, or to a service that gets no archives: no stranger fills memory."""

HOSTS = frozenset({"127.0.0.1", "localhost"})
"""Names a client may call the site by."""

DRAIN_SECONDS = 2.0
"""How long a stopping site waits for requests that are under way."""


class Site:
    """The services of one site. Handlers get it; see `zunapi.site` for what the Zun part expects of it."""

    def __init__(self, config: SiteConfig, engine: Engine) -> None:
        self.config = config
        self.engine = engine
        self.store = Store(config.directory / "site.sqlite")
        self.identity = Identity(config, self.store)
        self.network = Network(config, self.store)
        self.reservations = Reservations(config, self.store)
        self._leases: asyncio.Task[None] | None = None
        self.profile = profile_named(config.profile)
        self.forwarder = Forwarder(self)
        self.network.on_change = self.forwarder.update
        self.containers = Containers(self)
        self.proxy = SocketProxy(self)

    @property
    def limits(self) -> Limits:
        """Bounds of the Zun part."""
        return self.config.settings.limits

    @property
    def url(self) -> str:
        """Root of the site, no slash at the end."""
        return self.config.url

    @property
    def container_url(self) -> str:
        """Where Zun's version document is."""
        return f"{self.url}/container"

    @property
    def ws_url(self) -> str:
        """The websocket proxy."""
        return f"ws://{ADDRESS}:{self.config.port}/ws/"

    async def start(self) -> None:
        """Take up what an earlier process left: containers that run, listeners of floating IPs."""
        await self.forwarder.start()
        await asyncio.get_running_loop().run_in_executor(None, self.containers.restore)
        await self.forwarder.settled()  # before the first answer: a container that runs can be reached
        self._leases = asyncio.create_task(self.reservations.watch(self.containers.leases_ended))

    async def close(self) -> None:
        """Let go of everything; containers go on."""
        if self._leases:
            self._leases.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._leases
        await self.proxy.close()
        await self.forwarder.close()
        await asyncio.get_running_loop().run_in_executor(None, self.containers.close)
        self.engine.close()
        self.store.close()


class Application(web.Application):
    """All routes of a site; requests for another host name are turned away before any of them."""

    def __init__(self, site: Site) -> None:
        rules: list[Route] = site_api.routes(site)
        rules += _below("/identity", identity_api.routes(site))
        rules += _below("/network", network_api.routes(site))
        rules += _below("/container", zunapi.routes(site))
        rules += site.proxy.routes()
        if site.config.profile == "chi-edge":
            rules += _below("/reservation", reservations_api.routes(site))
        self._identity = site.identity
        super().__init__(
            rules,
            default_handler_class=NotFound,
            default_handler_args={"site": site},
            log_function=_log_request,
        )

    def find_handler(  # type: ignore[override]  # a private type of Tornado, whose base this is
        self, request: httputil.HTTPServerRequest, **kwargs: Any
    ) -> httputil.HTTPMessageDelegate:
        if request.host_name.lower() not in HOSTS:
            return self.get_handler_delegate(request, WrongHost)
        # here the headers are read and the body is not yet
        if not self._may_be_large(request) and isinstance(request.connection, HTTP1Connection):
            request.connection.set_max_body_size(SMALL_BODY)
        return super().find_handler(request, **kwargs)

    def _may_be_large(self, request: httputil.HTTPServerRequest) -> bool:
        archive = request.path.startswith("/container/")
        return archive and self._identity.authenticate(request.headers.get("X-Auth-Token")) is not None


def _below(prefix: str, rules: Iterable[Route]) -> list[Route]:
    return [(prefix + pattern, handler, kwargs) for pattern, handler, kwargs in rules]


def _log_request(handler: web.RequestHandler) -> None:
    """The access log: without the query, which holds commands and tokens; off below level DEBUG."""
    if log.isEnabledFor(logging.DEBUG):
        request = handler.request
        milliseconds = 1000 * request.request_time()
        log.debug("%s %s %d %.1f ms", request.method, request.path, handler.get_status(), milliseconds)


def bind(port: int) -> tuple[list[socket.socket], int]:
    """Listen on 127.0.0.1: on `port` where it is free, else on any. Returns the sockets and the port."""
    for wanted in dict.fromkeys((port, 0)):
        try:
            sockets = netutil.bind_sockets(wanted, ADDRESS, family=socket.AF_INET)
        except OSError as error:
            log.warning("port %d is taken (%s): another one is used from now on", wanted, error)
            continue
        return sockets, sockets[0].getsockname()[1]
    raise SiteProblem("No port of 127.0.0.1 can be listened on.")


async def serve(
    site: Site, sockets: list[socket.socket], stopped: asyncio.Event, ready: Callable[[], None]
) -> None:
    """Answer requests until `stopped` is set, then end in order. `ready` is called when it answers."""
    server = httpserver.HTTPServer(
        Application(site), max_body_size=site.limits.body, max_buffer_size=site.limits.body
    )
    try:
        await site.start()
        server.add_sockets(sockets)
        ready()
        await stopped.wait()
        server.stop()
        try:
            await asyncio.wait_for(server.close_all_connections(), DRAIN_SECONDS)
        except asyncio.TimeoutError:
            log.info("stopping although requests are under way")
    finally:
        await site.close()
