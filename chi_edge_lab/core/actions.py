"""What was done to a container, by whom and when; and when it was created."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun.models import Action, Container


def history(client: Client, uuid: str, *, events: bool = False) -> list[Action]:
    """The container's actions, oldest first. With `events` each has its events (one more request for each
    action).
    """
    actions = sorted(client.actions(uuid), key=lambda action: str(action.start_time or ""))
    if not events:
        return actions
    return [client.action(uuid, action.request_id) if action.request_id else action for action in actions]


def created_at(client: Client, container: Container) -> datetime | None:
    """When the container was created (UTC); None where the site knows nothing of it.

    CHI@Edge's Zun returns no `created_at`; there the start of the create action serves.
    """
    if container.created_at:
        return container.created_at
    creations = (action for action in history(client, container.uuid) if action.action == "create")
    return next((action.start_time for action in creations if action.start_time), None)
