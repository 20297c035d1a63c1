"""The bundle for whoever is to help."""

from __future__ import annotations

from chi_edge_lab.core import diagnostics
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, SITE, Payload, operation
from chi_edge_lab.server.sites import DEFAULT

_ZIP = "application/zip"


@operation("GET", SITE + "/diagnostics", "read", reply_type=_ZIP)
def site_diagnostics(call: Call) -> Payload:
    """A zip of what is known of the site, without secrets."""
    site = None if call.site == DEFAULT else call.site
    data = diagnostics.bundle(call.client(), site=site, project=call.project)
    return Payload(data, _ZIP, "chi-edge-lab-site.zip")


@operation("GET", CONTAINER + "/diagnostics", "read", reply_type=_ZIP)
def container_diagnostics(call: Call) -> Payload:
    """A zip of what is known of a container and its site, without secrets."""
    site = None if call.site == DEFAULT else call.site
    data = diagnostics.bundle(call.container(), call.uuid, site=site, project=call.project)
    return Payload(data, _ZIP, f"chi-edge-lab-{call.uuid}.zip")
