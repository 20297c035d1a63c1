"""Real containers of the namespaces engine. One engine a module; containers are removed after each test."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chi_edge_lab.local.engines.base import Spec, Terminal
from chi_edge_lab.local.engines.namespaces import NamespacesEngine

_numbers = itertools.count(1)
Run = Callable[..., str]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NamespacesEngine]:
    made = NamespacesEngine(tmp_path_factory.mktemp("engine"))
    yield made
    for identifier in made.list():
        made.remove(identifier)
    made.close()


@pytest.fixture
def run(engine: NamespacesEngine) -> Iterator[Run]:
    """Create and start a container; busybox and a long sleep unless told otherwise."""
    made: list[str] = []

    def start(*command: str, image: str = "busybox", started: bool = True, **fields: Any) -> str:
        identifier = f"test-{next(_numbers):04d}"
        spec = Spec(
            id=identifier, name=identifier, image=image, command=command or ("sleep", "1000"), **fields
        )
        engine.create(spec)
        made.append(identifier)
        if started:
            engine.start(identifier)
        return identifier

    yield start
    for identifier in made:
        engine.remove(identifier)


@pytest.fixture
def sh(engine: NamespacesEngine) -> Callable[[str, str], str]:
    """Run a line of shell in a container, which must succeed; its output without the last newline."""

    def run_line(identifier: str, line: str) -> str:
        result = engine.execute(identifier, ["sh", "-c", line], timeout=20)
        assert result.exit_code == 0, result
        return result.output.decode().removesuffix("\n")

    return run_line


def wait_until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Until it is true; fails after so many seconds."""
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.005)


def read_until(terminal: Terminal, wanted: bytes, seconds: float = 5.0) -> bytes:
    """What it prints up to and with `wanted`."""
    text = b""

    def look() -> bool:
        nonlocal text
        with contextlib.suppress(BlockingIOError):
            text += terminal.read()
        return wanted in text

    try:
        wait_until(look, seconds)
    except AssertionError:
        raise AssertionError(f"{wanted!r} not in {text!r}") from None
    return text


def read_to_end(terminal: Terminal, seconds: float = 5.0) -> bytes:
    text = b""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        try:
            part = terminal.read()
        except BlockingIOError:
            time.sleep(0.005)
            continue
        if not part:
            return text
        text += part
    raise AssertionError(f"no end after {text!r}")


def processes_named(marker: str) -> list[int]:
    """Processes of this machine with `marker` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
