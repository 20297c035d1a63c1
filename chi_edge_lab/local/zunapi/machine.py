"""Containers and what is done to them: Zun's compute manager.

The API checks the status and answers 202; what was asked then happens here, in the container's own queue, with its
task_state, action and events recorded as Zun does. An operation that fails leaves its traces there and in
status_reason; nobody is waiting for it any more.
"""

from __future__ import annotations

import logging
import platform
import time
import uuid as uuid_module
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chi_edge_lab.local.zunapi import states
from chi_edge_lab.local.zunapi.driver import Refused
from chi_edge_lab.local.zunapi.errors import Conflict, ContainerNotFound, ServerFault
from chi_edge_lab.local.zunapi.history import History
from chi_edge_lab.local.zunapi.model import Container, Context, Snapshot
from chi_edge_lab.local.zunapi.terminals import Terminals
from chi_edge_lab.local.zunapi.workers import Workers

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.driver import Driver
    from chi_edge_lab.local.zunapi.site import Site

_log = logging.getLogger(__name__)

Operation = Callable[[Container], None]


class Containers:
    """All containers of the site. Thread-safe."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.table = site.store.table(Container, "containers", index=("project_id", "name"))
        self._snapshots = site.store.table(Snapshot, "snapshots")
        self.history = History(site.store)
        self.workers = Workers(site.limits.calls, site.limits.tasks)
        self.terminals = Terminals(site)
        self.host_name = platform.node() or "localhost"
        self.driver: Driver = site.profile.make_driver(site)

    # -- rows

    def find(self, context: Context, ref: str, *, all_projects: bool = False) -> Container:
        """By uuid or name, of the project of the request (administrators see all).

        Raises ContainerNotFound, Conflict when several have that name.
        """
        key = uuid_of(ref)
        wanted: dict[str, Any] = {"uuid": key} if key else {"name": ref}
        if not (context.is_admin or all_projects):
            wanted["project_id"] = context.project_id
        rows = self.table.find(**wanted)
        if not rows:
            raise ContainerNotFound(ref)
        if len(rows) > 1:
            raise Conflict("Multiple containers exist with same name. Please use the container uuid instead.")
        return rows[0]

    def get(self, uuid: str) -> Container | None:
        """The row as it is now."""
        return self.table.get(uuid)

    def change(self, row: Container, **changes: Any) -> Container:
        """Save columns and return the row as it is now; the row given when it is gone meanwhile."""
        try:
            changed = self.table.update(row.uuid, updated_at=time.time(), **changes)
        except KeyError:
            return row
        if changes.get("status") == states.RUNNING:
            self.site.forwarder.update()  # who sees it Running may connect at once
        return changed

    def amend(self, row: Container, **changes: Any) -> Container:
        """Save columns unless the status has changed since the row was read; the row as it is now."""
        expected: dict[str, object] = {"status": row.status, "task_state": row.task_state}
        self.table.update_if(row.uuid, expected, updated_at=time.time(), **changes)
        return self.get(row.uuid) or row

    def destroy(self, row: Container) -> None:
        """Forget it, and its history."""
        self.terminals.forget(row.uuid)
        self.table.delete(uuid=row.uuid)
        self.history.forget(row.uuid)

    def later(self, seconds: float, uuid: str, operation: Operation) -> None:
        """Do something with the container after some time, if it is still there."""
        self.workers.later(seconds, uuid, lambda: self._with(uuid, operation))

    # -- images

    def image_name(self, image: str) -> str:
        """What the engine calls an image that a container names (by name, or a snapshot by id)."""
        snapshot = self._snapshots.get(image)
        return snapshot.name if snapshot else image

    # -- what the API asks for

    def create(self, context: Context, row: Container, *, run: bool) -> Container:
        """Record it and make it, in its queue."""
        self.table.insert(row)
        action = self.history.start(context, row.uuid, "create")

        def work(row: Container) -> None:
            with self.history.finishing(action):
                with self.history.event(action, "_do_container_create"):
                    self._task(row, "container_creating", self._failing(self.driver.create))
                now = self.get(row.uuid)
                if run and now is not None and now.status != states.ERROR:
                    with self.history.event(action, "_do_container_start"):
                        self._task(now, "container_starting", self._failing(self.driver.start))
            self.site.forwarder.update()

        self._enqueue(row, work)
        return row

    def start(self, context: Context, row: Container) -> None:
        """Start it."""
        action = self.history.start(context, row.uuid, "start")
        self._operate(
            row, action, "_do_container_start", "container_starting", self._failing(self.driver.start)
        )

    def stop(self, context: Context, row: Container, timeout: float) -> None:
        """Stop it."""
        action = self.history.start(context, row.uuid, "stop")
        self._operate(
            row,
            action,
            "_do_container_stop",
            "container_stopping",
            lambda now: self.driver.stop(now, timeout),
        )

    def reboot(self, context: Context, row: Container, timeout: float) -> None:
        """Stop and start it."""
        row = self.change(row, status=states.RESTARTING)
        action = self.history.start(context, row.uuid, "reboot")
        self._operate(
            row,
            action,
            "_do_container_reboot",
            "container_rebooting",
            lambda now: self.driver.reboot(now, timeout),
        )

    def rebuild(
        self, context: Context, row: Container, *, image: str | None, image_driver: str | None
    ) -> None:
        """Make it anew, from another image if need be."""
        run = row.status == states.RUNNING
        row = self.change(
            row,
            status=states.REBUILDING,
            image=image or row.image,
            image_driver=image_driver or row.image_driver,
        )
        action = self.history.start(context, row.uuid, "rebuild")

        def work(now: Container) -> None:
            try:
                self.driver.rebuild(now, run=run)
            except NotImplementedError:
                raise
            except Exception as error:
                self._fail(now, error)
                raise

        self._operate(row, action, "_do_container_rebuild", "container_rebuilding", work)

    def pause(self, context: Context, row: Container) -> None:
        """Freeze it."""
        action = self.history.start(context, row.uuid, "pause")
        self._operate(row, action, "_do_container_pause", "container_pausing", self.driver.pause)

    def unpause(self, context: Context, row: Container) -> None:
        """Thaw it."""
        action = self.history.start(context, row.uuid, "unpause")
        self._operate(row, action, "_do_container_unpause", "container_unpausing", self.driver.unpause)

    def kill(self, context: Context, row: Container, signal: str | None) -> None:
        """Send a signal."""
        action = self.history.start(context, row.uuid, "kill")
        self._operate(
            row, action, "_do_container_kill", "container_killing", lambda now: self.driver.kill(now, signal)
        )

    def network_attach(self, context: Context, row: Container, network_id: str, address: str | None) -> None:
        """Attach it to a network."""
        action = self.history.start(context, row.uuid, "network_attach")
        self._operate(
            row, action, "_do_network_attach", "network_attaching",
            lambda now: self.driver.network_attach(now, network_id, address),
        )  # fmt: skip

    def network_detach(self, context: Context, row: Container, network_id: str) -> None:
        """Detach it from a network."""
        action = self.history.start(context, row.uuid, "network_detach")
        self._operate(
            row, action, "_do_network_detach", "network_detaching",
            lambda now: self.driver.network_detach(now, network_id),
        )  # fmt: skip

    def security_group(self, context: Context, row: Container, group: str, *, add: bool) -> None:
        """Add a security group, or remove it: only the row knows."""
        verb = "add" if add else "remove"
        action = self.history.start(context, row.uuid, f"{verb}_security_group")

        def work(now: Container) -> None:
            groups = [other for other in now.security_groups or [] if other != group]
            self.change(now, security_groups=[*groups, group] if add else groups)

        self._operate(row, action, f"_{verb}_security_group", "sg_adding" if add else "sg_removing", work)

    def delete(self, context: Context, row: Container, *, stop: bool) -> None:
        """Delete it, stopping it before if it runs and that was asked."""
        if stop and row.status == states.RUNNING:
            stopping = self.history.start(context, row.uuid, "stop")
            self._operate(
                row, stopping, "_do_container_stop", "container_stopping", self.driver.stop_for_delete
            )
        if row.host is None and row.status != states.DELETING:
            self.destroy(row)  # it never came to be
            return
        row = self.change(row, status=states.DELETING)
        self.history.start(context, row.uuid, "delete")
        self._enqueue(row, self._delete)

    def update(self, row: Container, changes: dict[str, Any]) -> Container:
        """Change limits at once."""
        memory, cpu = changes.get("memory"), changes.get("cpu")
        self.driver.update(row, memory=memory, cpu=cpu)
        return self.change(row, **changes)

    def resize(self, row: Container, changes: dict[str, Any]) -> None:
        """Change limits in its queue."""

        def work(now: Container) -> None:
            try:
                self.update(now, changes)
            except NotImplementedError:
                _log.debug("the driver cannot change limits")

        self._enqueue(row, work)

    def commit(self, context: Context, row: Container, repository: str, tag: str | None) -> str:
        """Keep its files as an image; the id that image will have."""
        self.driver.can_commit()
        name = f"{repository}:{tag or 'latest'}"
        snapshot = Snapshot(str(uuid_module.uuid4()), row.project_id, name)
        self._snapshots.insert(snapshot)
        action = self.history.start(context, row.uuid, "commit")

        def work(now: Container) -> None:
            with self.history.finishing(action), self.history.event(action, "_do_container_commit"):
                try:
                    self.driver.commit(now, name)
                except Exception:
                    self._snapshots.delete(uuid=snapshot.uuid)
                    raise

        self._enqueue(row, work)
        return snapshot.uuid

    # -- life of the site

    def restore(self) -> None:
        """Take up what an earlier process of this site left. Blocks; call it once, before the first request."""
        known = {row.uuid: row for row in self.table.find()}
        there = set(self.site.engine.list())
        for orphan in there - known.keys():
            _log.info("removing container %s: the site does not know it", orphan)
            self.site.engine.remove(orphan)
        self.site.engine.on_exit = self.exited
        for row in known.values():
            self._restore(row)
        self.site.forwarder.update()

    def exited(self, uuid: str) -> None:
        """The engine says that pid 1 of a container has ended. From any thread."""
        self.workers.enqueue(uuid, lambda: self._with(uuid, self.driver.exited))

    def leases_ended(self, reservation_ids: list[str]) -> None:
        """Leases are over: their pods are gone, the containers stay listed as Deleted. From any thread."""
        for reservation in reservation_ids:
            for row in self.table.find(reservation_id=reservation):
                self._enqueue(row, self._lose)

    def _lose(self, row: Container) -> None:
        self.driver.delete(row)
        self.change(row, status=states.DELETED, task_state=None, port_id=None)
        self.site.forwarder.update()

    def close(self) -> None:
        """Wait for operations under way; containers go on."""
        self.site.engine.on_exit = None
        self.terminals.close()
        self.workers.close()

    def _restore(self, row: Container) -> None:
        """What Zun's compute does when it starts: fail what was being made, do again what was being done."""
        task = row.task_state
        row = self.change(row, task_state=None) if task else row
        if row.status == states.CREATING or task == "container_creating":
            reason = "Container failed to create correctly"
            self.change(row, status=states.ERROR, status_reason=reason, wanted=False)
            self.site.engine.remove(row.uuid)  # after it is no longer wanted: its end is reported too
        elif row.status == states.DELETING or task == "container_deleting":
            self._enqueue(row, self._delete)
        elif row.status == states.DELETED:
            self.destroy(row)
        elif task == "container_rebooting":
            self._enqueue(row, lambda now: self.driver.reboot(now, 10.0))
        elif task == "container_stopping":
            self._enqueue(row, lambda now: self.driver.stop(now, 10.0))
        else:
            self._enqueue(row, self.driver.exited)

    # -- machinery

    def _enqueue(self, row: Container, operation: Operation) -> None:
        self.workers.enqueue(row.uuid, lambda: self._with(row.uuid, operation))

    def _with(self, uuid: str, operation: Operation) -> None:
        """Do it with the row as it is now, if there is one; what goes wrong is logged, for nobody waits."""
        row = self.get(uuid)
        if row is None:
            return
        try:
            operation(row)
        except Exception as error:  # noqa: BLE001 - the record of the action has it; the queue must go on
            level = logging.DEBUG if isinstance(error, (Refused, NotImplementedError)) else logging.INFO
            _log.log(level, "container %s: %s: %s", uuid, type(error).__name__, error)

    def _operate(self, row: Container, action: str, event: str, task: str, operation: Operation) -> None:
        def work(now: Container) -> None:
            with self.history.finishing(action), self.history.event(action, event):
                self._task(now, task, operation)
            self.site.forwarder.update()

        self._enqueue(row, work)

    def _task(self, row: Container, task: str, operation: Operation) -> None:
        """Do something under a task_state, unless the row has one already (then that one stays)."""
        if row.task_state is not None:
            operation(row)
            return
        row = self.change(row, task_state=task)
        try:
            operation(row)
        finally:
            if self.driver.clears_task_state:
                self.change(row, task_state=None)

    def _failing(self, operation: Operation) -> Operation:
        """The operation, with its failure making an Error of the container."""

        def work(row: Container) -> None:
            try:
                operation(row)
            except Exception as error:
                self._fail(row, error)
                raise

        return work

    def _fail(self, row: Container, error: Exception) -> None:
        detail = error.detail if isinstance(error, Refused) else None
        # not wanted any more, or the next start of the site would take it for one whose pid 1 has ended
        self.change(
            row,
            status=states.ERROR,
            status_reason=str(error),
            status_detail=detail,
            task_state=None,
            wanted=False,
        )

    def _delete(self, row: Container) -> None:
        def work(now: Container) -> None:
            try:
                self.driver.delete(now)
            except Exception as error:
                self._fail(now, error)
                raise

        self._task(row, "container_deleting", work)
        self.destroy(row)
        self.site.forwarder.update()


def uuid_of(ref: str) -> str | None:
    """The uuid that a reference spells, None when it is a name."""
    try:
        return str(uuid_module.UUID(ref))
    except ValueError:
        return None


def checked(value: object) -> str:
    """A string parameter that must be there. Raises ServerFault (Zun's KeyError)."""
    if not isinstance(value, str):
        raise ServerFault("a parameter is missing")
    return value
