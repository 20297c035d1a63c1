"""/v1/containers and /v1/containers/<uuid or name>."""

from __future__ import annotations

from typing import Any

from chi_edge_lab.local.zunapi import schema, states, views
from chi_edge_lab.local.zunapi.creation import new_container
from chi_edge_lab.local.zunapi.errors import (
    ContainerNotFound,
    InvalidParamInVersion,
    InvalidValue,
    PlainFault,
    PolicyNotAuthorized,
)
from chi_edge_lab.local.zunapi.handler import Handler
from chi_edge_lab.local.zunapi.model import Container
from chi_edge_lab.local.zunapi.paging import UnknownMarker, cut
from chi_edge_lab.local.zunapi.quotas import Quotas
from chi_edge_lab.local.zunapi.versions import Version, text

_FILTERS = ("name", "image", "project_id", "user_id", "memory", "host", "task_state", "status", "auto_remove")
_PAGING = ("limit", "marker", "sort_key", "sort_dir")
_IGNORED = ("resource_url", "expand")


def show(handler: Handler, row: Container, *, linked: bool = True, fresh: bool = False) -> dict[str, Any]:
    """A container as the API gives it to whoever asks."""
    base = handler.base if linked else None
    return views.container(
        row, handler.context, base=base, times=handler.site.profile.shows_times, fresh=fresh
    )


def require_version(handler: Handler, name: str, since: Version) -> None:
    """Raise InvalidParamInVersion when the request's microversion is older than a parameter."""
    if handler.context.version < since:
        raise InvalidParamInVersion(
            f"Invalid param {name} because current request version is {text(handler.context.version)}. "
            f"{name} is only supported from version {text(since)}"
        )


class ContainerList(Handler):
    """The containers of a project."""

    def get(self) -> None:
        """List them, as the database has them."""
        parameters = self.query()
        everybody = schema.boolean(parameters.pop("all_projects", None) or None, "all_projects")
        if everybody and not self.context.is_admin:
            raise PolicyNotAuthorized("container:get_all_all_projects")
        filters = {name: parameters.pop(name) for name in _FILTERS if name in parameters}
        if "host" in filters:
            self.require_admin("container:get_one:host")
        paging = {name: parameters.pop(name) for name in _PAGING if name in parameters}
        for name in _IGNORED:
            parameters.pop(name, None)
        if parameters:
            raise InvalidValue(f"Unknown parameters: {', '.join(parameters)}")
        only: dict[str, Any] = {} if everybody else {"project_id": self.context.project_id}
        rows = self.site.containers.table.find(**only)
        rows = [row for row in rows if all(_matches(row, name, value) for name, value in filters.items())]
        try:
            page = cut(rows, Container, paging, most=self.site.limits.list_page)
        except UnknownMarker as error:
            raise ContainerNotFound(str(error)) from None
        last = page.rows[-1].uuid if page.rows else ""
        self.answer(
            {
                "next": page.next_url(f"{self.base}/v1/containers", last),
                "containers": [show(self, row, linked=False) for row in page.rows],
            }
        )

    def post(self) -> None:
        """Create one (202), and start it with `run=true`."""
        if self.request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise PlainFault  # it means 415, but fails in saying so
        parameters, body = self.query(), self.body()
        schema.check(schema.CREATE_QUERY, parameters, query=True)
        schema.check(schema.create_schema(self.context.version)[0], body)
        run = schema.boolean(parameters.get("run"), "run or interactive")
        row = new_container(self, body)
        Quotas(self.site).check(self.context.project_id, row)
        row = self.site.containers.create(self.context, row, run=run)
        self.set_header("Location", f"{self.base}/v1/containers/{row.uuid}")
        self.answer(show(self, row, fresh=True), 202)


class OneContainer(Handler):
    """One container."""

    async def get(self, ref: str) -> None:
        """Show it, with what the engine knows now."""
        parameters = self.query()
        everybody = schema.boolean(parameters.get("all_projects") or None, "all_projects")
        if everybody:
            self.require_admin("container:get_one_all_projects")
        containers = self.site.containers
        row = containers.find(self.context, ref)
        if row.host is not None:
            row = await containers.workers.call(containers.driver.refresh, row)
        if row.status == states.RUNNING and row.exposed_ports:
            await self.site.forwarder.settled()  # who sees it Running may connect at once
        self.answer(show(self, row))

    async def patch(self, ref: str) -> None:
        """Rename it, or change its limits."""
        body = self.body()
        schema.check(schema.UPDATE, body)
        containers = self.site.containers
        row = containers.find(self.context, ref)
        states.check(row, "update")
        changes: dict[str, Any] = {
            name: convert(body[name])
            for name, convert in (("name", str), ("memory", str), ("cpu", float), ("auto_heal", _flag))
            if name in body
        }
        if "memory" in changes or "cpu" in changes:
            row = await containers.workers.call(containers.update, row, changes)
        elif changes:
            row = containers.change(row, **changes)
        self.answer(show(self, row))

    def delete(self, ref: str) -> None:
        """Delete it (204; it goes a moment later)."""
        parameters = self.query()
        schema.check(schema.DELETE_QUERY, parameters, query=True)
        if schema.boolean(parameters.get("all_projects"), "all_projects"):
            self.require_admin("container:delete_all_projects")
        row = self.site.containers.find(self.context, ref)
        force = schema.boolean(parameters.get("force"), "force or stop")
        stop = schema.boolean(parameters.get("stop"), "force or stop")
        if stop:
            require_version(self, "stop", (1, 12))
            states.check(row, "delete_after_stop")
        elif force:
            require_version(self, "force", (1, 7))
            self.require_admin("container:delete_force")
            states.check(row, "delete_force")
        else:
            states.check(row, "delete")
        self.site.containers.delete(self.context, row, stop=stop)
        self.nothing()


def _matches(row: Container, name: str, value: object) -> bool:
    have = getattr(row, name)
    if isinstance(have, bool):
        return have == schema.boolean(value, name)
    return have is not None and str(have) == str(value)


def _flag(value: object) -> bool:
    return schema.boolean(value, "auto_heal")
