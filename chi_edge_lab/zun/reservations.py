"""Leases, as Blazar keeps them: what a container on CHI@Edge is created against."""

from __future__ import annotations

from urllib.parse import quote

from chi_edge_lab import errors
from chi_edge_lab.sites.session import Login
from chi_edge_lab.zun.models import Lease, Reservation
from chi_edge_lab.zun.rest import Service

_TYPE = "reservation"


class Reservations:
    """The leases of a site's Blazar; empty on a site without one. Thread-safe."""

    def __init__(self, login: Login) -> None:
        self.login = login
        try:
            self._service: Service | None = Service(login, _TYPE, "")
        except errors.NoContainerService:
            self._service = None

    @property
    def available(self) -> bool:
        """False where the site has no reservation service."""
        return self._service is not None

    def leases(self) -> list[Lease]:
        """The project's leases; [] where the site has no reservation service.

        Raises:
            errors.SiteError: Blazar refuses, fails or is silent.
        """
        if self._service is None:
            return []
        reply = self._service.call("GET", "/leases", "list the leases")
        return [Lease.model_validate(item) for item in reply.get("leases") or []]

    def lease(self, lease_id: str) -> Lease:
        """One lease.

        Raises:
            errors.NotFound: there is none, or the site has no reservation service.
        """
        if self._service is None:
            raise errors.NotFound(f"{self.login.site} has no reservation service.", http_status=404)
        reply = self._service.call("GET", f"/leases/{quote(lease_id, safe='')}", f"show lease {lease_id!r}")
        return Lease.model_validate(reply.get("lease") or {})

    def device_reservations(self) -> list[Reservation]:
        """The reservations of active leases that a container can be created with."""
        active = [lease for lease in self.leases() if lease.status == "ACTIVE"]
        return [reservation for lease in active for reservation in lease.device_reservations()]
