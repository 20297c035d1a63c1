"""The API version to speak with a site and its driver's dialect: asked once per site, then remembered."""

from __future__ import annotations

import json
import os
import re
import threading
from typing import Any
from urllib.parse import urlsplit

from keystoneauth1 import exceptions as ksa

from chi_edge_lab import errors
from chi_edge_lab.sites.session import Login
from chi_edge_lab.zun.dialect import DOCKER, K8S, Dialect, dialect_named
from chi_edge_lab.zun.errors import Answer, to_error, unreadable

Version = tuple[int, int]
NEWEST: Version = (1, 41)  # the newest we know; Chameleon's fork has it, upstream ends at 1.40
DIALECT_VARIABLE = "CHI_EDGE_LAB_DIALECT"
_TIMEOUT = (10.0, 30.0)  # seconds to connect, seconds without a byte

_lock = threading.Lock()
_versions: dict[str, Version] = {}
_dialects: dict[str, Dialect] = {}
_asking: dict[str, threading.Lock] = {}


def spelled(version: Version) -> str:
    """`1.40` for (1, 40)."""
    return f"{version[0]}.{version[1]}"


def parsed(text: str) -> Version | None:
    """(1, 40) for `1.40`, also in `container 1.40`; None for anything else."""
    found = re.search(r"\b(\d+)\.(\d+)\s*$", text)
    return (int(found.group(1)), int(found.group(2))) if found else None


def version_of(login: Login) -> Version:
    """The newest version that both the site and we know.

    A version above the site's maximum would be answered with a bare 500 by upstream, hence no guessing.

    Raises:
        errors.ServerError: the site has no readable version document.
        errors.Unreachable, errors.LoginError: it does not answer; the login does not work.
    """
    endpoint = login.endpoint()
    with _asking_about(endpoint):
        if endpoint not in _versions:
            _versions[endpoint] = min(_maximum(login, endpoint), NEWEST)
        return _versions[endpoint]


def dialect_of(login: Login, version: Version) -> Dialect:
    """The dialect: what CHI_EDGE_LAB_DIALECT says, else what the site shows when asked for device profiles.

    Only Chameleon's fork has /v1/drivers/k8s/device_profiles (200, perhaps with a null body).

    Raises:
        errors.BadInput: CHI_EDGE_LAB_DIALECT is neither k8s nor docker.
        errors.SiteError: the site is too ill to tell.
    """
    configured = os.environ.get(DIALECT_VARIABLE)
    if configured:
        return dialect_named(configured)
    endpoint = login.endpoint()
    with _asking_about(endpoint):
        if endpoint not in _dialects:
            _dialects[endpoint] = _probe(login, endpoint, version)
        return _dialects[endpoint]


def forget(login: Login) -> None:
    """Ask the site again next time.

    Raises:
        errors.LoginError, errors.Unreachable: the login does not work.
    """
    endpoint = login.endpoint()
    with _lock:
        _versions.pop(endpoint, None)
        _dialects.pop(endpoint, None)


def _asking_about(endpoint: str) -> threading.Lock:
    with _lock:
        return _asking.setdefault(endpoint, threading.Lock())


def _maximum(login: Login, endpoint: str) -> Version:
    doing = f"ask {login.site} for its API version"
    root = re.sub(r"/v1$", "", endpoint)
    # a gateway may serve the API only below its path: there /v1 names the versions in its headers
    answer = _get(login, root + "/", doing, authenticated=False)
    found = _in_document(answer.body) if answer.status in (200, 300) else None
    if found is None:
        below = _get(login, endpoint + "/", doing, headers={"OpenStack-API-Version": "container 1.1"})
        found = parsed(below.headers.get("openstack-api-maximum-version", ""))
    if found is None:
        if answer.status >= 400:
            raise to_error(answer, doing)
        raise unreadable(answer, doing)
    if found[0] != 1:
        raise errors.ServerError(
            f"{login.site} speaks version {spelled(found)} of Zun's API, which this package does not know.",
            hint="Look for a newer chi-edge-lab.",
        )
    return found


def _in_document(body: bytes) -> Version | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    listed = document.get("versions") if isinstance(document, dict) else None
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and entry.get("id") == "v1":
            # a Zun from before microversions names none
            return parsed(str(entry.get("max_version") or "1.1"))
    return None


def _probe(login: Login, endpoint: str, version: Version) -> Dialect:
    doing = f"find out what drives {login.site}"
    answer = _get(
        login,
        endpoint + "/drivers/k8s/device_profiles",
        doing,
        headers={"OpenStack-API-Version": f"container {spelled(version)}"},
    )
    if answer.status in (200, 403):  # 403: the path is there, policy keeps it
        return K8S
    if answer.status in (400, 404, 405, 406):
        return DOCKER
    raise to_error(answer, doing)


def _get(login: Login, url: str, doing: str, **options: Any) -> Answer:
    if not urlsplit(url).netloc:
        raise errors.ServerError(f"Could not {doing}: its catalogue names no usable address.")
    try:
        response = login.session.get(url, raise_exc=False, timeout=_TIMEOUT, connect_retries=0, **options)
    except (ksa.ClientException, OSError) as problem:
        raise to_error(problem, doing) from None
    return Answer(response.status_code, response.headers, response.content)
