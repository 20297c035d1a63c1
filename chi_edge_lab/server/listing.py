"""The list of a project's containers as JSON, made anew only of those that have changed.

Checking and encoding a container takes longer than the site takes to tell of it, and from one list to the next hardly
any has changed. What was made of each is kept with what it was made of; every list is asked of the site all the same.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

from chi_edge_lab.core.shown import shown
from chi_edge_lab.server.encoding import encode
from chi_edge_lab.server.sites import SiteClients
from chi_edge_lab.zun import Client, Container

_KEPT = 2000  # containers of one project; about 5 kB each


class _Made(NamedTuple):
    item: Mapping[str, Any]  # as the site told it
    data: bytes


class Listings:
    """Lists of containers. Blocking and thread-safe: call it from a worker."""

    def __init__(self, sites: SiteClients) -> None:
        self._sites = sites
        self._lock = threading.Lock()
        self._made: weakref.WeakKeyDictionary[Client, dict[str, _Made]] = weakref.WeakKeyDictionary()

    def encoded(self, client: Client, **filters: str) -> bytes:
        """The containers of the client's project as `{"containers": [...]}`, without what is put in them in confidence.

        `filters` are Zun's. Raises the client's errors.
        """
        project = client.login.project_id
        with self._lock:
            known = self._made.get(client, {})
        made: dict[str, _Made] = {}
        names: dict[str, str] = {}
        parts: list[bytes] = []
        for item in client.container_items(**filters):
            if item.get("project_id") not in {None, project}:
                continue  # a site may tell its administrators of everybody's
            uuid = str(item.get("uuid") or "")
            before = known.get(uuid)
            if before is not None and before.item == item:
                one = before
            else:
                one = _Made(item, encode(shown(Container.model_validate(item))))
            names[uuid] = str(item.get("name") or "")
            parts.append(one.data)
            if len(made) < _KEPT:
                made[uuid] = one
        self._sites.remember_names(client, names)
        if not filters:
            with self._lock:
                self._made[client] = made
        return b'{"containers":[' + b",".join(parts) + b"]}"
