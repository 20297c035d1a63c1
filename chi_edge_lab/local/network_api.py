"""Neutron v2.0 over HTTP: networks, subnets, ports and security groups to look at, floating IPs to use."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from chi_edge_lab.local.network import FloatingIP, Net, NetworkError, Port
from chi_edge_lab.local.web import Route, ServiceHandler
from chi_edge_lab.local.web import routes as make_routes

if TYPE_CHECKING:
    from chi_edge_lab.local.app import Site

EXTENSIONS = (
    ("external-net", "Neutron external network"),
    ("router", "Neutron L3 Router"),
    ("security-group", "security-group"),
    ("standard-attr-description", "standard-attr-description"),
)

_CONTROL = frozenset({"fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse"})


def routes(site: Site) -> list[Route]:
    """Rules below /network. Neutron accepts ".json" at the end of each."""
    one = r"/([^/]+?)"
    table = [
        ("/networks", Networks),
        ("/networks" + one, OneNetwork),
        ("/subnets", Subnets),
        ("/subnets" + one, OneSubnet),
        ("/ports", Ports),
        ("/ports" + one, OnePort),
        ("/floatingips", FloatingIPs),
        ("/floatingips" + one, OneFloatingIP),
        ("/security-groups", SecurityGroups),
        ("/security-groups" + one, OneSecurityGroup),
        ("/extensions", Extensions),
        ("/extensions" + one, OneExtension),
    ]
    rules: list[tuple[str, type[ServiceHandler]]] = [(r"/?", Versions), (r"/v2\.0/?", Version)]
    return make_routes(
        site, rules + [(rf"/v2\.0{pattern}(?:\.json)?", handler) for pattern, handler in table]
    )


class NeutronHandler(ServiceHandler):
    """Neutron's errors, filters and ways of showing things."""

    def write_failure(self, status: int, message: str, code: str) -> None:
        if status == 401:  # keystonemiddleware answers before Neutron does
            super().write_failure(status, message, code)
            return
        self.answer({"NeutronError": {"type": code or "HTTPError", "message": message, "detail": ""}}, status)

    def refusal_of(self, error: BaseException | None) -> tuple[int, str, str] | None:
        if isinstance(error, NetworkError):
            return error.status, error.message, error.kind
        return super().refusal_of(error)

    def listing(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Answer a collection, filtered by the query as Neutron does: equal to one of the values given."""
        kept = []
        for row in rows:
            given = (
                (k, self.get_query_arguments(k)) for k in self.request.query_arguments if k not in _CONTROL
            )
            if all(_text(row.get(k)) in [v.casefold() for v in values] for k, values in given if k in row):
                kept.append(self.selected(row))
        marker, limit = self.get_query_argument("marker", None), self.get_query_argument("limit", "")
        if marker is not None:
            after = [i for i, row in enumerate(kept) if row.get("id") == marker]
            kept = kept[after[0] + 1 :] if after else []
        self.answer({name: kept[: int(limit)] if limit.isdecimal() and int(limit) else kept})

    def selected(self, row: dict[str, Any]) -> dict[str, Any]:
        """A thing, with the fields the query names (all where it names none)."""
        fields = self.get_query_arguments("fields")
        return {k: v for k, v in row.items() if k in fields} if fields else row

    def network_record(self, net: Net, project_id: str) -> dict[str, Any]:
        """A network as Neutron shows it."""
        return {
            "id": net.id,
            "name": net.name,
            "tenant_id": project_id if not net.external else "",
            "project_id": project_id if not net.external else "",
            "admin_state_up": True,
            "status": "ACTIVE",
            "shared": True,
            "router:external": net.external,
            "subnets": [net.subnet_id],
            "mtu": 65535,
            "port_security_enabled": True,
            "availability_zones": ["nova"],
            "availability_zone_hints": [],
            "description": "",
            "tags": [],
            "ipv4_address_scope": None,
            "ipv6_address_scope": None,
            "revision_number": 1,
        }

    def subnet_record(self, net: Net, project_id: str) -> dict[str, Any]:
        """A subnet as Neutron shows it."""
        return {
            "id": net.subnet_id,
            "name": f"{net.name}-subnet",
            "network_id": net.id,
            "tenant_id": project_id if not net.external else "",
            "project_id": project_id if not net.external else "",
            "ip_version": 4,
            "cidr": str(net.cidr),
            "gateway_ip": net.gateway,
            "enable_dhcp": False,
            "allocation_pools": [{"start": str(net.cidr[10]), "end": str(net.cidr[-2])}],
            "dns_nameservers": [],
            "host_routes": [],
            "description": "",
            "ipv6_address_mode": None,
            "ipv6_ra_mode": None,
            "subnetpool_id": None,
            "tags": [],
            "revision_number": 1,
        }

    def port_record(self, port: Port) -> dict[str, Any]:
        """A port as Neutron shows it."""
        network = self.site.network
        return {
            "id": port.id,
            "name": f"zun-{port.container_uuid}",
            "network_id": network.private.id,
            "tenant_id": port.project_id,
            "project_id": port.project_id,
            "mac_address": port.mac_address,
            "fixed_ips": [{"subnet_id": network.private.subnet_id, "ip_address": port.address}],
            "device_id": port.container_uuid,
            # as the k8s driver marks its ports
            "device_owner": "k8s:cni" if self.site.config.profile == "chi-edge" else "compute:kuryr",
            "status": "ACTIVE",
            "admin_state_up": True,
            "security_groups": [network.security_group(port.project_id)],
            "allowed_address_pairs": [],
            "port_security_enabled": True,
            "binding:vnic_type": "normal",
            "description": "",
            "tags": [],
            "created_at": _time(port.created_at),
            "updated_at": _time(port.created_at),
            "revision_number": 1,
        }

    def floating_record(self, floating: FloatingIP) -> dict[str, Any]:
        """A floating IP as Neutron shows it."""
        network = self.site.network
        port = network.port(floating.project_id, floating.port_id) if floating.port_id else None
        return {
            "id": floating.id,
            "tenant_id": floating.project_id,
            "project_id": floating.project_id,
            "floating_ip_address": floating.address,
            "floating_network_id": network.public.id,
            "router_id": self.site.config.uuid_of("router") if port else None,
            "port_id": floating.port_id,
            "fixed_ip_address": port.address if port else None,
            "status": "ACTIVE" if port else "DOWN",
            "description": floating.description,
            "port_details": None
            if port is None
            else {
                "name": f"zun-{port.container_uuid}",
                "network_id": network.private.id,
                "mac_address": port.mac_address,
                "admin_state_up": True,
                "status": "ACTIVE",
                "device_id": port.container_uuid,
                "device_owner": "",
            },
            "dns_domain": "",
            "dns_name": "",
            "qos_policy_id": None,
            "port_forwardings": [],
            "tags": [],
            "created_at": _time(floating.created_at),
            "updated_at": _time(floating.updated_at),
            "revision_number": 1,
        }

    def group_record(self, project_id: str) -> dict[str, Any]:
        """A project's default security group. It has no rules: exposed ports decide what can be reached."""
        return {
            "id": self.site.network.security_group(project_id),
            "name": "default",
            "description": "Default security group",
            "tenant_id": project_id,
            "project_id": project_id,
            "security_group_rules": [],
            "stateful": True,
            "shared": False,
            "tags": [],
            "revision_number": 1,
        }


class Versions(NeutronHandler):
    """GET /network/: read before login."""

    def get(self) -> None:
        link = f"{self.site.url}/network/v2.0/"
        version = {"id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": link}]}
        self.answer({"versions": [version]})


