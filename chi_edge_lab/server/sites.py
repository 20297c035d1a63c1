"""The sites and projects as the server sees them: logins, and whose a container is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict

from chi_edge_lab import errors, sites
from chi_edge_lab.zun import Client, client_for

DEFAULT = "default"  # in a route: the site in use (chosen, or found as DESIGN says)
_KNOWN_CONTAINERS = 20_000  # uuids whose project is remembered; it never changes


class SiteClients:
    """Clients by site and project name. Blocking and thread-safe: call it from a worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Client, OrderedDict[str, None]] = weakref.WeakKeyDictionary()

    def client(self, site: str, project: str | None) -> Client:
        """The client for a site ("default": the one in use) and project (None: the credentials' own).

        Raises:
            errors.LoginError, errors.SiteError: as `sites.login` and `zun.client_for`.
        """
        return client_for(sites.login(None if site == DEFAULT else site, project or None))

    def owning(self, client: Client, uuid: str) -> None:
        """Pass if the container is in the client's project; asked of the site once for each container.

        Raises:
            errors.NotFound: it is not, or there is none. A site's administrator may see more; this server shows one
            project at a time.
        """
        with self._lock:
            known = self._known.setdefault(client, OrderedDict())
            if uuid in known:
                known.move_to_end(uuid)
                return
        container = client.get_container(uuid)
        if container.uuid != uuid or container.project_id not in {None, client.login.project_id}:
            raise errors.NotFound(f"There is no container {uuid} in this project.", http_status=404)
        self.remember(client, uuid)

    def remember(self, client: Client, *uuids: str) -> None:
        """Containers that are known to be in the client's project."""
        with self._lock:
            known = self._known.setdefault(client, OrderedDict())
            for uuid in uuids:
                known[uuid] = None
                known.move_to_end(uuid)
            while len(known) > _KNOWN_CONTAINERS:
                known.popitem(last=False)
