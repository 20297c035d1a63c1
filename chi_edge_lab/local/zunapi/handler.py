"""What all Zun handlers share: request id, login, microversion, parameters, errors.

The order is that of the real service: request id on everything, then Keystone's 401, then routing (bare 404 and 405),
then the microversion (bare 406), then the call.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, ClassVar

from tornado import web

from chi_edge_lab.local.zunapi import versions
from chi_edge_lab.local.zunapi.errors import (
    BareError,
    PlainFault,
    PolicyNotAuthorized,
    ServerFault,
    ZunError,
    bare_body,
    body_of,
)
from chi_edge_lab.local.zunapi.model import Context

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.site import Site

_log = logging.getLogger(__name__)

Rule = tuple[str, type[web.RequestHandler], dict[str, Any]]


class Handler(web.RequestHandler):
    """Base of all handlers. Subclasses implement HTTP methods and `answer`."""

    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "POST", "PUT", "PATCH", "DELETE")  # type: ignore[misc]

    public = False
    """Answered without a token."""

    versioned = True
    """Below /v1: has a microversion."""

    site: Site
    context: Context

    def initialize(self, site: Site) -> None:
        """Called by Tornado with what the route holds."""
        self.site = site

    def set_default_headers(self) -> None:
        """Also called again for errors, so the request id is kept here."""
        if not hasattr(self, "request_id"):
            self.request_id = f"req-{uuid.uuid4()}"
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json")
        self.set_header("X-Openstack-Request-Id", self.request_id)

    def prepare(self) -> Awaitable[None] | None:
        """Who asks, and in which version."""
        user_id = project_id = ""
        is_admin = False
        if not self.public:
            token = self.site.identity.authenticate(self.request.headers.get("X-Auth-Token", ""))
            if token is None or token.project_id is None:
                self._unauthorized()
                return None
            user_id, project_id, is_admin = token.user_id, token.project_id, "admin" in token.roles
        if type(self).__dict__.get(self.request.method.lower() if self.request.method else "") is None:
            raise BareError(405, Allow=", ".join(sorted(self._methods())))
        version = versions.MINIMUM
        if self.versioned:
            profile = self.site.profile
            asked = self.request.headers.get(versions.HEADER)
            version = versions.parse(asked, profile.max_version, too_new_is_fault=profile.too_new_is_fault)
            self.set_header(versions.MIN_HEADER, f"{versions.SERVICE} {versions.text(versions.MINIMUM)}")
            self.set_header(versions.MAX_HEADER, f"{versions.SERVICE} {versions.text(profile.max_version)}")
            self.set_header(versions.HEADER, f"{versions.SERVICE} {versions.text(version)}")
            self.set_header("Vary", versions.HEADER)
        self.context = Context(self.request_id, user_id, project_id, is_admin, version, time.time())
        return None

    # -- parameters

    @property
    def base(self) -> str:
        """Where the service is, as links say it."""
        return self.site.container_url

    def query(self) -> dict[str, Any]:
        """Query parameters; one that comes several times is a list. Raises BareError 400 for what is not UTF-8."""
        found: dict[str, Any] = {}
        for name, values in self.request.query_arguments.items():
            try:
                texts = [value.decode("utf-8") for value in values]
            except UnicodeDecodeError:
                raise BareError(400) from None
            found[name] = texts[0] if len(texts) == 1 else texts
        # Tornado drops parameters without a value
        for part in self.request.query.split("&"):
            name, equals, value = part.partition("=")
            if equals and not value:
                found.setdefault(name, "")
        return found

    def body(self) -> dict[str, Any]:
        """The JSON object of the body; what is none counts as empty, as in Pecan."""
        try:
            data = json.loads(self.request.body)
        except (ValueError, RecursionError):
            return {}
        return data if isinstance(data, dict) else {}

    def text_parameter(self, parameters: dict[str, Any], name: str) -> str | None:
        """A parameter that must be one string where it is given. Raises ServerFault."""
        value = parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise ServerFault(f"{name} is not a string")
        return value

    def require_admin(self, rule: str) -> None:
        """Raise PolicyNotAuthorized for members."""
        if not self.context.is_admin:
            raise PolicyNotAuthorized(rule)

    # -- answers

    def answer(self, value: Any, status: int = 200) -> None:
        """Send JSON."""
        self.set_status(status)
        self.finish(json.dumps(value))

    def nothing(self) -> None:
        """204."""
        self.set_status(204)
        self.clear_header("Content-Type")
        self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Map exceptions to Zun's bodies."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, PlainFault):
            self.set_status(500)
            self.set_header("Content-Type", "text/plain; charset=UTF-8")
            self.finish(
                "Internal Server Error\n\nThe server encountered an unexpected internal server error\n"
            )
            return
        if isinstance(error, BareError):
            for name, value in error.headers.items():
                self.set_header(name, value)
            self.answer(bare_body(error.status), error.status)
            return
        if isinstance(error, web.HTTPError):
            self.answer(bare_body(status_code), status_code)
            return
        if not isinstance(error, ZunError):
            error = ServerFault(f"{type(error).__name__}: {error}")
        body, correlation = body_of(error)
        if correlation is not None:
            _log.info(
                "%s %s: %s (correlation %s)", self.request.method, self.request.path, error, correlation
            )
        self.answer(body, error.status)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Only what nobody expected has a traceback; query strings hold commands and are never logged."""
        if not isinstance(value, (ZunError, BareError, PlainFault, NotImplementedError, web.HTTPError)):
            _log.error("%s %s failed", self.request.method, self.request.path, exc_info=(typ, value, tb))

    def check_xsrf_cookie(self) -> None:
        """No cookies here: every request carries its own token."""

    @classmethod
    def _methods(cls) -> list[str]:
        return [name for name in cls.SUPPORTED_METHODS if name.lower() in cls.__dict__]

    def _unauthorized(self) -> None:
        self.set_status(401)
        self.set_header("WWW-Authenticate", f'Keystone uri="{self.site.url}/identity/v3"')
        message = "The request you have made requires authentication."
        self.finish(json.dumps({"error": {"code": 401, "title": "Unauthorized", "message": message}}))


class Missing(Handler):
    """Every path of the service that is not there: 404 with a token, 401 without."""

    def prepare(self) -> None:
        """Log in first, as the real service does."""
        token = self.site.identity.authenticate(self.request.headers.get("X-Auth-Token", ""))
        if token is None or token.project_id is None:
            self._unauthorized()
            return
        raise BareError(404)


class Root(Handler):
    """GET /: the version document, for everybody."""

    public = True
    versioned = False

    def get(self) -> None:
        """The versions."""
        self.answer(versions.root_document(self.base, self.site.profile.max_version))


class V1(Handler):
    """GET /v1: the resources, for everybody."""

    public = True

    def get(self) -> None:
        """The resources."""
        self.answer(versions.v1_document(self.base))
