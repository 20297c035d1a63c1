"""The sites that the contract is checked on.

By default the local site in both profiles and on both engines. `--contract-site environment` takes the site that
the OS_* variables name instead (a real Zun, for instance; image and reservation by CHI_EDGE_LAB_IMAGE and
CHI_EDGE_LAB_RESERVATION_ID).
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from keystoneauth1.session import Session
from zunclient import client as zun_client
from zunclient.common.apiclient import exceptions as zun_errors

from tests.localsite import local_site

# pid 1 of a container ignores TERM unless it handles it, and each stop would take its whole ten seconds
COMMAND = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]
LOCAL = ["chi-edge-namespaces", "zun-namespaces", "chi-edge-docker", "zun-docker"]


@dataclass
class ZunSite:
    """A Zun to ask, its client, and what is known of it beforehand."""

    name: str
    env: dict[str, str]
    dialect: str  # "k8s" or "docker"
    image: str
    session: Session = field(init=False)
    zun: Any = field(init=False)

    def __post_init__(self) -> None:
        self.session = login(self.env)
        self.zun = self.client()

    @property
    def max_version(self) -> str:
        return "1.41" if self.dialect == "k8s" else "1.40"

    def client(self, version: str | None = None, session: Session | None = None) -> Any:
        return zun_client.Client(
            version or self.max_version,
            session=session or self.session,
            region_name=self.env.get("OS_REGION_NAME"),
            interface="public",
        )

    def request(self, method: str, path: str, version: str | None = None, **kwargs: Any) -> Any:
        """One raw request below the container endpoint; never raises for a status."""
        headers = {
            "OpenStack-API-Version": f"container {version or self.max_version}",
            **kwargs.pop("headers", {}),
        }
        return self.session.request(
            path,
            method,
            endpoint_filter={"service_type": "container", "region_name": self.env.get("OS_REGION_NAME")},
            headers={name: value for name, value in headers.items() if value},
            raise_exc=False,
            redirect=False,
            **kwargs,
        )

    def create_arguments(self, **overrides: Any) -> dict[str, Any]:
        arguments = {
            "name": f"c-{uuid.uuid4().hex[:10]}",
            "image": self.image,
            "command": COMMAND,
            **overrides,
        }
        reservation = self.env.get("CHI_EDGE_LAB_RESERVATION_ID")
        if reservation and "hints" not in overrides:
            arguments["hints"] = {"reservation": reservation}
        return arguments

    def wait(self, id: str, *statuses: str, timeout: float = 60) -> Any:
        """Poll until the container has one of these statuses (Zun has nothing better)."""
        deadline = time.monotonic() + timeout
        while True:
            container = self.zun.containers.get(id)
            if container.status in statuses:
                return container
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"still {container.status} ({container.status_reason}), wanted {statuses}"
                )
            time.sleep(0.05)

    def wait_idle(self, id: str) -> None:
        """Until no task is under way: only then does the next action meet the state that is shown."""
        while self.zun.containers.get(id).task_state:
            time.sleep(0.05)

    def wait_gone(self, id: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                if self.zun.containers.get(id).status == "Deleted":
                    return
            except zun_errors.NotFound:
                return
            time.sleep(0.05)
        raise AssertionError(f"{id} was not deleted within {timeout} s")

    def remove(self, id: str) -> None:
        """Delete in whatever state it is."""
        for _ in range(100):
            try:
                self.zun.containers.delete(id, stop=True)
            except zun_errors.NotFound:
                return
            except zun_errors.Conflict:
                time.sleep(0.1)  # a state that may not be deleted from: it passes
                continue
            break
        self.wait_gone(id)


def login(env: dict[str, str]) -> Session:
    """A session from OS_* variables with plain keystoneauth, as any unmodified client makes it."""
    from keystoneauth1.identity import v3

    names = {
        "OS_USERNAME": "username",
        "OS_PASSWORD": "password",
        "OS_PROJECT_NAME": "project_name",
        "OS_USER_DOMAIN_NAME": "user_domain_name",
        "OS_USER_DOMAIN_ID": "user_domain_id",
        "OS_PROJECT_DOMAIN_NAME": "project_domain_name",
        "OS_PROJECT_DOMAIN_ID": "project_domain_id",
    }
    arguments = {ours: env[theirs] for theirs, ours in names.items() if env.get(theirs)}
    return Session(v3.Password(env["OS_AUTH_URL"], **arguments), timeout=150)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--contract-site", choices=["local", "environment"], default="local")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "site_name" in metafunc.fixturenames:
        local = metafunc.config.getoption("--contract-site") == "local"
        parameters = [
            pytest.param(name, marks=pytest.mark.docker if name.endswith("-docker") else ())
            for name in (LOCAL if local else ["environment"])
        ]
        metafunc.parametrize("site_name", parameters, scope="session")


@pytest.fixture(scope="session")
def site(site_name: str) -> ZunSite:
    if site_name == "environment":
        env = {name: value for name, value in os.environ.items() if name.startswith(("OS_", "CHI_EDGE_LAB_"))}
        dialect = env.get("CHI_EDGE_LAB_DIALECT", "docker")
        return ZunSite(site_name, env, dialect, env.get("CHI_EDGE_LAB_IMAGE", "busybox"))
    profile, engine = site_name.rsplit("-", 1)
    running = local_site(profile, engine)
    dialect = "k8s" if profile == "chi-edge" else "docker"
    return ZunSite(site_name, running.env, dialect, str(running.images()[0]["name"]))


@pytest.fixture
def create(site: ZunSite) -> Iterator[Callable[..., Any]]:
    """Creates containers that are gone when the test is over. Waits until Running unless told otherwise."""
    made: list[str] = []

    def make(wait: bool = True, **overrides: Any) -> Any:
        arguments = site.create_arguments(**overrides)
        container = site.zun.containers.run(**arguments)
        made.append(container.uuid)
        return site.wait(container.uuid, "Running") if wait else container

    yield make
    for id in made:
        site.remove(id)


@pytest.fixture(scope="session")
def running(site: ZunSite) -> Iterator[Any]:
    """One running container for tests that leave it as it was."""
    container = site.zun.containers.run(**site.create_arguments(interactive=True))
    site.wait(container.uuid, "Running")
    yield container
    site.remove(container.uuid)
