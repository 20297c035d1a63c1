"""Containers made and asked about through the extension."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.boxes import IDLE


class Box:
    """Creates containers on a site, asks about them and waits for what is said of them."""

    def __init__(self, api: Any, site: str, name: str) -> None:
        self._api = api
        self.site = site
        self.name = name
        self.made: list[str] = []

    async def create(self, *, until: str = "Running", **body: Any) -> str:
        """The uuid of a new container, once it has a status ("": at once)."""
        fields = {"name": f"{self.name}-{len(self.made)}", "image": "busybox", "command": IDLE, **body}
        found = await self._api("POST", "sites", self.site, "containers", body=fields, status=202)
        self.made.append(found["uuid"])
        if until:
            await self.until(found["uuid"], until)
        return str(found["uuid"])

    async def delete(self) -> None:
        """Delete them all, and wait until they are gone: the site has room for few."""
        for one in dict.fromkeys(self.made):
            await self.ask("DELETE", one)
        for _ in range(400):
            listed = await self._api("GET", "sites", self.site, "containers")
            if not {one["uuid"] for one in listed["containers"]} & set(self.made):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"not deleted: {listed}")

    async def ask(self, method: str, uuid: str, *path: str, **options: Any) -> Any:
        """A request about one container."""
        return await self._api(method, "sites", self.site, "containers", uuid, *path, **options)

    async def until(self, uuid: str, status: str) -> dict[str, Any]:
        """The container, once it has a status and nothing is being done to it."""
        for _ in range(400):
            found = await self.ask("GET", uuid)
            if found["status"] == status and not found["task_state"]:
                return dict(found)
            await asyncio.sleep(0.05)
        raise AssertionError(f"not {status}: {found}")
