"""python-chi's session, where a notebook has imported `chi` and chosen its site with it."""

from __future__ import annotations

import os
import sys
from typing import Any

from chi_edge_lab import errors
from chi_edge_lab.sites.session import Login


def chosen_with_chi() -> Any | None:
    """chi's context module if it is loaded and says more than the OS_* variables do, else None.

    chi reads those variables when it is imported; only what a notebook told it itself (`chi.use_site`,
    `chi.set`) or a session that it has opened makes it a source of its own.
    """
    context = sys.modules.get("chi.context")
    if context is None:
        return None
    if getattr(context, "_session", None) is not None:
        return context
    auth_url = _told(context, "auth_url")
    return context if auth_url and auth_url != os.environ.get("OS_AUTH_URL") else None


def login_of_chi(context: Any, project: str | None) -> Login:
    """A Login over chi's own session.

    Raises:
        errors.BadCredentials: chi has no usable session.
    """
    try:
        adapter = context.session()
        session = adapter.session
    except Exception as problem:  # noqa: BLE001 - oslo.config's, keystoneauth's and chi's own errors
        raise errors.BadCredentials(
            f"python-chi has no session ({type(problem).__name__}).",
            hint='Choose a site: chi.use_site("CHI@Edge"), or chi_edge_lab.use_site(...).',
        ) from None
    auth_url = str(getattr(session.auth, "auth_url", "") or "")
    region = adapter.region_name or _told(context, "region_name")
    if project:
        session = _rescoped(session, auth_url, project)
    return Login(
        site=region or "python-chi",
        kind="python-chi",
        source="python-chi's session",
        session=session,
        region_name=region,
        interface=adapter.interface or "public",
        auth_url=auth_url,
    )


def _rescoped(session: Any, auth_url: str, project: str) -> Any:
    from keystoneauth1.identity.v3 import Token

    from chi_edge_lab.sites.session import TIMEOUT, EdgeSession

    domain = os.environ.get("OS_PROJECT_DOMAIN_NAME", "chameleon")
    plugin = Token(auth_url, session.get_token(), project_name=project, project_domain_name=domain)
    return EdgeSession(auth=plugin, verify=session.verify, cert=session.cert, timeout=TIMEOUT)


def _told(context: Any, key: str) -> str | None:
    try:
        value = context.get(key)
    except Exception:  # noqa: BLE001 - oslo.config raises whatever it likes for an option not registered
        return None
    return str(value) if value else None
