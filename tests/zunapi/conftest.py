"""The sites these tests share: one of each profile, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.zunapi.running import RunningSite


@pytest.fixture(scope="session")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    """A site of the chi-edge profile."""
    site = RunningSite(tmp_path_factory.mktemp("edge") / "site", "chi-edge")
    yield site
    site.destroy()


@pytest.fixture(scope="session")
def zun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSite]:
    """A site of the zun profile."""
    site = RunningSite(tmp_path_factory.mktemp("zun") / "site", "zun")
    yield site
    site.destroy()


@pytest.fixture(params=["chi-edge", "zun"])
def any_site(request: pytest.FixtureRequest) -> RunningSite:
    """Each profile in turn."""
    name = "edge" if request.param == "chi-edge" else "zun"
    site: RunningSite = request.getfixturevalue(name)
    return site


@pytest.fixture(scope="session")
def edge_container(edge: RunningSite) -> str:
    """One that runs, for tests that only look inside."""
    return edge.create(interactive=True)


@pytest.fixture(scope="session")
def zun_container(zun: RunningSite) -> str:
    """One that runs, for tests that only look inside."""
    return zun.create()


@pytest.fixture
def any_container(any_site: RunningSite, request: pytest.FixtureRequest) -> str:
    """One that runs on `any_site`."""
    name = "edge_container" if any_site.profile == "chi-edge" else "zun_container"
    made: str = request.getfixturevalue(name)
    return made
