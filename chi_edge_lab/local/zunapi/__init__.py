"""The site's Zun: its API, and what happens behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.handler import Rule
    from chi_edge_lab.local.zunapi.site import Site


def routes(site: Site) -> list[Rule]:
    """Tornado's rules below the mount point of the service ("/container")."""
    from chi_edge_lab.local.zunapi import (
        actions,
        containers,
        handler,
        images,
        inventory,
        quotas,
        registries,
        verbs,
    )

    table = [
        (r"/?", handler.Root),
        (r"/v1/?", handler.V1),
        (r"/v1/containers/?", containers.ContainerList),
        (r"/v1/containers/([^/]+)/?", containers.OneContainer),
        (r"/v1/containers/([^/]+)/container_actions/?", actions.ActionList),
        (r"/v1/containers/([^/]+)/container_actions/([^/]+)/?", actions.OneAction),
        (r"/v1/containers/([^/]+)/([a-z_]+)/?", verbs.ContainerVerb),
        (r"/v1/images/?", images.ImageList),
        (r"/v1/images/(.+)/search", images.ImageSearch),
        (r"/v1/images/([^/]+)/?", images.OneImage),
        (r"/v1/availability_zones/?", inventory.AvailabilityZones),
        (r"/v1/hosts/?", inventory.Hosts),
        (r"/v1/hosts/([^/]+)/?", inventory.OneHost),
        (r"/v1/services/?", inventory.Services),
        (r"/v1/services/(enable|disable|force_down)", inventory.ServiceSwitch),
        (r"/v1/networks/?", inventory.Networks),
        (r"/v1/networks/([^/]+)/?", inventory.OneNetwork),
        (r"/v1/(?:capsules|experimental/capsules)/?", inventory.Capsules),
        (r"/v1/capsules/([^/]+)/?", inventory.OneCapsule),
        (r"/v1/quotas/([^/]+)/?", quotas.ProjectQuotas),
        (r"/v1/quotas/([^/]+)/defaults", quotas.DefaultQuotas),
        (r"/v1/quota_classes/([^/]+)/?", quotas.QuotaClasses),
        (r"/v1/registries/?", registries.RegistryList),
        (r"/v1/registries/([^/]+)/?", registries.OneRegistry),
        (r"/v1/drivers/k8s/device_profiles/?", inventory.DeviceProfiles),
        (r"/.*", handler.Missing),
    ]
    return [(pattern, one, {"site": site}) for pattern, one in table]
