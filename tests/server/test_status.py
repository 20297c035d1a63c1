"""The extension is there, and answers."""

from __future__ import annotations

from typing import Any

from chi_edge_lab import __version__


async def test_it_says_how_it_does(api: Any) -> None:
    status = await api("GET", "status")
    assert status["version"] == __version__
    assert status["calls"] == 0


async def test_an_unknown_path_is_not_passed_on(api: Any) -> None:
    await api("GET", "v1", "containers", status=404)


async def test_a_site_lists_its_containers(api: Any, site: str, container: str) -> None:
    assert container in [one["uuid"] for one in (await api("GET", "sites", site, "containers"))["containers"]]


async def test_the_document_names_every_path(api: Any) -> None:
    document = await api("GET", "openapi.json")
    assert "/sites/{site}/containers/{uuid}" in document["paths"]
