"""/v1/images: the catalogue, as images that Zun's host has.

Upstream's default policy shows it to administrators alone; this site's policy opens it to members (policy is a
site's own setting), because here the catalogue is all there is and a person must be able to see it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from chi_edge_lab.local.engines.base import EngineError, Image
from chi_edge_lab.local.zunapi import schema, views
from chi_edge_lab.local.zunapi.errors import InvalidValue, ServerFault
from chi_edge_lab.local.zunapi.handler import Handler
from chi_edge_lab.local.zunapi.paging import UnknownMarker, cut


@dataclass(frozen=True)
class ListedImage:
    """An image as Zun's database would have it."""

    uuid: str
    image_id: str
    repo: str
    tag: str
    size: str
    project_id: str | None
    image_pull_policy: str | None
    host: str


def _listed(handler: Handler, image: Image) -> ListedImage:
    repo, _, tag = image.name.rpartition(":")
    if not repo or "/" in tag:
        repo, tag = image.name, ""
    return ListedImage(
        uuid=str(uuid.uuid5(uuid.NAMESPACE_URL, f"image:{image.name}")),
        image_id=image.id,
        repo=repo,
        tag=tag,
        size=str(image.size),
        project_id=None,
        image_pull_policy=None,
        host=handler.site.containers.host_name,
    )


def _view(image: ListedImage, base: str | None) -> dict[str, Any]:
    view: dict[str, Any] = {"uuid": image.uuid}
    if base is not None:
        view["links"] = views.links(base, "images", image.uuid)
    for name in ("image_id", "repo", "tag", "size", "project_id", "image_pull_policy", "host"):
        view[name] = getattr(image, name)
    return view


async def _all(handler: Handler) -> list[ListedImage]:
    images = await handler.site.containers.workers.call(handler.site.engine.images)
    return [_listed(handler, image) for image in images]


async def _one(handler: Handler, ref: str) -> ListedImage:
    for image in await _all(handler):
        if ref in {image.uuid, image.repo, f"{image.repo}:{image.tag}"}:
            return image
    raise ServerFault(f"image {ref} could not be found")  # upstream has no 404 for it


class ImageList(Handler):
    """The catalogue."""

    async def get(self) -> None:
        """List it."""
        try:
            page = cut(await _all(self), ListedImage, self.query(), most=self.site.limits.list_page)
        except UnknownMarker as error:
            raise ServerFault(f"image {error} could not be found") from None
        last = page.rows[-1].uuid if page.rows else ""
        self.answer(
            {
                "next": page.next_url(f"{self.base}/v1/images", last),
                "images": [_view(image, None) for image in page.rows],
            }
        )

    async def post(self) -> None:
        """Pull: what the catalogue has is there already, the rest cannot come from anywhere."""
        self.require_admin("image:pull")
        body = self.body()
        schema.check(schema.IMAGE_CREATE, body)
        if body["host"] != self.site.containers.host_name:
            raise InvalidValue(f"The host {body['host']} does not exist.")
        image = await _one(self, body["repo"])
        self.set_header("Location", f"{self.base}/v1/images/{image.uuid}")
        self.answer(_view(image, self.base), 202)


class OneImage(Handler):
    """One image."""

    async def get(self, ref: str) -> None:
        """Show it."""
        image = await _one(self, ref)
        self.require_admin("image:get_one")
        self.answer(_view(image, self.base))

    async def delete(self, ref: str) -> None:
        """Remove it from the catalogue."""
        self.require_admin("image:delete")
        image = await _one(self, ref)
        self.site.containers.driver.can_commit()
        name = f"{image.repo}:{image.tag}" if image.tag else image.repo
        try:
            await self.site.containers.workers.call(self.site.engine.remove_image, name)
        except EngineError as error:
            raise ServerFault(str(error)) from error
        self.answer(None)


class ImageSearch(Handler):
    """GET /v1/images/<name>/search"""

    async def get(self, name: str) -> None:
        """Images of the catalogue with this in their names."""
        parameters = self.query()
        schema.check(schema.IMAGE_SEARCH_QUERY, parameters, query=True)
        self.require_admin("image:search")
        exact = schema.boolean(parameters.get("exact_match"), "exact_match")
        self.site.containers.driver.can_commit()  # the k8s driver has no images of its own at all
        found = [
            {
                "name": image.repo,
                "description": "",
                "is_official": False,
                "is_automated": False,
                "star_count": 0,
            }
            for image in await _all(self)
            if (image.repo == name if exact else name in image.repo)
        ]
        self.answer(found)
