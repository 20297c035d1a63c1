"""Which site and project are in use in this process, and the logins to them."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chi_edge_lab.sites.catalogue import Site
    from chi_edge_lab.sites.session import Login

_lock = threading.RLock()
_site: str | None = None
_project: str | None = None
_logins: dict[Any, Login] = {}
_openings: dict[Any, threading.Lock] = {}


def use_site(name: str | None) -> None:
    """Make a site the one that everything in this process uses from now on. None: look for one again.

    Names: "local" (this machine, behaves as CHI@Edge does), "local-zun" (as upstream Zun does),
    "CHI@Edge", and the clouds of clouds.yaml. Nothing is sent before the site is needed.

    Raises:
        errors.NoSite: there is none of that name; the message lists those there are.
    """
    global _site  # noqa: PLW0603 - one choice per process, as in python-chi
    if name is not None:
        from chi_edge_lab.sites.catalogue import check_name

        name = check_name(name)
    with _lock:
        _site = name
        # a site named anew is looked at anew: clouds.yaml may have changed, the local site may have stopped
        for key in [key for key in _logins if key[0] in (name, None)]:
            del _logins[key]


def use_project(name: str | None) -> None:
    """Make a project (its name) the one that everything uses from now on. None: the credentials' own.

    It is one of the site in use: a login to another site by name does not take it.
    """
    global _project  # noqa: PLW0603
    with _lock:
        _project = name or None


def in_use() -> tuple[Site, str | None]:
    """The site and project (None: the credentials' own) that `login()` would log in to; sends nothing.

    Raises:
        errors.NoSite, errors.BadCredentials: nothing usable is chosen or found.
    """
    from chi_edge_lab.sites import catalogue, pychi

    with _lock:
        name, project = _site, _project
    if name is not None:
        return next(
            site for site in catalogue.list_sites() if site.name == catalogue.check_name(name)
        ), project
    if pychi.chosen_with_chi() is not None:
        return catalogue.Site("python-chi", "environment", "python-chi's session"), project
    return catalogue.site_found(), project


def current() -> Login:
    """The login to the site and project in use; raises as `login` does."""
    return login()


def login(site: str | None = None, project: str | None = None) -> Login:
    """Log in to `site` and `project`, or to those in use. The same login comes back while nothing changes.

    A site is looked for in this order: the argument, `use_site()`, a session that python-chi was told to
    open, OS_CLOUD, the OS_* variables (JupyterHub's login among them), the one cloud of clouds.yaml, the
    local site.

    Raises:
        errors.NoSite: no such site.
        errors.BadCredentials: the site refuses the credentials, or they are incomplete.
        errors.NoContainerService: the site has no container service, or not in this region.
        errors.Unreachable: the site does not answer.
        errors.LocalSiteError: the local site does not start.
    """
    with _lock:
        # a project that was chosen belongs to the site chosen with it
        elsewhere = site is not None and _site is not None and site.lower() != _site.lower()
        project = project or (None if elsewhere else _project)
        site = site or _site
        key = _key(site, project)
        known = _logins.get(key)
        if known is not None:
            return known
        opening = _openings.setdefault(key, threading.Lock())
    with opening:
        with _lock:
            known = _logins.get(key)
        if known is not None:
            return known
        fresh = _open(site, project)
        fresh.check()
        with _lock:
            _logins[key] = fresh
        return fresh


def forget_logins() -> None:
    """Log in anew at the next call, also where the credentials look the same (a changed clouds.yaml)."""
    with _lock:
        _logins.clear()
        _openings.clear()


def _open(site: str | None, project: str | None) -> Login:
    from chi_edge_lab.sites import catalogue, pychi
    from chi_edge_lab.sites.session import open_login

    if site is None:
        context = pychi.chosen_with_chi()
        if context is not None:
            return pychi.login_of_chi(context, project)
        settings = catalogue.settings_found()
    else:
        settings = catalogue.settings_for(site)
    return open_login(settings.for_project(project))


def _key(site: str | None, project: str | None) -> Any:
    """What a login depends on, without any of its secrets in clear."""
    import sys

    relevant = sorted(
        (name, value)
        for name, value in os.environ.items()
        if name.startswith(("OS_", "JUPYTERHUB_")) or name == "CHI_EDGE_LAB_HOME"
    )
    context = sys.modules.get("chi.context")
    return (
        site,
        project,
        hashlib.sha256(repr(relevant).encode()).hexdigest(),
        None if site else id(getattr(context, "_session", None)) if context else None,
    )
