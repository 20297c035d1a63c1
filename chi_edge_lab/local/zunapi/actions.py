"""/v1/containers/<ref>/container_actions: what was asked of a container."""

from __future__ import annotations

from chi_edge_lab.local.zunapi import views
from chi_edge_lab.local.zunapi.errors import ResourceNotFound
from chi_edge_lab.local.zunapi.handler import Handler


class ActionList(Handler):
    """The actions of a container, the latest first."""

    def get(self, ref: str) -> None:
        """List them."""
        containers = self.site.containers
        row = containers.find(self.context, ref)
        self.answer(
            {"containerActions": [views.action(action) for action in containers.history.of(row.uuid)]}
        )


class OneAction(Handler):
    """One action with its events."""

    def get(self, ref: str, request_id: str) -> None:
        """Show it."""
        containers = self.site.containers
        row = containers.find(self.context, ref)
        found = containers.history.get(row.uuid, request_id)
        if found is None:
            raise ResourceNotFound(f"The Action resource {request_id} could not be found.")
        action, events = found
        show = self.context.is_admin
        self.answer(
            views.action(action) | {"events": [views.event(one, show_traceback=show) for one in events]}
        )
