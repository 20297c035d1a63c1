"""Fixtures of the tests of core and container: clients of real local sites, and running containers on them."""

from __future__ import annotations

import os
import uuid as uuids
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from chi_edge_lab import sites
from chi_edge_lab.core import create, lifecycle, shell
from chi_edge_lab.zun import Client
from tests.localsite import local_site

PROFILES = ("chi-edge", "zun")
# ends at once when it is stopped, which a shell as process 1 does not
IDLE = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait; done"]
BOXES = ("chi-edge busybox", "chi-edge gnu", "zun busybox")  # busybox tar, GNU tar, the site's own tar


def login_environment(profile: str, patch: pytest.MonkeyPatch) -> None:
    """Make this process log in to the local site of that profile."""
    for name in [name for name in os.environ if name.startswith(("OS_", "CHI_EDGE_LAB_", "JUPYTERHUB_"))]:
        patch.delenv(name)
    for name, value in local_site(profile, "auto").env.items():
        patch.setenv(name, value)


def client_of(profile: str) -> Client:
    """A client of the run's local site of that profile."""
    with pytest.MonkeyPatch.context() as patch:
        login_environment(profile, patch)
        return Client(sites.login())


def unique(prefix: str = "test") -> str:
    """A name that every dialect takes and no other test has."""
    return f"{prefix}-{uuids.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Box:
    """A running container to try things in."""

    client: Client
    uuid: str
    kind: str

    def sh(self, script: str, *arguments: str | bytes) -> bytes:
        """What a script prints; it must succeed."""
        reply = shell.run(self.client, self.uuid, script, *arguments)
        assert reply.code == 0, reply
        return reply.output

    def folder(self) -> str:
        """A new directory in it."""
        return self.sh("mkdir -p /data;mktemp -d /data/test-XXXXXX").decode().strip()


def image_of(kind: str, profile: str) -> str:
    images = [str(image["name"]) for image in local_site(profile, "auto").images()]
    found = [image for image in images if image.startswith("busybox" if kind == "busybox" else "python")]
    if not found:
        pytest.fail(f"no {kind} image on this machine: {images}", pytrace=False)
    return found[0]


def start_box(kind: str) -> Box:
    profile, userland = kind.split()
    client = client_of(profile)
    made = create.create(
        client, name=unique(userland), image=image_of(userland, profile), command=IDLE, timeout=60
    )
    return Box(client, made.uuid, kind)


@pytest.fixture(scope="session", params=PROFILES)
def client(request: pytest.FixtureRequest) -> Client:
    """A client of each profile."""
    return client_of(request.param)


@pytest.fixture(scope="session", params=BOXES)
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """A running container of each kind, shared by the tests."""
    made = start_box(request.param)
    yield made
    lifecycle.delete(made.client, made.uuid)


@pytest.fixture
def new_container(client: Client) -> Iterator[Callable[..., str]]:
    """Creates containers that go with the test; gives their uuid."""
    made: list[str] = []

    def make(command: object = None, *, image: str = "busybox", **fields: object) -> str:
        fields.setdefault("name", unique())
        found = create.create(
            client,
            image=image,
            command=IDLE if command is None else command,
            timeout=60,
            on_created=lambda one: made.append(one.uuid),
            **fields,  # type: ignore[arg-type]
        )
        return found.uuid

    yield make
    for uuid in made:
        lifecycle.delete(client, uuid)
