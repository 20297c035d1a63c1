"""What a site has to offer, and what to say where it does not tell: images, quotas, networks, leases.

Many of these are for administrators on most clouds. That is no error for the person who looks: it is a sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from chi_edge_lab.errors import BadRequest, Forbidden, NoContainerService, NotFound
from chi_edge_lab.zun.models import FloatingIP, Image, Lease, Tolerant

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

T = TypeVar("T")

_IMAGES = (
    "This site lists its images to its administrators only. Name one of a public registry, "
    "such as python:3.11, or one that your instructor has told you."
)
_NO_IMAGES = "This site lists no images: any of a public registry can be named, such as python:3.11."
_QUOTAS = "This site does not tell its quotas to this user."
_ZONES = "This site does not tell its availability zones."
_NO_NETWORK = "This site has no network service, so it has no floating IPs."
_NO_LEASES = "This site has no reservation service: a container needs none."
_NO_PROFILES = "This site has no device profiles to tell of."


class Quota(BaseModel):
    """A limit of the project; None: there is none. `in_use` is None where the site does not tell."""

    limit: float | None
    in_use: float | None


class NeutronNetwork(Tolerant):
    """A network; `external` is where floating IPs come from."""

    id: str = ""
    name: str | None = None
    status: str | None = None
    shared: bool | None = None
    external: bool = False


class UsableReservation(BaseModel):
    """A reservation that a container can be created with now. `seconds_left` is None where it does not end."""

    id: str
    lease_id: str | None = None
    lease_name: str | None = None
    resource_properties: str | None = None
    ends: datetime | None = None
    seconds_left: float | None = None
    standing: bool = False  # lent by the local site


class Inventory(BaseModel):
    """Base of what a site tells; `reason` is a sentence where it tells nothing."""

    reason: str = ""


class Images(Inventory):
    """Images on the site's hosts."""

    images: list[Image]


class Quotas(Inventory):
    """Limits and use by resource."""

    quotas: dict[str, Quota]


class Zones(Inventory):
    """Names of the availability zones."""

    zones: list[str]


class Networks(Inventory):
    """Networks of the project; `floating_network` is the id of that from which floating IPs come."""

    networks: list[NeutronNetwork]
    floating_network: str | None = None


class FloatingIPs(Inventory):
    """The project's floating IPs."""

    floating_ips: list[FloatingIP]


class DeviceProfiles(Inventory):
    """Device profiles by name, with the resources each asks for."""

    profiles: dict[str, Any]


class Leases(Inventory):
    """The project's leases, and the reservations in them that can be used now. `needed`: a container needs one."""

    needed: bool
    leases: list[Lease]
    usable: list[UsableReservation]


def images(client: Client) -> Images:
    """The images that the site lists to this user."""
    found = _told(client.images)
    if found is None:
        return Images(images=[], reason=_IMAGES)
    return Images(images=found, reason="" if found else _NO_IMAGES)


def quotas(client: Client) -> Quotas:
    """The project's limits and use."""
    found = _told(client.quotas)
    if found is None:
        return Quotas(quotas={}, reason=_QUOTAS)
    return Quotas(quotas={name: _quota(value) for name, value in found.items()})


def availability_zones(client: Client) -> Zones:
    """Where containers can be placed."""
    found = _told(client.availability_zones)
    return Zones(zones=found or [], reason=_ZONES if found is None else "")


def device_profiles(client: Client) -> DeviceProfiles:
    """The devices a container can ask for."""
    lacking = client.dialect.reason("device_profiles")
    found = None if lacking else _told(client.device_profiles)
    return DeviceProfiles(profiles=found or {}, reason="" if found else lacking or _NO_PROFILES)


def networks(client: Client) -> Networks:
    """The networks that the project sees."""
    from chi_edge_lab.zun.network import Network

    try:
        service = Network(client.login)
    except NoContainerService:
        return Networks(networks=[], reason=_NO_NETWORK)
    found = [
        NeutronNetwork.model_validate({**one, "external": one.get("router:external") is True})
        for one in service.networks()
    ]
    try:
        public = service.public_network()
    except NotFound as problem:
        return Networks(networks=found, reason=problem.message)
    return Networks(networks=found, floating_network=public)


def floating_ips(client: Client) -> FloatingIPs:
    """The project's floating IPs, bound or not."""
    from chi_edge_lab.zun.network import Network

    try:
        return FloatingIPs(floating_ips=Network(client.login).floating_ips())
    except NoContainerService:
        return FloatingIPs(floating_ips=[], reason=_NO_NETWORK)


def leases(client: Client, now: datetime | None = None) -> Leases:
    """The project's leases, and what of them a container can be created with at `now` (UTC)."""
    from chi_edge_lab.zun.reservations import Reservations

    now = now or datetime.now(timezone.utc)
    service = Reservations(client.login)
    project = client.login.project_id
    mine = [one for one in service.leases() if one.project_id in {None, project}]
    usable = [one for lease in mine for one in _usable(lease, now)]
    lent = client.login.reservation_id
    if lent and lent not in {one.id for one in usable}:
        usable.append(UsableReservation(id=lent, standing=True))
    for one in usable:
        one.standing = one.id == lent
    reason = "" if service.available else _NO_LEASES
    return Leases(needed=client.dialect.needs_reservation, leases=mine, usable=usable, reason=reason)


def _usable(lease: Lease, now: datetime) -> list[UsableReservation]:
    left = None if lease.end_date is None else (lease.end_date - now).total_seconds()
    if lease.status != "ACTIVE" or (left is not None and left <= 0):
        return []
    return [
        UsableReservation(
            id=one.id, lease_id=lease.id, lease_name=lease.name, resource_properties=one.resource_properties,
            ends=lease.end_date, seconds_left=left,
        )
        for one in lease.device_reservations()
    ]  # fmt: skip


def _quota(value: Any) -> Quota:
    limit, used = value.get("limit"), value.get("in_use")
    return Quota(
        limit=limit if isinstance(limit, (int, float)) and limit >= 0 else None,
        in_use=used if isinstance(used, (int, float)) else None,
    )


def _told(ask: Callable[[], T]) -> T | None:
    """What the site tells; None where it tells it to others only, or does not know the question."""
    try:
        return ask()
    except (Forbidden, NotFound, BadRequest):
        return None
