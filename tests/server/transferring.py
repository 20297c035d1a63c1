"""What the tests of files and transfers share: a container of each profile, and a client of the transfers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chi_edge_lab import sites
from chi_edge_lab.core import create, lifecycle, shell
from chi_edge_lab.zun import Client, client_for
from tests.boxes import IDLE


class Room:
    """A container of a site, with a folder for one test."""

    def __init__(self, site: str, name: str, client: Client | None = None) -> None:
        self.site = site
        self.client = client or client_for(sites.login(site))
        self.uuid = create.create(
            self.client, name=name, image="busybox", command=IDLE, wait_until_running=True, timeout=60
        ).uuid
        self.path = ("sites", site, "containers", self.uuid)

    def sh(self, script: str, *arguments: str | bytes) -> bytes:
        reply = shell.run(self.client, self.uuid, script, *arguments)
        assert reply.code == 0, reply
        return reply.output

    def leftovers(self) -> bytes:
        """Temporary directories anywhere."""
        return self.sh("find / -xdev -name '.chi-edge-lab-*' 2>/dev/null;exit 0")

    def delete(self) -> None:
        lifecycle.delete(self.client, self.uuid)


class Blocking:
    """Calls of a room from a test that runs on the loop."""

    def __init__(self, room: Room) -> None:
        self.room = room

    async def sh(self, script: str, *arguments: str | bytes) -> bytes:
        return await asyncio.to_thread(self.room.sh, script, *arguments)

    async def leftovers(self) -> bytes:
        return await asyncio.to_thread(self.room.leftovers)


async def until(look: Callable[[], Any], fits: Callable[[Any], bool], seconds: float = 60.0) -> Any:
    """What `look` (a coroutine function) gives as soon as it fits."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        found = await look()
        if fits(found):
            return found
        assert asyncio.get_running_loop().time() < end, found
        await asyncio.sleep(0.05)
