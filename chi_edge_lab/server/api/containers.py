"""Containers: list, get."""

from __future__ import annotations

from pydantic import BaseModel

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, SITE, operation
from chi_edge_lab.zun import Container


class ContainerList(BaseModel):
    """The containers of a project."""

    containers: list[Container]


@operation("GET", SITE + "/containers", "read")
def list_containers(call: Call) -> ContainerList:
    """The project's containers."""
    client = call.client()
    containers = client.list_containers()
    call.services.sites.remember(client, *(one.uuid for one in containers))
    return ContainerList(containers=containers)


@operation("GET", CONTAINER, "read")
def get_container(call: Call) -> Container:
    """One container as the site shows it."""
    return call.container().get_container(call.uuid)
