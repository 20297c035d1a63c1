"""The network of the containers: one for all sites, by default without a way out of this machine."""

from __future__ import annotations

from chi_edge_lab.local.engines.docker.daemon import Daemon

NAME = "chi-edge-lab"
LABEL = "chi-edge-lab.network"


def find_or_make_network(daemon: Daemon, *, outbound: bool) -> str:
    """Name or id for a container's network mode.

    Docker's default network leads outside. The closed one is ours: made once, internal, shared, because a
    daemon has room for some thirty networks only and a site may be short-lived.
    """
    if outbound or daemon.is_podman:  # nobody reaches a container in Podman's closed networks, nor do we
        return "bridge"
    found = _find(daemon)
    if not found:
        with daemon.errors():
            daemon.client.create_network(NAME, driver="bridge", internal=True, labels={LABEL: "closed"})
        found = _find(daemon)
    # two processes may both have made one; all then agree on the first
    return found[0]


def _find(daemon: Daemon) -> list[str]:
    with daemon.errors():
        networks = daemon.client.networks(filters={"label": [f"{LABEL}=closed"]})
    return sorted(str(network["Id"]) for network in networks)
