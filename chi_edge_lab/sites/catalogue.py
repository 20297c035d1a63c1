"""The sites that can be named: the local ones, the clouds of clouds.yaml, CHI@Edge, the OS_* variables."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from chi_edge_lab import errors
from chi_edge_lab.sites.clouds import broken_files, cloud_names, cloud_settings
from chi_edge_lab.sites.hub import hub_token
from chi_edge_lab.sites.local import PROFILES, local_settings
from chi_edge_lab.sites.settings import Settings, from_environment

CHI_EDGE = "CHI@Edge"
CHI_EDGE_URL = "https://chi.edge.chameleoncloud.org:5000/v3"


@dataclass(frozen=True)
class Site:
    """A site one can name in `use_site()`. `auth_url` is "" where it is known only once it runs.

    Of kind "environment" is what the OS_* variables lead to, which has no name for `use_site()`.
    """

    name: str
    kind: Literal["local", "cloud", "chameleon", "environment"]
    source: str
    auth_url: str = ""

    def __repr__(self) -> str:
        return f"<Site {self.name!r}: {self.source}{', ' + self.auth_url if self.auth_url else ''}>"


def list_sites() -> list[Site]:
    """The sites by name: the local ones, CHI@Edge, and the clouds of clouds.yaml. Sends nothing.

    Raises:
        errors.LoginError: clouds.yaml cannot be read.
    """
    sites = [Site(name, "local", f"this machine, {profile} profile") for name, profile in PROFILES.items()]
    clouds = [_cloud(name) for name in cloud_names()]
    if all(site.name != CHI_EDGE for site in clouds):
        sites.append(Site(CHI_EDGE, "chameleon", "Chameleon's edge testbed", CHI_EDGE_URL))
    return sites + clouds


def _cloud(name: str) -> Site:
    try:
        settings = cloud_settings(name)
    except errors.BadCredentials as problem:
        return Site(name, "cloud", f"clouds.yaml, incomplete: {problem.message}")
    return Site(name, "cloud", settings.source, settings.auth_url)


def check_name(name: str) -> str:
    """The site's name as it is written in `list_sites()`, whatever case it was typed in.

    Raises:
        errors.NoSite: there is none of that name; the message lists those there are.
    """
    known = [site.name for site in list_sites()]
    if name in known:
        return name
    folded = {site.lower(): site for site in known}
    if name.lower() in folded:
        return folded[name.lower()]
    near = difflib.get_close_matches(name.lower(), folded, n=1)
    guess = f" Did you mean {folded[near[0]]!r}?" if near else ""
    raise errors.NoSite(
        f"There is no site {name!r}.{guess}",
        hint=" ".join([f"The sites known here are {', '.join(known)}.", *broken_files()]),
    )


def settings_for(name: str) -> Settings:
    """The credentials for a site by name; starts the local site if it is that.

    Raises:
        errors.NoSite: there is none of that name.
        errors.BadCredentials: there are no credentials for it, or they are incomplete.
        errors.LocalSiteError: the local site does not start.
    """
    name = check_name(name)
    if name in PROFILES:
        return local_settings(name)
    if name in cloud_names():
        return cloud_settings(name)
    return _chi_edge()


def settings_of_environment() -> Settings | None:
    """What the OS_* variables say, as a JupyterHub login where they are one; None without credentials."""
    settings = from_environment()
    if settings is not None and settings.auth_type == "v3oidcaccesstoken" and hub_token() is not None:
        settings = replace(settings, kind="hub", source="JupyterHub's login")
    return settings


def settings_found() -> Settings:
    """What is found when nobody has named a site: OS_CLOUD, OS_*, JupyterHub, the one cloud, else local.

    Raises:
        errors.NoSite: clouds.yaml has several clouds and nothing chooses one, or OS_CLOUD names none.
        errors.BadCredentials, errors.LocalSiteError: what was found is no good.
    """
    return _found() or local_settings("local")


def site_found() -> Site:
    """The same as a Site; starts and sends nothing.

    Raises:
        errors.NoSite, errors.BadCredentials: as `settings_found`.
    """
    found = _found()
    if found is None:
        return Site("local", "local", f"this machine, {PROFILES['local']} profile")
    kind: Literal["cloud", "environment"] = "cloud" if found.kind == "cloud" else "environment"
    return Site(found.site, kind, found.source, found.auth_url)


def _found() -> Settings | None:
    """The settings that are found; None means the local site, which is not started for it."""
    chosen = os.environ.get("OS_CLOUD")
    if chosen:
        return cloud_settings(chosen)
    settings = settings_of_environment()
    if settings is not None:
        return settings
    clouds = cloud_names()
    if len(clouds) == 1:
        return cloud_settings(clouds[0])
    if clouds:
        raise errors.NoSite(
            f"clouds.yaml has {len(clouds)} clouds ({', '.join(clouds)}) and nothing says which to use.",
            hint=f'Set OS_CLOUD, or use_site("{clouds[0]}"), or use_site("local").',
        )
    return None


def _chi_edge() -> Settings:
    """CHI@Edge, with a cloud of clouds.yaml that goes there, the hub's login, or the OS_* variables."""
    host = urlsplit(CHI_EDGE_URL).hostname
    for cloud in cloud_names():
        settings = cloud_settings(cloud)
        if urlsplit(settings.auth_url).hostname == host:
            return replace(settings, site=CHI_EDGE)
    found = settings_of_environment()
    if found is None:
        raise errors.BadCredentials(
            f"There are no credentials for {CHI_EDGE} here.",
            hint="Make an application credential in its portal (Identity, Application Credentials) "
            "and put its clouds.yaml here, or source its openrc file.",
        )
    if "applicationcredential" in found.auth_type and urlsplit(found.auth_url).hostname != host:
        raise errors.BadCredentials(
            f"The application credential in {found.source} is for {found.auth_url}, not for {CHI_EDGE}.",
            hint=f"Application credentials are good on one site only: make one on {CHI_EDGE}.",
        )
    auth = dict(found.auth) | {"auth_url": CHI_EDGE_URL}
    return replace(found, site=CHI_EDGE, auth=auth, region_name=CHI_EDGE)
