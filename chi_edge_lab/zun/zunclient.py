"""python-zunclient's own client object over our transport, for who wants its interface."""

from __future__ import annotations

from typing import Any

from zunclient.v1 import (
    actions,
    availability_zones,
    capsules,
    containers,
    hosts,
    images,
    quota_classes,
    quotas,
    registries,
    services,
    versions,
)
from zunclient.v1 import client as v1

from chi_edge_lab.zun.transport import Transport

_MANAGERS = {
    "containers": containers.ContainerManager,
    "images": images.ImageManager,
    "services": services.ServiceManager,
    "hosts": hosts.HostManager,
    "versions": versions.VersionManager,
    "capsules": capsules.CapsuleManager,
    "availability_zones": availability_zones.AvailabilityZoneManager,
    "actions": actions.ActionManager,
    "quotas": quotas.QuotaManager,
    "quota_classes": quota_classes.QuotaClassManager,
    "registries": registries.RegistryManager,
}


class _Client(v1.Client):  # type: ignore[misc]
    def __init__(self, transport: Transport) -> None:
        # not the parent's: it asks for an endpoint once more and hides every reason in "Not authorized"
        self.http_client = transport
        for name, manager in _MANAGERS.items():
            setattr(self, name, manager(transport))


def wrapped(transport: Transport) -> Any:
    """A `zunclient.v1.client.Client` whose requests go through `transport`."""
    return _Client(transport)
