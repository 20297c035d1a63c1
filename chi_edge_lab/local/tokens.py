"""Tokens: signed, self-contained, with an end.

A token is base64url(JSON claims) "." base64url(HMAC-SHA256). Nothing is stored for a token in use, so tokens
outlive a restart of the site (the key is kept); only revocations are stored, until the token would have
expired anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any

MAX_TOKEN = 4096  # characters; ours have about 400, and a header of any length must not cost work


def sign(key: bytes, claims: dict[str, Any]) -> str:
    """A token that says `claims` (JSON-able)."""
    body = _encode(json.dumps(claims, separators=(",", ":"), sort_keys=True).encode())
    return f"{body}.{_encode(_mac(key, body))}"


def read(key: bytes, token: str) -> dict[str, Any] | None:
    """What a token says, None when its signature is not ours. Says nothing about its end."""
    if len(token) > MAX_TOKEN or not token.isascii():
        return None
    body, _, mac = token.partition(".")
    try:
        given = _decode(mac)
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(given, _mac(key, body)):
        return None
    claims = json.loads(_decode(body))  # signed by us, so it is what `sign` wrote
    return claims if isinstance(claims, dict) else None


def _mac(key: bytes, body: str) -> bytes:
    return hmac.new(key, body.encode("ascii"), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
