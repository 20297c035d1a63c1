"""What a site has besides containers: images, device profiles, zones, quotas, reservations, floating IPs."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab import errors
from chi_edge_lab.core import floating_ips
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, SITE, operation
from chi_edge_lab.zun import FloatingIP, Image, Lease, Network, Reservation, Reservations


class ImageList(BaseModel):
    """The site's images. `reason` says why there are none to see."""

    images: list[Image]
    reason: str = ""


class ProfileList(BaseModel):
    """Device profiles by name with the resources each asks for."""

    profiles: dict[str, Any]
    reason: str = ""


class ZoneList(BaseModel):
    """Names of the availability zones."""

    zones: list[str]


class Quota(BaseModel):
    """`limit` -1 is no limit; null where the site does not tell."""

    limit: int | None
    in_use: int | None


class QuotaList(BaseModel):
    """The project's quotas by resource. `reason` says why there are none to see."""

    quotas: dict[str, Quota]
    reason: str = ""


class UsableReservation(BaseModel):
    """A reservation that a container can be created with now. `seconds_left` until its lease ends."""

    reservation: Reservation
    lease_id: str
    lease_name: str | None
    seconds_left: float | None


class ReservationList(BaseModel):
    """The project's leases, and the reservations of them that can be used now."""

    needed: bool
    standing: str | None
    usable: list[UsableReservation]
    leases: list[Lease]


class FloatingIPList(BaseModel):
    """The project's floating IPs. `reason` says why there are none to have."""

    floating_ips: list[FloatingIP]
    reason: str = ""


class Attachment(BaseModel):
    """The address of a floating IP to attach; null: one that the project has free, or a new one."""

    model_config = ConfigDict(extra="forbid")

    address: str | None = Field(None, max_length=64)


class Attached(BaseModel):
    """The floating IP's address."""

    address: str


class Address(BaseModel):
    """Which floating IP."""

    address: str = Field(min_length=2, max_length=64)


class Released(BaseModel):
    """Whether there was such a floating IP."""

    released: bool


@operation("GET", SITE + "/images", "read")
def list_images(call: Call) -> ImageList:
    """The images that the site's hosts have."""
    try:
        return ImageList(images=call.client().images())
    except errors.Forbidden:
        reason = "This site lists its images to administrators only; type the name of an image instead."
        return ImageList(images=[], reason=reason)


@operation("GET", SITE + "/device_profiles", "read")
def list_device_profiles(call: Call) -> ProfileList:
    """Device profiles, where the site has them."""
    client = call.client()
    found = client.device_profiles()
    reason = client.dialect.reason("device_profiles") or ("" if found else "The site has no device profiles.")
    return ProfileList(profiles=found or {}, reason=reason)


@operation("GET", SITE + "/availability_zones", "read")
def list_zones(call: Call) -> ZoneList:
    """The site's availability zones."""
    return ZoneList(zones=call.client().availability_zones())


@operation("GET", SITE + "/quotas", "read")
def list_quotas(call: Call) -> QuotaList:
    """What the project may use and uses."""
    try:
        found = call.client().quotas()
    except (errors.Forbidden, errors.NotFound, errors.BadRequest):
        return QuotaList(quotas={}, reason="The site does not tell its quotas to this user.")
    return QuotaList(
        quotas={
            name: Quota(limit=_number(one.get("limit")), in_use=_number(one.get("in_use")))
            for name, one in found.items()
            if _number(one.get("limit")) is not None
        }
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@operation("GET", SITE + "/reservations", "read")
def list_reservations(call: Call) -> ReservationList:
    """The project's leases, and the reservations that a container can be created with now."""
    client = call.client()
    leases = Reservations(client.login).leases()
    now = datetime.now(timezone.utc)
    return ReservationList(
        needed=client.dialect.needs_reservation,
        standing=client.login.reservation_id,
        usable=[
            UsableReservation(
                reservation=reservation, lease_id=lease.id, lease_name=lease.name,
                seconds_left=max(0.0, (lease.end_date - now).total_seconds()) if lease.end_date else None,
            )
            for lease in leases
            if lease.status == "ACTIVE"
            for reservation in lease.device_reservations()
        ],
        leases=leases,
    )  # fmt: skip


@operation("GET", SITE + "/floating_ips", "read")
def list_floating_ips(call: Call) -> FloatingIPList:
    """The project's floating IPs."""
    client = call.client()
    if not client.login.has_service("network"):
        return FloatingIPList(floating_ips=[], reason="The site has no network service, so there are none.")
    return FloatingIPList(floating_ips=Network(client.login).floating_ips())


@operation("DELETE", SITE + "/floating_ips", "write")
def release_floating_ip(call: Call, query: Address) -> Released:
    """Give a floating IP back to the site."""
    return Released(released=floating_ips.release(call.client(), query.address))


@operation("POST", SITE + "/floating_ips/detach", "write")
def detach_floating_ip(call: Call, body: Attached) -> None:
    """Unbind a floating IP; it stays the project's."""
    floating_ips.detach(call.client(), body.address)


@operation("POST", CONTAINER + "/floating_ip", "write")
def attach_floating_ip(call: Call, body: Attachment) -> Attached:
    """Bind a floating IP to the container."""
    return Attached(address=floating_ips.attach(call.container(), call.uuid, body.address))