class Version(NeutronHandler):
    """GET /v2.0: what there is."""

    def get(self) -> None:
        self.token()
        root = f"{self.site.url}/network/v2.0"
        names = (
            ("network", "networks"),
            ("subnet", "subnets"),
            ("port", "ports"),
            ("floatingip", "floatingips"),
        )
        rows = [
            {"name": one, "collection": many, "links": [{"rel": "self", "href": f"{root}/{many}"}]}
            for one, many in names
        ]
        self.answer({"resources": rows})


class Networks(NeutronHandler):
    """GET /v2.0/networks"""

    def get(self) -> None:
        project = self.project()
        self.listing("networks", (self.network_record(n, project) for n in self.site.network.networks))


class OneNetwork(NeutronHandler):
    """GET /v2.0/networks/{id}"""

    def get(self, id: str) -> None:
        project = self.project()
        for net in self.site.network.networks:
            if net.id == id:
                self.answer({"network": self.selected(self.network_record(net, project))})
                return
        raise NetworkError(404, "NetworkNotFound", f"Network {id} could not be found.")


class Subnets(NeutronHandler):
    """GET /v2.0/subnets"""

    def get(self) -> None:
        project = self.project()
        self.listing("subnets", (self.subnet_record(n, project) for n in self.site.network.networks))


class OneSubnet(NeutronHandler):
    """GET /v2.0/subnets/{id}"""

    def get(self, id: str) -> None:
        project = self.project()
        for net in self.site.network.networks:
            if net.subnet_id == id:
                self.answer({"subnet": self.selected(self.subnet_record(net, project))})
                return
        raise NetworkError(404, "SubnetNotFound", f"Subnet {id} could not be found.")


class Ports(NeutronHandler):
    """GET /v2.0/ports"""

    def get(self) -> None:
        self.listing("ports", (self.port_record(p) for p in self.site.network.ports(self.project())))


