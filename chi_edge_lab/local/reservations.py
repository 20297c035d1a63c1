"""Blazar's part of the site: leases with device reservations, as CHI@Edge has them.

The only device is this machine, `DEVICES` times over (several leases may run next to each other on it). Each
project of the chi-edge profile has a standing lease that never ends, so that the first try needs none.
HTTP is in `reservations_api`.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import operator
import platform
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chi_edge_lab.local.config import SiteConfig
from chi_edge_lab.local.store import Store
from chi_edge_lab.local.web import Refusal

log = logging.getLogger(__name__)

DEVICES = 16
STANDING_NAME = "standing"
STANDING_END = dt.datetime(2999, 12, 31, tzinfo=dt.timezone.utc).timestamp()
DATE = "%Y-%m-%d %H:%M"
LONGEST_SLEEP = 30.0  # seconds; the clock of the machine may be set meanwhile

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "=": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@dataclass(frozen=True)
class Reservation:
    """Devices in a lease. Containers name it (not the lease) in their hints."""

    id: str
    minimum: int
    maximum: int
    resource_properties: str


@dataclass(frozen=True)
class Lease:
    """A lease; times are seconds since the epoch."""

    id: str
    name: str
    user_id: str
    project_id: str
    start: float
    end: float
    created_at: float
    updated_at: float | None
    reservations: list[dict[str, Any]]  # fields of `Reservation`
    over: bool = False  # its end has been seen to: its containers are gone

    def reservation_list(self) -> list[Reservation]:
        """The reservations, typed."""
        return [Reservation(**r) for r in self.reservations]

    @property
    def status(self) -> str:
        """Blazar's word for where it is now."""
        now = time.time()
        return "TERMINATED" if self.over or now >= self.end else "ACTIVE" if now >= self.start else "PENDING"


