"""Actions and their events: who asked what of a container, when, and what came of it."""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from chi_edge_lab.local.store import Store
from chi_edge_lab.local.zunapi.model import Action, Context, Event


class History:
    """The action log of all containers."""

    def __init__(self, store: Store) -> None:
        self._actions = store.table(Action, "actions", index=("container_uuid",))
        self._events = store.table(Event, "action_events", index=("action_id",))

    def start(self, context: Context, container_uuid: str, action: str) -> str:
        """Record that something was asked; the id of the record."""
        row = Action(
            id=uuid.uuid4().hex,
            container_uuid=container_uuid,
            action=action,
            request_id=context.request_id,
            user_id=context.user_id,
            project_id=context.project_id,
            start_time=context.at,
        )
        return self._actions.insert(row).id

    @contextmanager
    def finishing(self, action_id: str) -> Iterator[None]:
        """The action ends with this block; an exception goes on, and makes its message "Error"."""
        try:
            yield
        except BaseException:
            self._actions.update_if(action_id, {}, finish_time=time.time(), message="Error")
            raise
        self._actions.update_if(action_id, {}, finish_time=time.time())

    @contextmanager
    def event(self, action_id: str, name: str) -> Iterator[None]:
        """A step of the action, with its times and result."""
        row = Event(id=uuid.uuid4().hex, action_id=action_id, event=f"compute_{name}", start_time=time.time())
        self._events.insert(row)
        try:
            yield
        except BaseException as error:
            self._events.update_if(
                row.id, {}, finish_time=time.time(), result="Error",
                traceback="".join(traceback.format_exception(error)),
            )  # fmt: skip
            raise
        self._events.update_if(row.id, {}, finish_time=time.time(), result="Success")

    def of(self, container_uuid: str) -> list[Action]:
        """Actions of a container, the latest first."""
        return self._actions.find(container_uuid=container_uuid, descending=True)

    def get(self, container_uuid: str, request_id: str) -> tuple[Action, list[Event]] | None:
        """One action and its events, the latest first."""
        rows = self._actions.find(container_uuid=container_uuid, request_id=request_id, limit=1)
        if not rows:
            return None
        return rows[0], self._events.find(action_id=rows[0].id, descending=True)

    def forget(self, container_uuid: str) -> None:
        """The container is gone, and its history with it."""
        for row in self._actions.find(container_uuid=container_uuid):
            self._events.delete(action_id=row.id)
        self._actions.delete(container_uuid=container_uuid)
