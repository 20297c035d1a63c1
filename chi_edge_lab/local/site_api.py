"""What the site says of itself, and its image catalogue: the part of its HTTP interface that no cloud has."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from chi_edge_lab import __version__
from chi_edge_lab.local.engines.base import EngineError, Image, ImageNotFound
from chi_edge_lab.local.web import Refusal, Route, ServiceHandler
from chi_edge_lab.local.web import routes as make_routes

if TYPE_CHECKING:
    from chi_edge_lab.local.app import Site

T = TypeVar("T")


def routes(site: Site) -> list[Route]:
    """Rules at the root of the site."""
    return make_routes(site, [(r"/", About), (r"/site/images", Images)])


class About(ServiceHandler):
    """GET /: what this is. Tells nothing that needs a login."""

    def get(self) -> None:
        config = self.site.config
        self.answer(
            {
                "name": "chi-edge-lab local site",
                "version": __version__,
                "profile": config.profile,
                "engine": config.engine,
                "site_id": config.site_id,
                "auth_url": config.auth_url,
            }
        )


class Images(ServiceHandler):
    """/site/images: the engine's catalogue. To change it takes the administrator."""

    async def get(self) -> None:
        self.token()
        images = await self._call(self.site.engine.images)
        self.answer({"images": [describe(image) for image in images]})

    async def post(self) -> None:
        """Add an image from a tar of its files on this machine: {"name": ..., "path": ...}."""
        self._admin()
        body = self.body()
        name, path = body.get("name"), body.get("path")
        if not isinstance(name, str) or not isinstance(path, str) or not name:
            raise Refusal(400, "An image needs a name and the path of a tar of its files.")

        def add() -> Image:
            with Path(path).open("rb") as tar:
                return self.site.engine.add_image(name, tar)

        try:
            image = await self._call(add)
        except OSError as error:
            raise Refusal(400, f"{path} cannot be read: {error.strerror or error}.") from error
        self.answer({"image": describe(image)}, 201)

    async def delete(self) -> None:
        self._admin()
        name = self.get_query_argument("name", "")
        await self._call(lambda: self.site.engine.remove_image(name))
        self.answer(None, 204)

    def _admin(self) -> None:
        if not self.token().is_admin:
            raise Refusal(403, "Only the site's administrator may change its images.")

    async def _call(self, work: Callable[[], T]) -> T:
        """Do something with the engine in a thread. Raises Refusal for what it refuses."""
        try:
            return await asyncio.to_thread(work)
        except ImageNotFound as error:
            raise Refusal(404, str(error)) from error
        except EngineError as error:
            raise Refusal(400, str(error)) from error


def describe(image: Image) -> dict[str, Any]:
    """An image of the catalogue."""
    return {
        "name": image.name,
        "id": image.id,
        "size": image.size,
        "created": dt.datetime.fromtimestamp(image.created, dt.timezone.utc).isoformat(timespec="seconds"),
        "provenance": image.provenance,
        "command": list(image.command),
    }
