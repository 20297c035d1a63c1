"""The sites and projects as the server sees them: logins, and whose a container is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel

from chi_edge_lab import errors, sites
from chi_edge_lab.server.failures import Problem, problem_of
from chi_edge_lab.sites import Site
from chi_edge_lab.sites.catalogue import check_name
from chi_edge_lab.zun import Client, Container, client_for

DEFAULT = "default"  # in a route: the site in use (chosen, or found as DESIGN says)
_KNOWN_CONTAINERS = 20_000  # uuids whose project is remembered; it never changes
_KNOWN_LOGINS = 200  # sites and projects whose last login is remembered


class LoginState(BaseModel):
    """How the last login to a site and project went. `user` and `project` are names, None where not known."""

    state: Literal["not-tried", "ok", "failed"] = "not-tried"
    user: str | None = None
    project: str | None = None
    problem: Problem | None = None


class SiteClients:
    """Clients by site and project name. Blocking and thread-safe: call it from a worker.

    `allowed` are the names of the sites that may be used; empty means every one that is known.
    """

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[Client, OrderedDict[str, None]] = weakref.WeakKeyDictionary()
        self._logins: OrderedDict[tuple[str, str], LoginState] = OrderedDict()

    # -- which sites there are ------------------------------------------------------------------

    def sites(self) -> list[Site]:
        """The sites that may be used, by name. Sends nothing.

        Raises:
            errors.LoginError: clouds.yaml cannot be read.
        """
        return [site for site in sites.list_sites() if self.is_allowed(site.name)]

    def in_use(self) -> tuple[Site, str | None]:
        """The site and project that "default" means. Sends nothing.

        Raises:
            errors.NoSite, errors.BadCredentials: nothing usable is chosen or found, or it may not be used.
        """
        site, project = sites.in_use()
        self._check_allowed(site.name)
        return site, project

    def is_allowed(self, name: str) -> bool:
        """Whether a site may be used through this server."""
        return not self._allowed or name.lower() in self._allowed

    def choose(self, site: str, project: str | None) -> None:
        """Make a site and project what "default" means, for all who use this server.

        Raises:
            errors.NoSite: there is none of that name, or it may not be used.
        """
        self._check_allowed(site)
        sites.use_site(site)
        sites.use_project(project)
        self._forget_default()

    def choose_none(self) -> None:
        """Let "default" be what is found."""
        sites.use_site(None)
        sites.use_project(None)
        self._forget_default()

    def _forget_default(self) -> None:
        with self._lock:
            for key in [key for key in self._logins if key[0] == DEFAULT]:
                del self._logins[key]

    def check(self, site: str) -> None:
        """Pass if the site of a route is known and may be used. Sends nothing.

        Raises:
            errors.NoSite, errors.BadCredentials: it is not.
        """
        name = self.in_use()[0].name if site == DEFAULT else site
        self._check_allowed(name)
        if site != DEFAULT:
            check_name(name)

    def _check_allowed(self, name: str) -> None:
        if not self.is_allowed(name):
            raise errors.NoSite(
                f"The site {name!r} cannot be used on this server.",
                hint="c.EdgeLabLimits.allowed_sites names those that can.",
            )

    # -- logins ---------------------------------------------------------------------------------

    def client(self, site: str, project: str | None, *, again: bool = False) -> Client:
        """The client for a site ("default": the one in use) and project (None: the credentials' own).

        `again` logs in anew, also where the last login still looks good.

        Raises:
            errors.LoginError, errors.SiteError: as `sites.login` and `zun.client_for`.
        """
        try:
            if self._allowed:
                self.check(site)
            login = sites.login(None if site == DEFAULT else site, project or None)
            if again:
                login.relogin()
            client = client_for(login)
        except errors.EdgeLabError as problem:
            if not isinstance(problem, errors.NoSite):
                self._note(site, project, LoginState(state="failed", problem=problem_of(problem)))
            raise
        if again or self.login_state(site, project).state != "ok":
            known = LoginState(state="ok", user=login.user_name, project=login.project_name)
            self._note(site, project, known)
        return client

    def login_state(self, site: str, project: str | None = None) -> LoginState:
        """How the last login went; sends nothing."""
        with self._lock:
            return self._logins.get((site.lower(), project or ""), LoginState())

    def _note(self, site: str, project: str | None, state: LoginState) -> None:
        with self._lock:
            self._logins[site.lower(), project or ""] = state
            while len(self._logins) > _KNOWN_LOGINS:
                self._logins.popitem(last=False)

    # -- whose a container is -------------------------------------------------------------------

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

    def own(self, client: Client, containers: list[Container]) -> list[Container]:
        """Those of a listing that are in the client's project (all of them, but for a site that tells more)."""
        project = client.login.project_id
        mine = [one for one in containers if one.project_id in {None, project}]
        self.remember(client, *(one.uuid for one in mine))
        return mine

    def remember(self, client: Client, *uuids: str) -> None:
        """Containers that are known to be in the client's project."""
        with self._lock:
            known = self._known.setdefault(client, OrderedDict())
            for uuid in uuids:
                known[uuid] = None
                known.move_to_end(uuid)
            while len(known) > _KNOWN_CONTAINERS:
                known.popitem(last=False)
