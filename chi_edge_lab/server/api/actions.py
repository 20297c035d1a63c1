"""What was done to a container, by whom and when."""

from __future__ import annotations

from pydantic import BaseModel

from chi_edge_lab.core import actions
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, operation
from chi_edge_lab.zun import Action


class ActionsQuery(BaseModel):
    """`events`: each action with its steps (one more request to the site for each)."""

    events: bool = False


class ActionList(BaseModel):
    """Actions, oldest first."""

    actions: list[Action]


@operation("GET", CONTAINER + "/actions", "read")
def list_actions(call: Call, query: ActionsQuery) -> ActionList:
    """What was done to a container, oldest first."""
    return ActionList(actions=actions.history(call.container(), call.uuid, events=query.events))
