"""A bundle for whoever helps: what is installed, what the site says, and what is known of one container.

Nothing in it is secret: the values of environment variables are left out wherever they turn up, and all text goes
through `sites.redact`. Whatever cannot be asked says so in its own file; the bundle is made in any case.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import platform
import sys
import zipfile
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from chi_edge_lab import __version__, errors
from chi_edge_lab.core import actions, doctor, logs
from chi_edge_lab.core.shown import shown
from chi_edge_lab.sites.redact import redact
from chi_edge_lab.zun.dialect import CAPABILITIES

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client
    from chi_edge_lab.zun.models import Container

LOG_LINES = 500
FILE_BYTES = 1 << 20  # of each file, its last part; a bundle is mailed around
_SHORTEST_SECRET = 6  # characters; shorter values of environment variables ("1", "true") are everywhere
_HIDDEN = "[hidden]"
_PACKAGES = (
    "chi-edge-lab", "jupyter_server", "jupyterlab", "notebook", "ipywidgets", "tornado", "pydantic",
    "python-zunclient", "keystoneauth1", "openstacksdk", "python-chi", "websocket-client",
)  # fmt: skip
_README = """What is in this bundle of chi-edge-lab {version}, made {made} (UTC):

versions.json      packages, Python, system
doctor.json        what `chi-edge-lab doctor` finds
capabilities.json  what the site can do, and why not the rest
container.json     the container as the site shows it
actions.json       what was done to it
log.txt            its last {lines} lines of log
Others were added by the program that made it. Values of environment variables, passwords and tokens were left out as
far as their form tells; look it through before you pass it on.
"""


def bundle(
    connect: Callable[[], Client],
    uuid: str | None = None,
    *,
    site: str | None = None,
    project: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """A zip about a site and, with `uuid`, one of its containers. `extra` are more files: name (without ".json") and
    what is in it. `connect` gives the client; where it raises, the bundle says why.
    """
    made = _Bundle()
    made.add("versions.json", versions)
    made.add("doctor.json", lambda: [vars(one) for one in doctor.examine(site, project)])
    for name, value in (extra or {}).items():
        made.add(f"{name}.json", lambda value=value: value)  # type: ignore[misc]
    try:
        client = connect()
    except errors.EdgeLabError as problem:
        made.text("login.txt", str(problem))
    else:
        made.add("capabilities.json", lambda: capabilities(client))
        if uuid is not None:
            _add_container(made, client, uuid)
    return made.zipped()


def _add_container(made: _Bundle, client: Client, uuid: str) -> None:
    found: list[Container] = []

    def look() -> Any:
        found.append(client.get_container(uuid))
        return shown(found[0]).model_dump(mode="json")

    made.add("container.json", look)
    made.add(
        "actions.json",
        lambda: [one.model_dump(mode="json") for one in actions.history(client, uuid, events=True)],
    )
    made.add("log.txt", lambda: logs.snapshot(client, uuid, tail=LOG_LINES))
    for one in found:
        made.secrets |= {value for value in one.environment.values() if len(value) >= _SHORTEST_SECRET}


def versions() -> dict[str, Any]:
    """What is installed here."""
    packages: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # noqa: PERF203 - that one is not there
            packages[name] = None
    return {
        "chi_edge_lab": __version__,
        "python": sys.version,
        "system": platform.platform(),
        "machine": platform.machine(),
        "packages": packages,
    }


def capabilities(client: Client) -> dict[str, Any]:
    """What the site can do (true), and why not the rest."""
    return {
        "dialect": client.dialect.name,
        "version": client.version,
        "capabilities": {name: client.dialect.reason(name) or True for name in sorted(CAPABILITIES)},
    }


class _Bundle:
    """The files, held until all secrets are known."""

    def __init__(self) -> None:
        self._files: dict[str, Any] = {}
        self.secrets: set[str] = set()

    def add(self, name: str, look: Callable[[], Any]) -> None:
        """A file of what `look` gives: text as it is, anything else as JSON; or of why it could not look."""
        try:
            self._files[name] = look()
        except errors.EdgeLabError as problem:
            self.text(f"{name.partition('.')[0]}.txt", f"This could not be asked: {problem}\n")

    def text(self, name: str, text: str) -> None:
        """A file of text."""
        self._files[name] = text

    def zipped(self) -> bytes:
        """All files, cleaned."""
        made = datetime.now(timezone.utc)
        self.text(
            "README.txt", _README.format(version=__version__, made=f"{made:%Y-%m-%d %H:%M}", lines=LOG_LINES)
        )
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
            for name, value in sorted(self._files.items()):
                clean = self._clean(value)
                text = clean if isinstance(clean, str) else json.dumps(clean, indent=1, default=str)
                data = text.encode("utf-8", "replace")[-FILE_BYTES:]
                info = zipfile.ZipInfo(name, made.timetuple()[:6])
                file.writestr(info, data, zipfile.ZIP_DEFLATED)
        return target.getvalue()

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            for secret in sorted(self.secrets, key=len, reverse=True):
                value = value.replace(secret, _HIDDEN)
            return redact(value)
        if isinstance(value, Mapping):
            return {
                key: _HIDDEN if isinstance(one, str) and one and _names_a_secret(key) else self._clean(one)
                for key, one in value.items()
            }
        return [self._clean(one) for one in value] if isinstance(value, (list, tuple)) else value


def _names_a_secret(key: object) -> bool:
    line = f"{key}=value"
    return redact(line) != line
