"""The command line's way to a running site: a login and a few calls, with the standard library alone.

Programs use OpenStack's clients; these calls are for what no cloud has (images of the local catalogue).
"""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from typing_extensions import Self

from chi_edge_lab.local.config import DOMAIN_ID, Account, SiteProblem
from chi_edge_lab.local.runtime import Runtime

SECONDS = 600.0
"""For one call: an image may be gigabytes."""


class SiteClient:
    """A session of one user with a running site. Use it in a `with` statement."""

    def __init__(self, running: Runtime, account: Account) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=SECONDS)
        self._account = account
        self._token = ""

    def __enter__(self) -> Self:
        user = {"id": self._account.user_id, "password": self._account.password}
        scope = {"project": {"id": self._account.project_id, "domain": {"id": DOMAIN_ID}}}
        auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}
        response, _ = self._call("POST", "/identity/v3/auth/tokens?nocatalog", {"auth": auth})
        self._token = response.headers["X-Subject-Token"] or ""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def images(self) -> list[dict[str, Any]]:
        """The catalogue, the default image first. Raises SiteProblem."""
        images: list[dict[str, Any]] = self._call("GET", "/site/images")[1]["images"]
        return images

    def add_image(self, name: str, path: Path) -> dict[str, Any]:
        """Add an image from a tar of its files. Raises SiteProblem."""
        image: dict[str, Any] = self._call("POST", "/site/images", {"name": name, "path": str(path)})[1][
            "image"
        ]
        return image

    def remove_image(self, name: str) -> None:
        """Remove an image. Raises SiteProblem."""
        self._call("DELETE", f"/site/images?name={quote(name, safe='')}")

    def _call(
        self, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[http.client.HTTPResponse, dict[str, Any]]:
        headers = {"Content-Type": "application/json", "X-Auth-Token": self._token}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._connection.getresponse()
            data = json.loads(response.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SiteProblem(f"The local site does not answer as it should: {error}.") from error
        if response.status >= 400:
            raise SiteProblem(
                data.get("error", {}).get("message") or f"The local site answers {response.status}."
            )
        return response, data
