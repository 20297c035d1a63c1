"""/v1/quotas and /v1/quota_classes: how much a project may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chi_edge_lab.local.zunapi import schema
from chi_edge_lab.local.zunapi.errors import BareError, OverQuota
from chi_edge_lab.local.zunapi.handler import Handler
from chi_edge_lab.local.zunapi.model import Container, Quota

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.site import Site

RESOURCES = ("containers", "memory", "disk", "cpu")


class Quotas:
    """Limits and their use."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._table = site.store.table(Quota, "quotas", index=("owner",))

    def limits(self, owner: str) -> dict[str, int]:
        """Limits of a project: its own, else those of the class "default", else the profile's."""
        found = dict(self._site.profile.quotas)
        for who in ("class:default", owner):
            found |= {row.resource: row.hard_limit for row in self._table.find(owner=who)}
        return found

    def usage(self, project_id: str) -> dict[str, float]:
        """What a project has."""
        rows = self._site.containers.table.find(project_id=project_id)
        return {
            "containers": float(len(rows)),
            "memory": float(sum(int(row.memory) for row in rows)),
            "disk": float(sum(row.disk for row in rows)),
            "cpu": sum(row.cpu for row in rows),
        }

    def check(self, project_id: str, row: Container) -> None:
        """Raise OverQuota when a new container would be too much."""
        limits, usage = self.limits(project_id), self.usage(project_id)
        more = {"containers": 1.0, "memory": float(row.memory), "disk": float(row.disk), "cpu": row.cpu}
        over = sorted(name for name in RESOURCES if 0 <= limits[name] < usage[name] + more[name])
        if over:
            raise OverQuota(over)

    def set(self, owner: str, limits: dict[str, int]) -> None:
        """Set limits of a project, or of "class:<name>"."""
        for resource, limit in limits.items():
            self._table.put(Quota(f"{owner}/{resource}", owner, resource, limit))

    def reset(self, owner: str) -> None:
        """Back to the defaults."""
        self._table.delete(owner=owner)


def _given(handler: Handler) -> dict[str, int]:
    body = handler.body()
    schema.check(schema.QUOTA_UPDATE, body)
    return {name: int(value) for name, value in body.items()}


class ProjectQuotas(Handler):
    """Quotas of a project; since 1.26, another project's for administrators alone."""

    def get(self, project_id: str) -> None:
        """Limits, with `usages=True` their use too."""
        _check(self, "quota:get", owner=project_id)
        quotas = Quotas(self.site)
        limits = quotas.limits(project_id)
        if not schema.boolean(self.query().get("usages"), "usages"):
            self.answer({name: limits[name] for name in RESOURCES})
            return
        usage = quotas.usage(project_id)
        view: dict[str, Any] = {name: {"limit": limits[name], "in_use": usage[name]} for name in RESOURCES}
        self.answer(view)

    def put(self, project_id: str) -> None:
        """Set limits."""
        _check(self, "quota:update")
        quotas = Quotas(self.site)
        quotas.set(project_id, _given(self))
        self.answer({name: quotas.limits(project_id)[name] for name in RESOURCES})

    def delete(self, project_id: str) -> None:
        """Back to the defaults."""
        _check(self, "quota:delete")
        Quotas(self.site).reset(project_id)
        self.answer(None)


class DefaultQuotas(Handler):
    """Quotas of a project that nobody changed."""

    def get(self, project_id: str) -> None:
        """The defaults."""
        _check(self, "quota:get_default", owner=project_id)
        limits = Quotas(self.site).limits("")
        self.answer({name: limits[name] for name in RESOURCES})


class QuotaClasses(Handler):
    """Quotas of a class of projects."""

    def get(self, name: str) -> None:
        """Its limits."""
        _check(self, "quota_class:get")
        limits = Quotas(self.site).limits(f"class:{name}")
        self.answer({resource: limits[resource] for resource in RESOURCES})

    def put(self, name: str) -> None:
        """Set its limits."""
        _check(self, "quota_class:update")
        quotas = Quotas(self.site)
        quotas.set(f"class:{name}", _given(self))
        self.answer({resource: quotas.limits(f"class:{name}")[resource] for resource in RESOURCES})


def _check(handler: Handler, rule: str, owner: str | None = None) -> None:
    if handler.context.version < (1, 26):
        raise BareError(406)
    if owner != handler.context.project_id:
        handler.require_admin(rule)
