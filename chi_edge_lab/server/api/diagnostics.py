"""A bundle for whoever helps, without secrets."""

from __future__ import annotations

from typing import Any

from chi_edge_lab.core import diagnostics
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, SITE, Payload, operation
from chi_edge_lab.server.sites import DEFAULT


@operation("GET", SITE + "/diagnostics", "read", reply_type="application/zip")
def get_site_diagnostics(call: Call) -> Payload:
    """A zip about the server and a site, also where the site does not answer."""
    call.services.sites.check(call.site)
    return _bundle(call, "site")


@operation("GET", CONTAINER + "/diagnostics", "read", reply_type="application/zip")
def get_container_diagnostics(call: Call) -> Payload:
    """A zip about the server, a site and one of its containers."""
    call.container()
    return _bundle(call, call.uuid[:8])


def _bundle(call: Call, what: str) -> Payload:
    data = diagnostics.bundle(
        call.client, call.uuid or None, site=None if call.site == DEFAULT else call.site, project=call.project,
        extra={"server-limits": _limits(call), "server": _server(call)},
    )  # fmt: skip
    return Payload(data, "application/zip", f"chi-edge-lab-{what}.zip")


def _limits(call: Call) -> dict[str, Any]:
    limits = call.services.limits
    return {name: getattr(limits, name) for name in sorted(limits.trait_names(config=True))}


def _server(call: Call) -> dict[str, Any]:
    services = call.services
    return {"calls": services.calls.running, "feeds": len(services.hub), "execs": len(services.execs)}
