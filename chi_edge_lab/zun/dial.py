"""Connecting to a site's terminal proxy, with the TLS settings of the login."""

from __future__ import annotations

import os
import socket as sockets
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi
import websocket

from chi_edge_lab import errors
from chi_edge_lab.zun.endings import why
from chi_edge_lab.zun.socket import Socket, WebSocket

_CONNECT_SECONDS = 15.0
_STALL_SECONDS = 60.0  # within one frame, either way
_FIREWALL = "A firewall may keep its port closed here; commands and files do not need it."


def connect(url: str, session: Any, **options: Any) -> Socket:
    """Open the websocket at `url`, with the TLS settings of a keystoneauth session.

    Raises:
        Dropped: the proxy hung up at once.
        errors.Unreachable: it cannot be reached.
        errors.ServerError: it refuses, or `url` is not a websocket's.
    """
    label = options["label"]
    where = address_of(url, label)
    try:
        connection = websocket.create_connection(
            url,
            timeout=_CONNECT_SECONDS,
            class_=WebSocket,
            subprotocols=["binary"],
            suppress_origin=True,
            enable_multithread=True,
            skip_utf8_validation=True,
            redirect_limit=0,
            sslopt=tls_options(session),
        )
    except websocket.WebSocketBadStatusException as problem:
        status = int(getattr(problem, "status_code", 0) or 0)
        raise errors.ServerError(
            f"The site's terminal proxy ({where}) does not open {label}: it answered {status or 'nonsense'}.",
            hint="A gateway between may not pass websockets on.",
            http_status=status or None,
        ) from None
    except (OSError, websocket.WebSocketException) as problem:
        raise errors.Unreachable(
            f"The site's terminal proxy ({where}) cannot be reached: {why(problem)}.",
            hint=_FIREWALL,
        ) from None
    connection.settimeout(_STALL_SECONDS)
    socket = Socket(connection, **options)
    socket.start()
    return socket


def address_of(url: str, label: str) -> str:
    """scheme://host:port of a terminal's URL, which is all of it that may be shown.

    Raises:
        errors.ServerError: it is not a websocket's.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise errors.ServerError(f"The site gave no usable address for the terminal of {label}.")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def reach(where: str) -> None:
    """Connect to a terminal proxy and hang up again.

    Raises:
        errors.Unreachable: it cannot be reached.
    """
    parts = urlsplit(where)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        sockets.create_connection((parts.hostname or "", port), _CONNECT_SECONDS).close()
    except OSError as problem:
        raise errors.Unreachable(
            f"The site's terminal proxy ({where}) cannot be reached: {why(problem)}.", hint=_FIREWALL
        ) from None


def tls_options(session: Any) -> dict[str, Any]:
    """websocket-client's TLS options for what requests is told by a keystoneauth session."""
    verify = session.verify
    if verify is False:
        return {"cert_reqs": ssl.CERT_NONE, "check_hostname": False}
    authorities = verify if isinstance(verify, str) else None
    authorities = authorities or os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    authorities = authorities or certifi.where()
    options: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED}
    options["ca_cert_path" if Path(authorities).is_dir() else "ca_certs"] = authorities
    if session.cert:
        certificate, key = (session.cert, None) if isinstance(session.cert, str) else session.cert
        options |= {"certfile": certificate, "keyfile": key}
    return options
