"""A site of the test's own in a thread of this process: the real application, a real engine, small limits."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from keystoneauth1 import session as ksa_session
from keystoneauth1.identity import v3
from zunclient.client import Client

from chi_edge_lab.local import app
from chi_edge_lab.local.config import SiteConfig
from chi_edge_lab.local.engines import probe
from chi_edge_lab.local.zunapi.limits import Limits
from chi_edge_lab.local.zunapi.quotas import Quotas

ENGINE = os.environ.get("CHI_EDGE_LAB_TEST_ENGINE", "auto")
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]
"""Runs until it is told to end (pid 1 ignores TERM unless it has a handler)."""

QUICK = Limits(
    execute_timeout=1.0,
    archive_timeout=1.5,
    stop_grace=0.2,
    restart_delays=(0.0, 0.05),
)
"""As a real site, but nobody waits for seconds."""


class RunningSite:
    """Started when made; `stop` it."""

    def __init__(self, directory: Path, profile: str, limits: Limits = QUICK) -> None:
        self.directory = directory
        self.profile = profile
        self.limits = limits
        self._tokens: dict[str, str] = {}
        self.start()

    def start(self) -> None:
        """Again in the same directory, after `stop`."""
        ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._main(ready),))
        self._thread.start()
        assert ready.wait(60), "the site did not start"
        Quotas(self.site).set(self.project("edge"), {"containers": -1})  # tests leave theirs behind

    async def _main(self, ready: threading.Event) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        config = SiteConfig.open(self.directory, self.profile)
        config.settings = dataclasses.replace(config.settings, limits=self.limits)
        engine = probe.open_engine(engine_name(), self.directory / "engine")
        sockets, config.port = app.bind(config.port)
        config.save()
        self.site = app.Site(config, engine)
        await app.serve(self.site, sockets, self._stopped, ready.set)

    def stop(self) -> None:
        """As SIGTERM does."""
        self.loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(60)

    def destroy(self) -> None:
        """Remove all containers and stop."""
        self.stop()
        engine = probe.open_engine(engine_name(), self.directory / "engine")
        for one in engine.list():
            engine.remove(one)
        engine.close()

    # -- clients

    @property
    def reservation(self) -> str:
        """The standing reservation of user edge."""
        return self.site.reservations.standing(self.project("edge"))

    def project(self, user: str) -> str:
        return self.site.config.secrets.account(user).project_id

    def session(self, user: str = "edge") -> ksa_session.Session:
        account = self.site.config.secrets.account(user)
        auth = v3.Password(
            auth_url=self.site.config.auth_url,
            username=user,
            password=account.password,
            project_name=user,
            user_domain_name="Default",
            project_domain_name="Default",
        )
        return ksa_session.Session(auth=auth)

    def client(self, user: str = "edge", version: str = "1.40") -> Any:
        """An unmodified python-zunclient."""
        return Client(version, session=self.session(user), interface="public", region_name="local")

    def token(self, user: str = "edge") -> str:
        if user not in self._tokens:
            self._tokens[user] = self.session(user).get_token()
        return self._tokens[user]

    def http(
        self,
        method: str,
        path: str,
        *,
        user: str | None = "edge",
        version: str | None = "1.40",
        **kwargs: Any,
    ) -> requests.Response:
        """A bare request below /container."""
        headers = dict(kwargs.pop("headers", {}))
        if user:
            headers["X-Auth-Token"] = self.token(user)
        if version:
            headers["OpenStack-API-Version"] = f"container {version}"
        return requests.request(method, self.site.container_url + path, headers=headers, timeout=60, **kwargs)

    # -- containers

    def body(self, **more: Any) -> dict[str, Any]:
        """A create body that works here."""
        body: dict[str, Any] = {
            "name": f"c-{uuid.uuid4().hex[:12]}",
            "image": "busybox",
            "command": SLEEP,
        }
        if self.profile == "chi-edge":
            body["hints"] = {"reservation": self.reservation}
        return {**body, **more}

    def create(
        self, *, user: str = "edge", run: bool = True, status: str | None = "Running", **more: Any
    ) -> str:
        """The uuid of a new container that has reached a status."""
        version = more.pop("version", "1.40")
        answer = self.http(
            "POST", f"/v1/containers?run={run}", user=user, version=version, json=self.body(**more)
        )
        assert answer.status_code == 202, answer.text
        made = answer.json()["uuid"]
        if status is not None:
            self.wait(made, status, user=user)
        return str(made)

    def get(self, ref: str, user: str = "edge") -> dict[str, Any]:
        answer = self.http("GET", f"/v1/containers/{ref}", user=user)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def wait(self, ref: str, status: str, *, user: str = "edge", seconds: float = 20.0) -> dict[str, Any]:
        """Until it has this status and nothing is being done."""
        row: dict[str, Any] = {}

        def there() -> bool:
            nonlocal row
            row = self.get(ref, user)
            return row["status"] == status and row["task_state"] is None

        until(there, seconds, lambda: f"{row['status']} {row['task_state']} {row['status_reason']}")
        return row

    def gone(self, ref: str, seconds: float = 20.0) -> None:
        until(lambda: self.http("GET", f"/v1/containers/{ref}").status_code == 404, seconds)

    def execute(self, ref: str, command: str) -> dict[str, Any]:
        answer = self.http(
            "POST", f"/v1/containers/{ref}/execute", params={"command": command, "run": "True"}
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def until(there: Callable[[], bool], seconds: float = 20.0, what: Callable[[], str] = lambda: "") -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, f"not within {seconds} s {what()}"
        time.sleep(0.02)


@functools.cache
def engine_name() -> Any:
    """The engine to test with: the first that works here, tried out once."""
    with tempfile.TemporaryDirectory() as directory:
        engine = probe.choose(ENGINE, Path(directory))  # type: ignore[arg-type]
        engine.close()
    return engine.name
