"""Where a cloud is and how one logs in to it.

`login()` and `current()` give a `Login`: a keystoneauth session with a site's name, region and project.
Importing this costs next to nothing; keystoneauth and openstacksdk are loaded at the first login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chi_edge_lab.sites.selection import current, forget_logins, in_use, login, use_project, use_site

if TYPE_CHECKING:
    from chi_edge_lab.sites.catalogue import Site as Site
    from chi_edge_lab.sites.session import Login as Login

__all__ = [
    "Login", "Site", "current", "forget_logins", "in_use", "list_sites", "login", "use_project", "use_site",
]  # fmt: skip


def list_sites() -> list[Site]:
    """The sites that `use_site` takes: the local ones, CHI@Edge, and the clouds of clouds.yaml.

    Raises:
        errors.LoginError: clouds.yaml cannot be read.
    """
    from chi_edge_lab.sites import catalogue

    return catalogue.list_sites()


def __getattr__(name: str) -> Any:
    if name == "Login":
        from chi_edge_lab.sites.session import Login

        return Login
    if name == "Site":
        from chi_edge_lab.sites.catalogue import Site

        return Site
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
