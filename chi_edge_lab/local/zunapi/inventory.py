"""What else python-zunclient asks for: availability zones, hosts, services, networks, capsules, device profiles.

There is one host, this machine, and one compute service on it.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
import uuid
from typing import Any

from chi_edge_lab.local.zunapi import schema, states, views
from chi_edge_lab.local.zunapi.errors import (
    BareError,
    ComputeNodeNotFound,
    ContainerNotFound,
    ServerFault,
    ZunServiceNotFound,
)
from chi_edge_lab.local.zunapi.handler import Handler
from chi_edge_lab.local.zunapi.k8s_words import DEVICE_PROFILES

ZONE = "nova"
_STARTED = time.time()


class AvailabilityZones(Handler):
    """The one zone."""

    def get(self) -> None:
        """List it."""
        self.answer({"next": None, "availability_zones": [{"availability_zone": ZONE}]})


def _host(handler: Handler, *, linked: bool) -> dict[str, Any]:
    rows = handler.site.containers.table.find()
    running = [row for row in rows if row.status == states.RUNNING]
    disk = shutil.disk_usage("/")
    ident = str(uuid.uuid5(uuid.NAMESPACE_DNS, handler.site.containers.host_name))
    view: dict[str, Any] = {"uuid": ident}
    if linked:
        view["links"] = views.links(handler.base, "hosts", ident)
    whole = not handler.site.containers.driver.channel_bytes
    return view | {
        "hostname": handler.site.containers.host_name,
        "mem_total": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "mem_used": sum(int(row.memory) for row in running),
        "total_containers": len(rows),
        "cpus": os.cpu_count() or 1,
        "cpu_used": sum(row.cpu for row in running),
        # the k8s driver stands for a whole cluster and does not say
        "architecture": platform.machine() if whole else "n/a",
        "os_type": "linux" if whole else "n/a",
        "os": platform.platform() if whole else "n/a",
        "kernel_version": platform.release() if whole else "n/a",
        "labels": {} if whole else {"container_driver": "k8s"},
        "disk_total": disk.total // 2**30,
        "disk_used": sum(row.disk for row in running),
        "disk_quota_supported": False,
        "runtimes": ["runc"] if whole else [],
        "enable_cpu_pinning": False,
    }


class Hosts(Handler):
    """The hosts (since 1.4, for administrators)."""

    def get(self) -> None:
        """List the one there is."""
        if self.context.version < (1, 4):
            raise BareError(406)
        self.require_admin("host:get_all")
        self.answer({"next": None, "hosts": [_host(self, linked=True)]})


class OneHost(Handler):
    """One host, by id or name."""

    def get(self, ref: str) -> None:
        """Show it."""
        if self.context.version < (1, 4):
            raise BareError(406)
        self.require_admin("host:get")
        host = _host(self, linked=True)
        if ref not in {host["uuid"], host["hostname"]}:
            raise ComputeNodeNotFound(ref)
        self.answer(host)


class Services(Handler):
    """Zun's own processes (for administrators)."""

    def get(self) -> None:
        """The one compute service."""
        self.require_admin("zun-service:get_all")
        service = {
            "id": 1,
            "host": self.site.containers.host_name,
            "binary": "zun-compute",
            "disabled": False,
            "disabled_reason": None,
            "last_seen_up": views.iso_time(time.time()),
            "forced_down": False,
            "report_count": int((time.time() - _STARTED) // 60),
            "availability_zone": ZONE,
            "created_at": views.iso_time(_STARTED),
            "updated_at": views.iso_time(time.time()),
            "state": "up",
        }
        self.answer({"services": [service]})

    def delete(self) -> None:
        """It cannot be deleted while it runs."""
        self.require_admin("zun-service:delete")
        query = self.query()
        raise ZunServiceNotFound(
            f"Zun service {query.get('binary')} on host {query.get('host')} could not be found."
        )


class ServiceSwitch(Handler):
    """PUT /v1/services/enable, disable, force_down: there is only one, and it stays on."""

    def put(self, verb: str) -> None:
        """Refused."""
        self.require_admin(f"zun-service:{verb}")
        query = self.query() | self.body()
        raise ZunServiceNotFound(
            f"Zun service {query.get('binary')} on host {query.get('host')} could not be found."
        )


class Networks(Handler):
    """Zun's networks: making one needs kuryr, which is not here."""

    def post(self) -> None:
        """Refused."""
        schema.check(schema.NETWORK_CREATE, self.body())
        self.require_admin("network:create")
        raise ServerFault("networks cannot be made through Zun here")


class OneNetwork(Handler):
    """One of Zun's networks."""

    def delete(self, ref: str) -> None:  # noqa: ARG002 - there are none
        """Refused."""
        self.require_admin("network:delete")
        raise ServerFault("there are no networks of Zun's own")


class Capsules(Handler):
    """Pods of several containers: neither driver here has them."""

    def get(self) -> None:
        """None."""
        self.answer({"next": None, "capsules": []})

    def post(self) -> None:
        """Refused."""
        schema.check(schema.CAPSULE_CREATE, self.body())
        raise ServerFault("capsules are not supported")


class OneCapsule(Handler):
    """One capsule."""

    def get(self, ref: str) -> None:
        """Not there."""
        raise ContainerNotFound(ref)  # upstream says it so

    def delete(self, ref: str) -> None:
        """Not there."""
        raise ContainerNotFound(ref)  # upstream says it so


class DeviceProfiles(Handler):
    """GET /v1/drivers/k8s/device_profiles: Chameleon's own; 404 upstream. A good probe for the k8s driver."""

    def get(self) -> None:
        """The profiles, and which Kubernetes resources they stand for."""
        if not self.site.profile.has_device_profiles:
            raise BareError(404)
        self.answer(DEVICE_PROFILES)
