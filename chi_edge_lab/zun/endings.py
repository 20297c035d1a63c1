"""Why a websocket ended or could not be opened, in words."""

from __future__ import annotations

import socket as sockets
import ssl

import websocket

ENDED = (1000).to_bytes(2, "big")  # the close frame of a process that has ended

_TEXT = {
    1000: "the process has ended",
    1001: "the site is going away",
    1003: "the site refused a text frame",
    1009: "a frame was too large for the site",
    1011: "the site's proxy failed",
    1012: "the site's proxy restarts",
}


def close_words(data: bytes) -> str:
    """What a close frame says."""
    if len(data) < 2:
        return "the site closed the connection"
    code = int.from_bytes(data[:2], "big")
    return _TEXT.get(code) or f"the site closed the connection (code {code})"


def why(problem: BaseException) -> str:
    """Why a connection failed or ended, without the URL that the library may have put into its message."""
    if isinstance(problem, (websocket.WebSocketTimeoutException, TimeoutError)):
        return "the connection went silent"
    if isinstance(problem, ConnectionRefusedError):
        return "connection refused"
    if isinstance(problem, (sockets.gaierror, websocket.WebSocketAddressException)):
        return "its name is not known"
    if isinstance(problem, ssl.SSLCertVerificationError):
        return "its certificate is not trusted (set OS_CACERT)"
    if isinstance(problem, websocket.WebSocketProtocolException):
        return "the site does not keep to the websocket protocol"
    if isinstance(problem, websocket.WebSocketProxyException):
        return "the web proxy of this machine does not let it through"
    return "the connection broke off"
