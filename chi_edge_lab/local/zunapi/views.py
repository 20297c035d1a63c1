"""How rows look in JSON: Zun's fields, in its order, less what policy hides from members."""

from __future__ import annotations

import datetime as dt
from typing import Any

from chi_edge_lab.local.zunapi.model import Action, Container, Context, Event, Registry

_FIELDS = (
    "name",
    "project_id",
    "user_id",
    "image",
    "cpu",
    "cpu_policy",
    "memory",
    "command",
    "status",
    "status_reason",
    "task_state",
    "environment",
    "workdir",
    "auto_remove",
    "ports",
    "hostname",
    "labels",
    "addresses",
    "restart_policy",
    "status_detail",
    "interactive",
    "tty",
    "image_driver",
    "security_groups",
    "disk",
    "auto_heal",
    "healthcheck",
    "registry_id",
    "entrypoint",
)
_ADMIN_FIELDS = ("host", "runtime", "privileged", "image_pull_policy")


def links(base: str, resource: str, ident: str) -> list[dict[str, str]]:
    """Zun's two links to one thing."""
    return [
        {"href": f"{base}/v1/{resource}/{ident}", "rel": "self"},
        {"href": f"{base}/{resource}/{ident}", "rel": "bookmark"},
    ]


_STORED_DICTS = ("environment", "labels", "addresses", "restart_policy", "healthcheck")
_STORED_LISTS = ("command", "ports", "security_groups", "entrypoint")
"""Columns that Zun's database keeps as JSON, and reads back as empty where they were null."""


def container(
    row: Container, context: Context, *, base: str | None, times: bool, fresh: bool = False
) -> dict[str, Any]:
    """A container. Lists have no links (`base` None); only upstream has `times`; `fresh` is the answer to create."""
    view: dict[str, Any] = {"uuid": row.uuid}
    if base is not None:
        view["links"] = links(base, "containers", row.uuid)
    for name in _FIELDS:
        view[name] = getattr(row, name)
    if not fresh:
        view |= {name: {} for name in _STORED_DICTS if view[name] is None}
        view |= {name: [] for name in _STORED_LISTS if view[name] is None}
    if context.is_admin:
        for name in _ADMIN_FIELDS:
            view[name] = getattr(row, name)
    if times:
        view["created_at"] = plain_time(row.created_at)
        view["updated_at"] = plain_time(row.updated_at) if row.updated_at is not None else None
    return view


def action(row: Action) -> dict[str, Any]:
    """An action, without its events."""
    return {
        "action": row.action,
        "container_uuid": row.container_uuid,
        "request_id": row.request_id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "start_time": iso_time(row.start_time),
        "finish_time": iso_time(row.finish_time),
        "message": row.message,
    }


def event(row: Event, *, show_traceback: bool) -> dict[str, Any]:
    """An event; only administrators see tracebacks."""
    return {
        "event": row.event,
        "start_time": iso_time(row.start_time),
        "finish_time": iso_time(row.finish_time),
        "result": row.result,
        "traceback": row.traceback if show_traceback else None,
    }


def registry(row: Registry, base: str | None) -> dict[str, Any]:
    """A registry, its password masked."""
    view: dict[str, Any] = {"uuid": row.uuid}
    if base is not None:
        view["links"] = links(base, "registries", row.uuid)
    return view | {
        "name": row.name,
        "domain": row.domain,
        "username": row.username,
        "password": "***",
        "project_id": row.project_id,
        "user_id": row.user_id,
    }


def plain_time(seconds: float) -> str:
    """ "2026-11-23 12:17:12": UTC, no zone, as upstream's containers have it."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M:%S")


def iso_time(seconds: float | None) -> str | None:
    """ "2026-11-23T12:17:12.000000": UTC, no zone, as actions have it."""
    return None if seconds is None else _utc(seconds).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
