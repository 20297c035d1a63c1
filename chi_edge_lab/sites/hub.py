"""JupyterHub: the login's access token, fetched anew from the hub before it expires.

A hub that logs people in with OpenID Connect puts OS_ACCESS_TOKEN into a server's environment when it is
spawned; minutes later that token is worthless. The hub keeps a fresh one in the user's `auth_state`
(GET {JUPYTERHUB_API_URL}/users/{JUPYTERHUB_USER}, with `access_token` and `expires_at`).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from chi_edge_lab import errors

EARLY = 60.0  # seconds before its end from which a token is no longer used
_TIMEOUT = 15.0  # seconds for the hub to answer
_RENEW = "Log out of JupyterHub and in again, then restart the kernel."


@dataclass
class HubToken:
    """The access token of the hub's user. Thread-safe."""

    api_url: str
    user: str
    api_token: str = field(repr=False)
    token: str = field(default="", repr=False)
    expires_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        if self.token:
            self.expires_at = _expiry_of(self.token) or 0.0

    def fresh(self, *, force: bool = False) -> str:
        """A token that is good for another minute at least; `force` asks the hub in any case.

        Raises:
            errors.BadCredentials: the hub has none (its own login has expired).
            errors.Unreachable: the hub does not answer and the token at hand is no longer good.
        """
        with self._lock:
            if not force and self.token and time.time() < self.expires_at - EARLY:
                return self.token
            try:
                self._fetch()
            except errors.Unreachable:
                if not self.token or time.time() >= self.expires_at:
                    raise
            return self.token

    def _fetch(self) -> None:
        import requests

        url = f"{self.api_url.rstrip('/')}/users/{quote(self.user, safe='')}"
        try:
            answer = requests.get(url, headers={"Authorization": f"token {self.api_token}"}, timeout=_TIMEOUT)
        except requests.RequestException as problem:
            raise errors.Unreachable(
                f"The hub does not answer at {self.api_url} ({type(problem).__name__}).",
                hint="Try again in a minute, then restart the server from the hub's control panel.",
            ) from None
        if answer.status_code >= 500:
            raise errors.Unreachable(
                f"The hub answered {answer.status_code}.",
                hint="Try again in a minute.",
                http_status=answer.status_code,
            )
        if answer.status_code != 200:
            raise errors.BadCredentials(
                f"The hub refuses to tell the access token ({answer.status_code}).", hint=_RENEW
            )
        state = _auth_state(answer)
        token = state.get("access_token")
        if not isinstance(token, str) or not token:
            raise errors.BadCredentials(
                "Your login to JupyterHub has expired: it has no access token.", hint=_RENEW
            )
        self.token = token
        self.expires_at = _seconds(state.get("expires_at")) or _expiry_of(token) or time.time() + EARLY + 1
        if self.expires_at <= time.time():
            raise errors.BadCredentials("Your login to JupyterHub has expired.", hint=_RENEW)


def hub_token(environ: Mapping[str, str] | None = None) -> HubToken | None:
    """The hub of this server's environment, None outside of JupyterHub."""
    environ = os.environ if environ is None else environ
    names = ("JUPYTERHUB_API_URL", "JUPYTERHUB_USER", "JUPYTERHUB_API_TOKEN")
    api_url, user, api_token = (environ.get(name, "") for name in names)
    if not (api_url and user and api_token):
        return None
    return HubToken(api_url=api_url, user=user, api_token=api_token, token=environ.get("OS_ACCESS_TOKEN", ""))


def hub_plugin(hub: HubToken, options: Mapping[str, Any]) -> Any:
    """A keystoneauth plugin that logs in to Keystone with the hub's token as it is at that moment."""
    from keystoneauth1 import exceptions as ksa
    from keystoneauth1.identity.v3 import OidcAccessToken

    class HubAccessToken(OidcAccessToken):
        def get_unscoped_auth_ref(self, session: Any) -> Any:
            self.access_token = hub.fresh()
            try:
                return super().get_unscoped_auth_ref(session)
            except ksa.Unauthorized:
                # revoked before its time, or this machine's clock is wrong: one more, from the hub
                self.access_token = hub.fresh(force=True)
                return super().get_unscoped_auth_ref(session)

    return HubAccessToken(access_token=hub.token or "unknown yet", **options)


def _auth_state(answer: Any) -> dict[str, Any]:
    try:
        state = answer.json().get("auth_state")
    except (ValueError, AttributeError):
        raise errors.Unreachable("The hub's answer cannot be read.", hint="Try again in a minute.") from None
    return state if isinstance(state, dict) else {}


def _seconds(value: Any) -> float | None:
    """Seconds since 1970, of a number or a number in a string."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _expiry_of(token: str) -> float | None:
    """`exp` of a JSON web token; None for another kind of token. Its signature is the hub's business."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error):
        return None
    return _seconds(claims.get("exp")) if isinstance(claims, dict) else None
