"""Blazar v1 over HTTP: leases."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from chi_edge_lab.local.reservations import Lease
from chi_edge_lab.local.web import Route, ServiceHandler
from chi_edge_lab.local.web import routes as make_routes

if TYPE_CHECKING:
    from chi_edge_lab.local.app import Site


def routes(site: Site) -> list[Route]:
    """Rules below /reservation."""
    return make_routes(
        site,
        [
            (r"/?", Versions),
            (r"/v1/leases(?:\.json)?", Leases),
            (r"/v1/leases/([^/]+?)(?:\.json)?", OneLease),
        ],
    )


class BlazarHandler(ServiceHandler):
    """Blazar's errors and its way of showing a lease."""

    def write_failure(self, status: int, message: str, code: str) -> None:
        if status == 401:  # keystonemiddleware answers before Blazar does
            super().write_failure(status, message, code)
        else:
            self.answer({"error_code": status, "error_message": message, "error_name": status}, status)

    def show(self, lease: Lease) -> None:
        """Answer one lease."""
        self.answer({"lease": record(lease)})


class Versions(BlazarHandler):
    """GET /reservation/"""

    def get(self) -> None:
        link = {"rel": "self", "href": f"{self.site.url}/reservation/v1"}
        self.answer({"versions": [{"id": "v1.0", "status": "CURRENT", "links": [link]}]})


class Leases(BlazarHandler):
    """/v1/leases"""

    def get(self) -> None:
        self.answer({"leases": [record(lease) for lease in self.site.reservations.leases(self.project())]})

    def post(self) -> None:
        token = self.token()
        lease = self.site.reservations.create(token.user_id, self.project(), self.body())
        self.answer({"lease": record(lease)}, 201)


class OneLease(BlazarHandler):
    """/v1/leases/{id}"""

    def get(self, id: str) -> None:
        self.show(self.site.reservations.lease(self.project(), id))

    def put(self, id: str) -> None:
        self.show(self.site.reservations.update(self.project(), id, self.body()))

    def delete(self, id: str) -> None:
        lease = self.site.reservations.delete(self.project(), id)
        self.site.containers.leases_ended([r.id for r in lease.reservation_list()])
        self.answer(None, 204)


def record(lease: Lease) -> dict[str, Any]:
    """A lease as Blazar shows it."""
    states = {"PENDING": "pending", "ACTIVE": "active", "TERMINATED": "deleted"}
    times = {"created_at": _stamp(lease.created_at), "updated_at": _stamp(lease.updated_at)}
    done = {"start_lease": lease.status != "PENDING", "end_lease": lease.status == "TERMINATED"}
    return {
        "id": lease.id,
        "name": lease.name,
        "user_id": lease.user_id,
        "project_id": lease.project_id,
        "start_date": _moment(lease.start),
        "end_date": _moment(lease.end),
        "status": lease.status,
        "degraded": False,
        "trust_id": None,
        **times,
        "reservations": [
            {
                "id": r.id,
                "lease_id": lease.id,
                "resource_id": r.id,
                "resource_type": "device",
                "status": states[lease.status],
                "min": r.minimum,
                "max": r.maximum,
                "resource_properties": r.resource_properties,
                "before_end": "default",
                "missing_resources": False,
                "resources_changed": False,
                **times,
            }
            for r in lease.reservation_list()
        ],
        "events": [
            {
                "id": str(uuid.uuid5(uuid.UUID(lease.id), kind)),
                "lease_id": lease.id,
                "event_type": kind,
                "time": _moment(lease.start if kind == "start_lease" else lease.end),
                "status": "DONE" if over else "UNDONE",
                **times,
            }
            for kind, over in done.items()
        ],
    }


def _moment(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _stamp(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
