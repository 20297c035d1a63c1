"""The engines that the contract is stated for, and containers to try it on."""

from __future__ import annotations

import importlib
import itertools
import pathlib
import time
from collections.abc import Callable, Iterator

import pytest

from chi_edge_lab.local.engines.base import Engine, EngineUnavailable, Spec

ENGINES = {
    "namespaces": ("chi_edge_lab.local.engines.namespaces", "NamespacesEngine"),
    "docker": ("chi_edge_lab.local.engines.docker", "DockerEngine"),
}
FOREVER = ("sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done")

_numbers = itertools.count()

Make = Callable[..., str]


def open_engine(name: str, directory: pathlib.Path) -> Engine:
    """The engine of this name on a directory; a machine without it skips the test."""
    module, kind = ENGINES[name]
    try:
        engine: Engine = getattr(importlib.import_module(module), kind)(directory)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    return engine


@pytest.fixture(
    scope="module",
    params=["namespaces", pytest.param("docker", marks=pytest.mark.docker)],
    name="engine_name",
)
def _engine_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def engine_directory(tmp_path_factory: pytest.TempPathFactory, engine_name: str) -> pathlib.Path:
    return tmp_path_factory.mktemp(engine_name)


@pytest.fixture(scope="module")
def engine(engine_name: str, engine_directory: pathlib.Path) -> Iterator[Engine]:
    """One engine for a module's tests."""
    engine = open_engine(engine_name, engine_directory)
    yield engine
    for id in engine.list():
        engine.remove(id)
    engine.close()


@pytest.fixture
def make(engine: Engine) -> Iterator[Make]:
    """`make(*command, start=True, **fields of Spec)` makes a container that goes with the test."""
    made = []

    def make(*command: str, start: bool = True, **fields: object) -> str:
        id = f"00000000-0000-4000-8000-{next(_numbers):012d}"
        fields.setdefault("image", engine.images()[0].name)
        engine.create(Spec(id=id, name=f"test-{id[-4:]}", command=command or FOREVER, **fields))  # type: ignore[arg-type]
        made.append(id)
        if start:
            engine.start(id)
        return id

    yield make
    for id in made:
        engine.remove(id)


@pytest.fixture(scope="module")
def box(engine: Engine) -> Iterator[str]:
    """A running container that a module's tests share."""
    id = "00000000-0000-4000-8000-b0b0b0b0b0b0"
    engine.create(
        Spec(
            id=id,
            name="box",
            image=engine.images()[0].name,
            command=FOREVER,
            environment={"COLOUR": "blue ink"},
            workdir="/tmp",
            hostname="box-host",
        )
    )
    engine.start(id)
    yield id
    engine.remove(id)


def wait_for(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Return when `condition` holds; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
