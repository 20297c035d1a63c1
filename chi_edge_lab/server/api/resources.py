"""What a site has: images, networks, leases, device profiles, availability zones, quotas."""

from __future__ import annotations

from pydantic import BaseModel

from chi_edge_lab.core import inventory
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, SITE, operation
from chi_edge_lab.zun.models import ContainerNetwork


class ContainerNetworks(BaseModel):
    """The networks a container is on."""

    networks: list[ContainerNetwork]


@operation("GET", SITE + "/images", "read")
def list_images(call: Call) -> inventory.Images:
    """The images on the site's hosts, or what to do where it does not list them."""
    return inventory.images(call.client())


@operation("GET", SITE + "/networks", "read")
def list_networks(call: Call) -> inventory.Networks:
    """The networks of the project, and which floating IPs come from."""
    return inventory.networks(call.client())


@operation("GET", CONTAINER + "/networks", "read")
def list_container_networks(call: Call) -> ContainerNetworks:
    """The networks a container is on."""
    return ContainerNetworks(networks=call.container().networks_of(call.uuid))


@operation("GET", SITE + "/reservations", "read")
def list_reservations(call: Call) -> inventory.Leases:
    """The project's leases, and the reservations that a container can be created with now."""
    return inventory.leases(call.client())


@operation("GET", SITE + "/device_profiles", "read")
def list_device_profiles(call: Call) -> inventory.DeviceProfiles:
    """The devices that a container can ask for."""
    return inventory.device_profiles(call.client())


@operation("GET", SITE + "/availability_zones", "read")
def list_availability_zones(call: Call) -> inventory.Zones:
    """Where containers can be placed."""
    return inventory.availability_zones(call.client())


@operation("GET", SITE + "/quotas", "read")
def get_quotas(call: Call) -> inventory.Quotas:
    """The project's limits and what it uses of them."""
    return inventory.quotas(call.client())
