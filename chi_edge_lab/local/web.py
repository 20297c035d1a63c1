"""What the handlers of the small services share: JSON in and out, request ids, who is asking.

Each service writes errors in its own way and overrides `write_failure`.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Sequence
from http.client import responses
from typing import TYPE_CHECKING, Any

from tornado import web

if TYPE_CHECKING:
    from chi_edge_lab.local.app import Site
    from chi_edge_lab.local.identity import Token

log = logging.getLogger(__name__)

Route = tuple[str, type[web.RequestHandler], dict[str, Any]]


def routes(site: Site, table: Sequence[tuple[str, type[web.RequestHandler]]]) -> list[Route]:
    """Tornado's rules for pairs of pattern and handler, each handler being given the site."""
    return [(pattern, handler, {"site": site}) for pattern, handler in table]


class Refusal(Exception):
    """An answer that is an error. `code` is the service's own word for it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


class ServiceHandler(web.RequestHandler):
    """Base of the handlers of Keystone, Neutron and Blazar."""

    site: Site

    def initialize(self, site: Site) -> None:
        self.site = site

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("x-openstack-request-id", f"req-{uuid.uuid4()}")

    def head(self, *args: Any, **kwargs: Any) -> Any:
        """HEAD is GET without the body (Tornado drops it)."""
        return self.get(*args, **kwargs)

    def token(self) -> Token:
        """The valid token of this request. Raises Refusal 401."""
        token = self.site.identity.authenticate(self.request.headers.get("X-Auth-Token"))
        if token is None:
            raise Refusal(401, "The request you have made requires authentication.", "Unauthorized")
        return token

    def project(self) -> str:
        """The project of the token. Raises Refusal 401 (no token) or 403 (unscoped)."""
        token = self.token()
        if not token.project_id:
            raise Refusal(403, "The token is not scoped to a project.", "Forbidden")
        return token.project_id

    def body(self, name: str | None = None) -> dict[str, Any]:
        """The JSON object of the request, or the object in it under `name`. Raises Refusal 400."""
        try:
            data = json.loads(self.request.body or b"null")
        except (ValueError, RecursionError):
            data = None
        if name is not None and isinstance(data, dict):
            data = data.get(name)
        if not isinstance(data, dict):
            raise Refusal(
                400, f"The body must be a JSON object{f' with {name!r}' if name else ''}.", "BadRequest"
            )
        return data

    def answer(self, data: dict[str, Any] | None, status: int = 200) -> None:
        """Send JSON, or no body at all for None."""
        self.set_status(status)
        if data is None:
            self.clear_header("Content-Type")
            self.finish()
        else:
            self.finish(json.dumps(data))

    def write_failure(self, status: int, message: str, code: str) -> None:  # noqa: ARG002 - some services have it
        """Send an error in the way of the service."""
        self.answer(
            {"error": {"code": status, "message": message, "title": responses.get(status, "")}}, status
        )

    def refusal_of(self, error: BaseException | None) -> tuple[int, str, str] | None:
        """(status, message, code) of an exception that is an answer; None for any other."""
        if isinstance(error, Refusal):
            return error.status, error.message, error.code
        return None

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        refusal = self.refusal_of(kwargs.get("exc_info", (None, None))[1])
        super().send_error(refusal[0] if refusal else status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 401:
            # where a client is told to log in, as keystonemiddleware says it
            self.set_header("WWW-Authenticate", f'Keystone uri="{self.site.config.auth_url}"')
        refusal = self.refusal_of(kwargs.get("exc_info", (None, None))[1])
        if refusal:
            self.write_failure(*refusal)
            return
        texts = {
            404: "The resource could not be found.",
            405: "The method is not allowed for the requested URL.",
        }
        self.write_failure(status_code, texts.get(status_code, responses.get(status_code, "Error")), "")

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """A refusal is no news; anything else is our fault (Tornado would log the URL with its query)."""
        if self.refusal_of(value) is None and not isinstance(value, web.HTTPError):
            log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def check_xsrf_cookie(self) -> None:
        """No cookies are used here: every request carries its own token."""


class NotFound(ServiceHandler):
    """Everything that no other handler answers."""

    def prepare(self) -> None:
        raise Refusal(404, "The resource could not be found.", "NotFound")


class WrongHost(web.RequestHandler):
    """Answers requests whose Host header does not name this machine.

    A page in a browser can make any name resolve to 127.0.0.1 (DNS rebinding): it would have the same origin.
    """

    def prepare(self) -> None:
        self.clear_header("Server")
        self.set_status(421)
        self.finish("This site answers to 127.0.0.1 and localhost only.\n")
