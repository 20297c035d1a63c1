"""What keystoneauth, requests and the websocket library raise, as the package's own errors.

An HTTP error that keystoneauth raises by itself comes from Keystone, while a token was asked for: our own
requests to services ask it not to raise. So here a 401 is about the login.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from chi_edge_lab import errors
from chi_edge_lab.sites.redact import redact

LOG_IN_AGAIN = "Log in again: renew the credentials (or log out of JupyterHub and in again), then retry."
_AUTH_URL = "OS_AUTH_URL (or auth_url in clouds.yaml) usually ends in /v3."
_START_LOCAL = (
    "If it is the local site, `chi-edge-lab site start` starts it again (with the --profile or --dir it had)."
)
_CHECK_ADDRESS = "Check the network, the address and that the site is up."


def explain(problem: BaseException, doing: str) -> errors.EdgeLabError:
    """The error for an exception met while `doing` ("log in to CHI@Edge"); to be raised by the caller."""
    from keystoneauth1 import exceptions as ksa

    if isinstance(problem, errors.EdgeLabError):
        return problem
    if isinstance(problem, ksa.SSLError):
        return errors.Unreachable(
            f"Could not {doing}: the site's certificate is not trusted ({brief(problem)}).",
            hint="Set OS_CACERT (or cacert in clouds.yaml) to the site's CA file.",
        )
    if isinstance(problem, ksa.ConnectTimeout):
        return errors.Unreachable(
            f"Could not {doing}: {place(problem)} did not answer in time.",
            hint="It may be slow or down: try again in a minute.",
        )
    if isinstance(problem, (ksa.ConnectFailure, ksa.UnknownConnectionError, ksa.ConnectionError)):
        where = place(problem)
        return errors.Unreachable(
            f"Could not {doing}: no connection to {where} ({cause(problem)}).",
            hint=_START_LOCAL if is_loopback(where) else _CHECK_ADDRESS,
        )
    if isinstance(problem, (ksa.DiscoveryFailure, ksa.InvalidResponse)):
        return errors.Unreachable(
            f"Could not {doing}: {place(problem)} does not answer as Keystone does.", hint=_AUTH_URL
        )
    if isinstance(problem, ksa.HttpError):
        return _of_keystone(problem, doing)
    if isinstance(problem, ksa.EmptyCatalog):
        return errors.BadCredentials(
            f"Could not {doing}: the login has no project, so the site offers no services.",
            hint="Say which project: OS_PROJECT_NAME, use_project() or project_name in clouds.yaml.",
        )
    if isinstance(problem, ksa.EndpointNotFound):
        return errors.NoContainerService(f"Could not {doing}: the site's catalogue has no such service.")
    if isinstance(problem, ksa.ClientException):
        return errors.BadCredentials(
            f"Could not {doing}: {brief(problem)}", hint="Check the credentials of this site."
        )
    if isinstance(problem, (OSError, TimeoutError)):
        return errors.Unreachable(f"Could not {doing}: {brief(problem)}.", hint=_CHECK_ADDRESS)
    return errors.ServerError(
        f"Could not {doing}: {type(problem).__name__}: {brief(problem)}.",
        hint="This may be a fault of ours: please report it.",
    )


def _of_keystone(problem: BaseException, doing: str) -> errors.EdgeLabError:
    status = int(getattr(problem, "http_status", 0) or 0)
    request_id = getattr(problem, "request_id", None)
    text = brief(problem)
    if "cannot request a scope" in text:
        return errors.BadCredentials(
            f"Could not {doing}: an application credential has its project in itself, and another was named.",
            hint="Remove the project from the credentials (unset OS_PROJECT_NAME, OS_PROJECT_ID, ...).",
            request_id=request_id,
        )
    if status == 401:
        return errors.BadCredentials(
            f"Could not {doing}: the site refuses these credentials.",
            hint="Check user, password or secret and project; credentials of one site are no use on another.",
            request_id=request_id,
        )
    if status in (400, 403):
        return errors.BadCredentials(
            f"Could not {doing}: the site refuses the login ({text}).",
            hint="Check user, project and their domains.",
            request_id=request_id,
        )
    if status == 404:
        return errors.Unreachable(
            f"Could not {doing}: there is no Keystone at that address.",
            hint=_AUTH_URL,
            http_status=404,
        )
    return errors.ServerError(
        f"Could not {doing}: the site's Keystone answered {status or text}.",
        hint="Try again in a minute, then tell the site's operators.",
        request_id=request_id,
        http_status=status or None,
    )


def brief(problem: BaseException) -> str:
    """The exception's text: one line, no secrets, no library internals, at most 200 characters."""
    text = redact(str(problem) or type(problem).__name__)
    text = re.sub(r"<[\w.]+ object at 0x[0-9a-f]+>:?\s*", "", text)
    text = re.sub(r"\s*\(HTTP \d+\)(\s*\(Request-ID: [\w-]+\))?", "", text)
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:199].rstrip() + "…"


def place(problem: BaseException) -> str:
    """scheme://host:port that the exception is about."""
    found = re.search(r"(?:https?|wss?)://[^\s/?#'\"]+", redact(str(problem)))
    return found.group() if found else "the site"


def host_of(url: str) -> str | None:
    """The host of an http or https URL; None for what is none."""
    try:
        parts = urlsplit(url)
        return parts.hostname if parts.scheme in {"http", "https"} and parts.port != 0 else None
    except ValueError:
        return None


def is_loopback(url: str) -> bool:
    """Whether the URL is on this machine."""
    host = host_of(url) or ""
    return host in {"localhost", "::1"} or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None


def cause(problem: BaseException) -> str:
    """Why there was no connection, in a few words."""
    text = str(problem)
    for sign, words in _CAUSES:
        if sign in text:
            return words
    return brief(problem)


_CAUSES = (
    ("Connection refused", "connection refused"),
    ("Name or service not known", "its name is not known"),
    ("Temporary failure in name resolution", "its name could not be looked up"),
    ("NameResolutionError", "its name could not be looked up"),
    ("No route to host", "no route to it"),
    ("Network is unreachable", "the network is unreachable"),
    ("RemoteDisconnected", "it hung up without an answer"),
    ("Connection reset", "it reset the connection"),
    ("Connection aborted", "it broke the connection off"),
    ("IncompleteRead", "it broke off in the middle of the answer"),
    ("Connection broken", "it broke off in the middle of the answer"),
)
