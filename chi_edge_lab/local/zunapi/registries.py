"""/v1/registries: credentials of private registries. The local site pulls nothing, so they are only kept."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from chi_edge_lab.local.zunapi import schema, views
from chi_edge_lab.local.zunapi.errors import BareError, Conflict, RegistryNotFound
from chi_edge_lab.local.zunapi.handler import Handler
from chi_edge_lab.local.zunapi.machine import uuid_of
from chi_edge_lab.local.zunapi.model import Context, Registry
from chi_edge_lab.local.zunapi.paging import UnknownMarker, cut

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.site import Site

SINCE = (1, 30)


class Registries:
    """The registries of the site."""

    def __init__(self, site: Site) -> None:
        self.table = site.store.table(Registry, "registries")

    def find(self, context: Context, ref: str) -> Registry:
        """By uuid or name. Raises RegistryNotFound, Conflict."""
        key = uuid_of(ref)
        wanted: dict[str, Any] = {"uuid": key} if key else {"name": ref}
        if not context.is_admin:
            wanted["project_id"] = context.project_id
        rows = self.table.find(**wanted)
        if not rows:
            raise RegistryNotFound(ref)
        if len(rows) > 1:
            raise Conflict("Multiple registries exist with same name. Please use the registry uuid instead.")
        return rows[0]


class RegistryList(Handler):
    """The registries of a project."""

    def get(self) -> None:
        """List them."""
        _check(self)
        parameters = self.query()
        everybody = schema.boolean(parameters.get("all_projects") or None, "all_projects")
        if everybody:
            self.require_admin("registry:get_all_all_projects")
        only: dict[str, Any] = {} if everybody else {"project_id": self.context.project_id}
        rows = Registries(self.site).table.find(**only)
        try:
            page = cut(rows, Registry, parameters, most=self.site.limits.list_page)
        except UnknownMarker as error:
            raise RegistryNotFound(str(error)) from None
        last = page.rows[-1].uuid if page.rows else ""
        self.answer(
            {
                "next": page.next_url(f"{self.base}/v1/registries", last),
                "registries": [views.registry(row, None) for row in page.rows],
            }
        )

    def post(self) -> None:
        """Make one."""
        _check(self)
        body = self.body()
        schema.check(schema.REGISTRY_CREATE, body)
        given = body["registry"]
        row = Registry(
            uuid=str(uuid.uuid4()),
            project_id=self.context.project_id,
            user_id=self.context.user_id,
            name=given.get("name"),
            domain=given["domain"],
            username=given.get("username"),
            password=given.get("password"),
        )
        Registries(self.site).table.insert(row)
        self.set_header("Location", f"{self.base}/v1/registries/{row.uuid}")
        self.answer({"registry": views.registry(row, self.base)}, 201)


class OneRegistry(Handler):
    """One registry."""

    def get(self, ref: str) -> None:
        """Show it."""
        _check(self)
        row = Registries(self.site).find(self.context, ref)
        self.answer({"registry": views.registry(row, self.base)})

    def patch(self, ref: str) -> None:
        """Change it."""
        _check(self)
        registries = Registries(self.site)
        row = registries.find(self.context, ref)
        body = self.body()
        schema.check(schema.REGISTRY_UPDATE, body)
        if body["registry"]:
            row = registries.table.update(row.uuid, **body["registry"])
        self.answer({"registry": views.registry(row, self.base)})

    def delete(self, ref: str) -> None:
        """Delete it."""
        _check(self)
        registries = Registries(self.site)
        registries.table.delete(uuid=registries.find(self.context, ref).uuid)
        self.nothing()


def _check(handler: Handler) -> None:
    if handler.context.version < SINCE:
        raise BareError(406)
