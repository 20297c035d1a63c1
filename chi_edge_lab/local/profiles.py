"""The two clouds that the local site can be: what differs between them, in one class each.

Nothing else asks which profile it is: numbers and rules are attributes here, behaviour is in the driver that
`make_driver` gives.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.driver import Driver
    from chi_edge_lab.local.zunapi.site import Site


class Profile(abc.ABC):
    """A cloud with a Zun."""

    name: ClassVar[str]
    max_version: ClassVar[tuple[int, int]]
    """The highest microversion."""

    too_new_is_fault: ClassVar[bool]
    """Whether a higher microversion gets a 500 in plain text in place of 406."""

    shows_times: ClassVar[bool]
    """Whether containers have created_at and updated_at."""

    has_device_profiles: ClassVar[bool]
    """Whether GET /v1/drivers/k8s/device_profiles is there."""

    hints_must_be_object: ClassVar[bool]
    """Whether `"hints": null` breaks the create call (500)."""

    default_cpu: ClassVar[float]
    default_memory: ClassVar[str]
    admin_only: ClassVar[frozenset[str]]
    """Create attributes that policy keeps for administrators."""

    quotas: ClassVar[dict[str, int]]
    """Default limits of a project; -1 is none."""

    @abc.abstractmethod
    def make_driver(self, site: Site) -> Driver:
        """What Zun's compute does with containers."""


class ChiEdge(Profile):
    """CHI@Edge: Chameleon's fork of Zun (Xena) with its k8s driver."""

    name = "chi-edge"
    max_version = (1, 41)
    too_new_is_fault = False
    shows_times = False
    has_device_profiles = True
    hints_must_be_object = True
    default_cpu = 1.0
    default_memory = "512"
    admin_only = frozenset(
        {"image_pull_policy", "host"}
    )  # people pass runtime="nvidia", so the site allows that
    quotas: ClassVar[dict[str, int]] = {"containers": 40, "memory": -1, "disk": -1, "cpu": -1}

    def make_driver(self, site: Site) -> Driver:
        """The k8s driver."""
        from chi_edge_lab.local.zunapi.driver_k8s import K8sDriver

        return K8sDriver(site)


class Zun(Profile):
    """Upstream's Zun 18 with its docker driver, as DevStack sets it up."""

    name = "zun"
    max_version = (1, 40)
    too_new_is_fault = True
    shows_times = True
    has_device_profiles = False
    hints_must_be_object = False
    default_cpu = 0.0
    default_memory = "0"
    admin_only = frozenset({"image_pull_policy", "host", "runtime"})
    quotas: ClassVar[dict[str, int]] = {"containers": 40, "memory": 51200, "disk": 100, "cpu": 20}

    def make_driver(self, site: Site) -> Driver:
        """The docker driver."""
        from chi_edge_lab.local.zunapi.driver_docker import DockerDriver

        return DockerDriver(site)


PROFILES: dict[str, type[Profile]] = {ChiEdge.name: ChiEdge, Zun.name: Zun}


def profile_named(name: str) -> Profile:
    """The profile of this name. Raises KeyError."""
    return PROFILES[name]()
