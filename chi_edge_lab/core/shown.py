"""A container as it may be shown: without what was put into it in confidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chi_edge_lab.sites.redact import redact

if TYPE_CHECKING:
    from chi_edge_lab.zun.models import Container

# Zun keeps them of a container; with either of them anybody gets a shell
_NEVER = ("websocket_url", "websocket_token", "proxy_url")
_NOISE = ("links",)


def shown(container: Container, *, environment: bool = False) -> Container:
    """A copy without the values of environment variables (their names are kept, with "" for a value) and without
    what opens a terminal. `environment` keeps the values.
    """
    extra = container.model_extra or {}
    changes: dict[str, object] = {}
    if container.environment and not environment:
        changes["environment"] = dict.fromkeys(container.environment, "")
    if container.status_reason:
        changes["status_reason"] = redact(container.status_reason)
    if not changes and extra.keys().isdisjoint((*_NEVER, *_NOISE)):
        return container
    copy = container.model_copy(update=changes)
    copy.__pydantic_extra__ = {key: value for key, value in extra.items() if key not in {*_NEVER, *_NOISE}}
    return copy
