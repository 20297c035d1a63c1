"""Floating IPs, as Neutron keeps them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from chi_edge_lab import errors
from chi_edge_lab.sites.session import Login
from chi_edge_lab.zun.models import FloatingIP
from chi_edge_lab.zun.rest import Service


class Network:
    """The floating-IP part of a site's Neutron. Thread-safe.

    Every method raises errors.SiteError for Neutron's refusal or silence. Making one raises
    errors.NoContainerService where the catalogue has no network service.
    """

    def __init__(self, login: Login) -> None:
        self.login = login
        self._service = Service(login, "network", "/v2.0")

    def floating_ips(self, **filters: Any) -> list[FloatingIP]:
        """The project's floating IPs; `filters` are Neutron's (floating_ip_address, port_id, status, ...)."""
        doing = "list the floating IPs"
        # an admin sees everybody's unless the project is named
        query = {"project_id": self.login.project_id, **filters}
        reply = self._service.call("GET", "/floatingips", doing, query=query)
        return [FloatingIP.model_validate(item) for item in reply.get("floatingips") or []]

    def create_floating_ip(
        self, network_id: str | None = None, *, description: str | None = None
    ) -> FloatingIP:
        """Allocate a new one, out of the public network unless another is named.

        Raises:
            errors.OverQuota, errors.Conflict: none is left.
        """
        wanted: dict[str, Any] = {"floating_network_id": network_id or self.public_network()}
        if description:
            wanted["description"] = description
        doing = "allocate a floating IP"
        try:
            reply = self._service.call("POST", "/floatingips", doing, body={"floatingip": wanted})
        except errors.Conflict as problem:
            if "quota" not in problem.message.lower():
                raise
            raise errors.OverQuota(
                problem.message,
                hint="Release one that you no longer need, or use one that is free.",
                request_id=problem.request_id,
                http_status=problem.http_status,
            ) from None
        return FloatingIP.model_validate(reply.get("floatingip") or {})

    def update_floating_ip(
        self, floating_ip_id: str, port_id: str | None, fixed_ip_address: str | None = None
    ) -> FloatingIP:
        """Attach to a port, or detach (`port_id` None)."""
        change: dict[str, Any] = {"port_id": port_id}
        if port_id is not None and fixed_ip_address is not None:
            change["fixed_ip_address"] = fixed_ip_address
        doing = "attach the floating IP" if port_id else "detach the floating IP"
        reply = self._service.call("PUT", _path(floating_ip_id), doing, body={"floatingip": change})
        return FloatingIP.model_validate(reply.get("floatingip") or {})

    def delete_floating_ip(self, floating_ip_id: str) -> None:
        """Give it back to the site."""
        self._service.call("DELETE", _path(floating_ip_id), "release the floating IP")

    def networks(self, **filters: Any) -> list[dict[str, Any]]:
        """The networks that the project sees, with Neutron's fields; `filters` are Neutron's, too."""
        doing = "find the public network" if filters else "list the networks"
        reply = self._service.call("GET", "/networks", doing, query=filters)
        return [item for item in reply.get("networks") or [] if isinstance(item, dict) and item.get("id")]

    def public_network(self) -> str:
        """The id of the network that floating IPs come from: the one named "public", else the first external.

        Raises:
            errors.NotFound: there is none.
        """
        networks = self.networks(**{"router:external": True})
        named = [item for item in networks if item.get("name") == "public"]
        for network in (*named, *networks):
            return str(network["id"])
        raise errors.NotFound(
            f"{self.login.site} has no public network to take a floating IP from.", http_status=404
        )


def _path(floating_ip_id: str) -> str:
    if not floating_ip_id:
        raise errors.BadInput("A floating IP's id is needed.")
    return f"/floatingips/{quote(floating_ip_id, safe='')}"
