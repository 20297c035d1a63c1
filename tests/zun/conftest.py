"""A site that misbehaves, and real local sites, each logged in to."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from chi_edge_lab import errors, sites
from chi_edge_lab.zun import Client, versions
from tests.faultysite import FaultySite
from tests.localsite import local_site


@pytest.fixture(autouse=True)
def _no_login_of_mine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("OS_", "JUPYTERHUB_", "CHI_EDGE_LAB_")):
            monkeypatch.delenv(name)
    # a clouds.yaml of whoever runs the tests is nobody's business here
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", os.devnull)
    yield
    sites.use_site(None)
    sites.use_project(None)
    sites.forget_logins()


@pytest.fixture
def faulty() -> Iterator[FaultySite]:
    site = FaultySite()
    yield site
    site.close()


@pytest.fixture
def client_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make(site: FaultySite, timeout: float | None = 5.0) -> Client:
        for name, value in site.env().items():
            monkeypatch.setenv(name, value)
        clients.append(Client(sites.login(), timeout=timeout))
        return clients[-1]

    yield make
    for client in clients:
        with contextlib.suppress(errors.EdgeLabError):  # some of these sites are dead by now
            versions.forget(client.login)
        client.login.session.session.close()


@pytest.fixture
def client(faulty: FaultySite, client_of: Callable[..., Client]) -> Client:
    return client_of(faulty)


@pytest.fixture(params=["chi-edge", "zun"])
def real(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client of a running local site, in each profile."""
    for name, value in local_site(request.param).env.items():
        monkeypatch.setenv(name, value)
    client = Client(sites.login())
    yield client
    client.login.session.session.close()