class Reservations:
    """The leases of a site. Thread-safe: what it remembers is in the store."""

    def __init__(self, config: SiteConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._leases = store.table(Lease, "leases")
        self._changed: Callable[[], None] = lambda: None

    def standing(self, project_id: str) -> str | None:
        """The id of a project's standing reservation; None in a profile that needs no reservations."""
        return self._config.standing_reservation(project_id)

    def is_usable(self, reservation_id: str, project_id: str) -> tuple[bool, str]:
        """Whether this device reservation of this project is active now, else why not (half a sentence)."""
        if reservation_id == self.standing(project_id):
            return True, ""
        for lease in self.leases(project_id):
            if lease.id == reservation_id:
                return False, f"{reservation_id} is the id of a lease, not of a reservation in it"
            if any(r.id == reservation_id for r in lease.reservation_list()):
                if lease.status == "ACTIVE":
                    return True, ""
                when = "has ended" if lease.status == "TERMINATED" else "has not started yet"
                return False, f"the lease of reservation {reservation_id} {when}"
        return False, f"there is no reservation {reservation_id} in this project"

    # -- leases

    def leases(self, project_id: str) -> list[Lease]:
        """The leases of a project, the standing one first."""
        standing = self.standing(project_id)
        own = self._leases.find(project_id=project_id)
        if standing is None:
            return own
        lease = Lease(
            id=self._config.uuid_of("lease", project_id),
            name=STANDING_NAME,
            user_id=next(a.user_id for a in self._config.secrets.accounts if a.project_id == project_id),
            project_id=project_id,
            start=0.0,
            end=STANDING_END,
            created_at=0.0,
            updated_at=None,
            reservations=[{"id": standing, "minimum": 1, "maximum": 1, "resource_properties": ""}],
        )
        return [lease, *own]

    def lease(self, project_id: str, id: str) -> Lease:
        """One lease. Raises Refusal 404."""
        for lease in self.leases(project_id):
            if lease.id == id:
                return lease
        raise Refusal(404, f"Object with {{'lease_id': '{id}'}} not found")

    def create(self, user_id: str, project_id: str, body: dict[str, Any]) -> Lease:
        """Make a lease. Raises Refusal 400."""
        for name in ("name", "start_date", "end_date", "reservations"):
            if not body.get(name):
                raise Refusal(400, f"Missing parameter {name}")
        now = time.time()
        start = now if body["start_date"] == "now" else _date(body["start_date"])
        end = _date(body["end_date"])
        if start < now - now % 60:
            raise Refusal(400, "Start date must be later than current date")
        if end <= max(start, now):
            raise Refusal(400, "End date must be later than current and start date.")
        lease = Lease(
            id=str(uuid.uuid4()),
            name=str(body["name"]),
            user_id=user_id,
            project_id=project_id,
            start=start,
            end=end,
            created_at=now,
            updated_at=None,
            reservations=_reservations(body["reservations"]),
        )
        with self._store.transaction():
            self._check_room(lease)
            self._leases.insert(lease)
        self._changed()
        return lease

    def update(self, project_id: str, id: str, body: dict[str, Any]) -> Lease:
        """Rename or prolong (or shorten) a lease. Raises Refusal 400, 403 or 404."""
        with self._store.transaction():
            lease = self._own(project_id, id)
            changes: dict[str, Any] = {}
            if body.get("name"):
                changes["name"] = str(body["name"])
            if body.get("end_date"):
                if lease.status == "TERMINATED":
                    raise Refusal(400, "Terminated leases can only be renamed")
                changes["end"] = _date(body["end_date"])
                if changes["end"] <= max(lease.start, time.time()):
                    raise Refusal(400, "End date must be later than current and start date.")
            lease = self._leases.update(id, **changes, updated_at=time.time())
        self._changed()
        return lease

    def delete(self, project_id: str, id: str) -> Lease:
        """End a lease now and forget it. Raises Refusal 403 or 404. The caller sees to its containers."""
        lease = self._own(project_id, id)
        self._leases.delete(id=id)
        return lease

    def _own(self, project_id: str, id: str) -> Lease:
        lease = self.lease(project_id, id)
        if lease.id == self._config.uuid_of("lease", project_id):
            raise Refusal(403, "The standing lease of the local site cannot be changed or deleted.")
        return lease

    def _check_room(self, new: Lease) -> None:
        others = [o for o in self._leases.find() if o.start < new.end and new.start < o.end and not o.over]
        taken = sum(r.maximum for other in others for r in other.reservation_list())
        for reservation in new.reservation_list():
            if not _matches(reservation.resource_properties) or reservation.minimum > DEVICES - taken:
                raise Refusal(
                    400,
                    "Not enough resources available with query "
                    f"{{'resource_properties': '{reservation.resource_properties}'}}",
                )

    # -- the end of leases

    async def watch(self, ended: Callable[[list[str]], None]) -> None:
        """Call `ended` with the reservation ids of each lease that ends, until cancelled.

        Also for those that ended while the site was not running.
        """
        wake = asyncio.Event()
        loop = asyncio.get_running_loop()

        def changed() -> None:
            loop.call_soon_threadsafe(wake.set)

        self._changed = changed
        try:
            while True:
                wake.clear()
                open_leases = [lease for lease in self._leases.find() if not lease.over]
                for lease in open_leases:
                    if lease.end <= time.time():
                        log.info("lease %s has ended", lease.id)
                        ended([r.id for r in lease.reservation_list()])
                        self._leases.update_if(lease.id, {}, over=True)
                ends = [lease.end - time.time() for lease in open_leases if lease.end > time.time()]
                seconds = max(0.0, min([LONGEST_SLEEP, *ends]))
                try:
                    await asyncio.wait_for(wake.wait(), seconds)
                except asyncio.TimeoutError:
                    continue
        finally:
            self._changed = lambda: None


def this_device() -> dict[str, str]:
    """What the one device says of itself, as filters (`resource_properties`) may ask."""
    return {
        "name": platform.node(),
        "machine_name": "local",
        "vendor": "local",
        "model": platform.machine(),
        "device_type": "container",
        "uid": platform.node(),
    }


def _matches(properties: str) -> bool:
    """Whether the one device fits a filter: '["==", "$name", "value"]', or several joined by "and", "or"."""
    if not properties:
        return True
    try:
        query = json.loads(properties)
    except ValueError:
        raise Refusal(400, f"Malformed requirements {properties}") from None
    return _holds(query)


def _holds(query: Any) -> bool:
    if not isinstance(query, list) or not query:
        raise Refusal(400, f"Malformed requirements {json.dumps(query)}")
    if query[0] in ("and", "or"):
        parts = [_holds(part) for part in query[1:]]
        return all(parts) if query[0] == "and" else any(parts)
    if len(query) != 3 or query[0] not in _OPERATORS or not str(query[1]).startswith("$"):
        raise Refusal(400, f"Malformed requirements {json.dumps(query)}")
    value = this_device().get(str(query[1])[1:])
    return value is not None and _OPERATORS[query[0]](value, str(query[2]))


def _reservations(given: Any) -> list[dict[str, Any]]:
    found = []
    for one in given if isinstance(given, list) else [None]:
        if not isinstance(one, dict):
            raise Refusal(400, "Malformed reservations: a list of objects is expected")
        kind = one.get("resource_type")
        if kind != "device":
            raise Refusal(400, f"The {kind} resource type is not supported")
        try:
            least = int(one.get("min", 1))
            most = int(one.get("max", least))
        except (TypeError, ValueError):
            raise Refusal(400, "min and max of a reservation must be numbers") from None
        if not 1 <= least <= most:
            raise Refusal(400, "min must be at least 1, and max not less than min")
        properties = str(one.get("resource_properties") or "")
        found.append(
            {"id": str(uuid.uuid4()), "minimum": least, "maximum": most, "resource_properties": properties}
        )
    return found


def _date(text: Any) -> float:
    """Seconds since the epoch of a date (UTC). Blazar takes minutes; we take seconds too. Raises Refusal."""
    for form in (DATE, "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"):
        try:
            return dt.datetime.strptime(str(text), form).replace(tzinfo=dt.timezone.utc).timestamp()
        except ValueError:  # noqa: PERF203
            continue
    raise Refusal(400, f"{text} is an invalid date. Required format: {DATE}")