class OnePort(NeutronHandler):
    """GET /v2.0/ports/{id}"""

    def get(self, id: str) -> None:
        port = self.site.network.port(self.project(), id)
        self.answer({"port": self.selected(self.port_record(port))})


class FloatingIPs(NeutronHandler):
    """/v2.0/floatingips"""

    def get(self) -> None:
        network = self.site.network
        self.listing("floatingips", (self.floating_record(f) for f in network.floating_ips(self.project())))

    async def post(self) -> None:
        project, body = self.project(), self.body("floatingip")
        network = self.site.network
        wanted = body.get("floating_network_id")
        if not isinstance(wanted, str):
            raise NetworkError(
                400,
                "HTTPBadRequest",
                "Failed to parse request. Required attribute 'floating_network_id' not specified",
            )
        if wanted == network.private.id:
            raise NetworkError(
                400,
                "BadRequest",
                f"Bad floatingip request: Network {wanted} is not a valid external network.",
            )
        if wanted != network.public.id:
            raise NetworkError(404, "NetworkNotFound", f"Network {wanted} could not be found.")
        if body.get("floating_ip_address"):
            raise NetworkError(
                403,
                "PolicyNotAuthorized",
                "(rule:create_floatingip and rule:create_floatingip:floating_ip_address) "
                "is disallowed by policy",
            )
        floating = network.create_floating_ip(project, port_id=_port_id(body), description=_description(body))
        await self.site.forwarder.settled()
        self.answer({"floatingip": self.floating_record(floating)}, 201)


class OneFloatingIP(NeutronHandler):
    """/v2.0/floatingips/{id}"""

    def get(self, id: str) -> None:
        floating = self.site.network.floating_ip(self.project(), id)
        self.answer({"floatingip": self.selected(self.floating_record(floating))})

    async def put(self, id: str) -> None:
        project, body = self.project(), self.body("floatingip")
        network = self.site.network
        floating = network.floating_ip(project, id)
        fixed = body.get("fixed_ip_address")
        if "port_id" in body:
            port_id = _port_id(body)
            if port_id and fixed and network.port(project, port_id).address != fixed:
                raise NetworkError(
                    400,
                    "BadRequest",
                    f"Bad floatingip request: Port {port_id} does not have fixed ip {fixed}.",
                )
            floating = network.attach(project, id, port_id)
        if "description" in body:
            floating = network.describe(project, id, _description(body))
        await self.site.forwarder.settled()  # who has the answer may connect at once
        self.answer({"floatingip": self.floating_record(floating)})

    async def delete(self, id: str) -> None:
        self.site.network.delete_floating_ip(self.project(), id)
        await self.site.forwarder.settled()
        self.answer(None, 204)


class SecurityGroups(NeutronHandler):
    """GET /v2.0/security-groups"""

    def get(self) -> None:
        self.listing("security_groups", [self.group_record(self.project())])


class OneSecurityGroup(NeutronHandler):
    """GET /v2.0/security-groups/{id}"""

    def get(self, id: str) -> None:
        record = self.group_record(self.project())
        if record["id"] != id:
            raise NetworkError(404, "SecurityGroupNotFound", f"Security group {id} does not exist")
        self.answer({"security_group": self.selected(record)})


class Extensions(NeutronHandler):
    """GET /v2.0/extensions"""

    def get(self) -> None:
        self.token()
        self.answer({"extensions": [_extension(alias, name) for alias, name in EXTENSIONS]})


class OneExtension(NeutronHandler):
    """GET /v2.0/extensions/{alias}"""

    def get(self, alias: str) -> None:
        self.token()
        name = dict(EXTENSIONS).get(alias)
        if name is None:
            raise NetworkError(404, "HTTPNotFound", f"Extension with alias {alias} does not exist")
        self.answer({"extension": _extension(alias, name)})


def _extension(alias: str, name: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": name,
        "description": "",
        "updated": "2013-01-01T00:00:00-00:00",
        "links": [],
    }


def _port_id(body: dict[str, Any]) -> str | None:
    value = body.get("port_id")
    if value is None or isinstance(value, str):
        return value or None
    raise NetworkError(
        400, "HTTPBadRequest", f"Invalid input for port_id. Reason: '{value}' is not a valid UUID."
    )


def _description(body: dict[str, Any]) -> str:
    value = body.get("description") or ""
    if not isinstance(value, str) or len(value) > 255:
        raise NetworkError(
            400, "HTTPBadRequest", "Invalid input for description. Reason: at most 255 characters."
        )
    return value


def _text(value: object) -> str:
    """As a query writes it: booleans in any case, null as nothing."""
    return "" if value is None else str(value).casefold()


def _time(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
