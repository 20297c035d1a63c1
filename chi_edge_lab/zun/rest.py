"""Requests to the other services of a site (Neutron, Blazar), with the errors and time limits of Zun's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keystoneauth1 import exceptions as ksa

from chi_edge_lab.sites.session import Login
from chi_edge_lab.zun.errors import Answer, to_error, unreadable

_TIMEOUT = (10.0, 60.0)  # seconds to connect, seconds without a byte


class Service:
    """One service of a login's site, found by its type in the catalogue."""

    def __init__(self, login: Login, service_type: str, version_path: str) -> None:
        self.login = login
        base = login.endpoint(service_type)
        # some catalogues name the version in the address, some leave it out
        self._base = base if base.endswith(version_path) or not version_path else base + version_path

    def call(
        self, method: str, path: str, doing: str, *, query: Mapping[str, Any] | None = None, body: Any = None
    ) -> dict[str, Any]:
        """One request; its JSON object ({} for an empty body). `doing` completes "Could not ...".

        Raises:
            errors.SiteError: the service refuses, fails or is silent.
        """
        parameters = {key: value for key, value in (query or {}).items() if value is not None}
        try:
            response = self.login.session.request(
                self._base + path,
                method,
                params=parameters,
                json=body,
                raise_exc=False,
                timeout=_TIMEOUT,
                headers={"Accept": "application/json"},
                connect_retries=0,
            )
        except (ksa.ClientException, OSError) as problem:
            raise to_error(problem, doing) from None
        answer = Answer(response.status_code, response.headers, response.content)
        if answer.status >= 300:
            raise to_error(answer, doing)
        if not answer.body.strip():
            return {}
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise unreadable(answer, doing) from None
        if not isinstance(document, dict):
            raise unreadable(answer, doing)
        return document
