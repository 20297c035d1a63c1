"""A bundle for whoever is to help: what is known of a site and a container, without secrets."""

from __future__ import annotations

import io
import json
import platform
import sys
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

from chi_edge_lab import __version__
from chi_edge_lab.core import actions, doctor, logs
from chi_edge_lab.errors import EdgeLabError
from chi_edge_lab.sites.redact import redact

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

LOG_LINES = 500
_LONGEST = 2 << 20  # characters of one file of the bundle
_PACKAGES = ("python-zunclient", "keystoneauth1", "openstacksdk", "pydantic", "tornado", "jupyter_server",
             "jupyterlab", "notebook", "ipywidgets")  # fmt: skip


def bundle(
    client: Client, uuid: str | None = None, *, site: str | None = None, project: str | None = None
) -> bytes:
    """A zip of text files: versions, the doctor's findings, what the site can do, and of a container its state
    (environment variables by name only), its history and the end of its log.

    What cannot be had is told in its place. Everything went through `redact`.
    """
    files: dict[str, Callable[[], Any]] = {
        "versions.json": versions,
        "doctor.json": lambda: [asdict(one) for one in doctor.examine(site, project)],
        "site.json": lambda: _site(client),
    }
    if uuid is not None:
        files |= {
            "container.json": lambda: _container(client, uuid),
            "actions.json": lambda: [
                one.model_dump(mode="json") for one in actions.history(client, uuid, events=True)
            ],
            "log.txt": lambda: logs.snapshot(client, uuid, timestamps=True, tail=LOG_LINES),
        }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, get in files.items():
            try:
                value = get()
            except EdgeLabError as error:
                value = f"could not be had: {error}"
            text = value if isinstance(value, str) else json.dumps(value, indent=1, default=str)
            archive.writestr(f"chi-edge-lab/{name}", redact(text[-_LONGEST:]))
    return packed.getvalue()


def versions() -> dict[str, str]:
    """Versions of what takes part."""
    found = {"chi-edge-lab": __version__, "python": sys.version.split()[0], "system": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # noqa: PERF203 - one that is absent must not hide the next
            found[name] = "not installed"
    return found


def _site(client: Client) -> dict[str, Any]:
    from chi_edge_lab.zun.dialect import CAPABILITIES

    return {
        "site": client.login.site,
        "credentials": client.login.source,
        "api_version": client.version,
        "dialect": client.dialect.name,
        "lacks": {
            name: client.dialect.reason(name) for name in sorted(CAPABILITIES) if client.dialect.reason(name)
        },
    }


def _container(client: Client, uuid: str) -> dict[str, Any]:
    state = client.get_container(uuid).model_dump(mode="json")
    state["environment"] = dict.fromkeys(state.get("environment") or {}, "[hidden]")
    return state
