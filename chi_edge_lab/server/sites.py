"""The sites and projects as the server sees them: logins and their state, and whose a container is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass

from chi_edge_lab import errors, sites
from chi_edge_lab.zun import Client, Container, client_for

DEFAULT = "default"  # in a route: the site in use (chosen, or found as DESIGN says)
_KNOWN_CONTAINERS = 20_000  # uuids whose project is remembered; it never changes


@dataclass(frozen=True)
class LoginState:
    """How the last login to a site went. `error` is None where it works."""

    site: str
    user: str | None = None
    project: str | None = None
    error: errors.EdgeLabError | None = None


class SiteClients:
    """Clients by site and project name. Blocking and thread-safe: call it from a worker."""

    def __init__(self, allowed: list[str] | None = None) -> None:
        self._allowed = frozenset(allowed or ())
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Client, OrderedDict[str, str]] = weakref.WeakKeyDictionary()
        self._states: dict[str, LoginState] = {}
        self.chosen: tuple[str, str | None] | None = None  # site and project of `choose`

    def choose(self, site: str | None, project: str | None) -> None:
        """Make a site and project those that `default` means (None: those that are found).

        Raises:
            errors.NoSite: no such site, or not one that this server may use.
        """
        if site is not None:
            self._check(site)
        sites.use_site(site)
        sites.use_project(project)
        with self._lock:
            self.chosen = (site, project) if site else None
            self._states.pop(DEFAULT, None)

    def client(self, site: str, project: str | None) -> Client:
        """The client for a site ("default": the one in use) and project (None: the credentials' own).

        Raises:
            errors.NoSite: no such site, or not one that this server may use.
            errors.LoginError, errors.SiteError: as `sites.login` and `zun.client_for`.
        """
        try:
            self._check(site)
            login = sites.login(None if site == DEFAULT else site, project or None)
            self._check(login.site)
            client = client_for(login)
        except errors.EdgeLabError as error:
            self._remember_state(site, LoginState(site, error=error))
            raise
        if site not in self._states or self._states[site].error is not None:
            self._remember_state(site, LoginState(login.site, login.user_name, login.project_name))
        return client

    def state(self, site: str) -> LoginState | None:
        """How the last login to the site went; None where none was tried."""
        return self._states.get(site)

    def _remember_state(self, site: str, state: LoginState) -> None:
        with self._lock:
            if len(self._states) < 1000:
                self._states[site] = state

    def _check(self, site: str) -> None:
        if self._allowed and site != DEFAULT and site not in self._allowed:
            raise errors.NoSite(
                f"This server does not use the site {site!r}.",
                hint=f"It uses {', '.join(sorted(self._allowed))}.",
            )

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
        self.remember(client, container)

    def remember(self, client: Client, *containers: Container) -> None:
        """Containers that are known to be in the client's project."""
        with self._lock:
            known = self._known.setdefault(client, OrderedDict())
            for one in containers:
                known[one.uuid] = one.name or ""
                known.move_to_end(one.uuid)
            while len(known) > _KNOWN_CONTAINERS:
                known.popitem(last=False)

    def name_of(self, uuid: str) -> str:
        """The name that a container had when it was last seen; "" where it was not."""
        with self._lock:
            return next((known[uuid] for known in self._known.values() if uuid in known), "")
