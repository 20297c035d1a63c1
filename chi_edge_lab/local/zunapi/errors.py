"""Zun's errors: the class names are the server's own, because the `code` of an error body is made from them.

A body is `{"errors": [{"request_id": "", "code": "container.<kebab-case class>", "status", "title", "detail",
"links"}]}`.
Below 500 title and detail are the sentence; from 500 on Zun says nothing but a correlation id, which the site's log has
together with what happened. Errors that crossed RPC in real Zun have the suffix "-remote" (and a traceback of the
server in `detail`, which we leave out).
"""

from __future__ import annotations

import http
import re
import uuid
from typing import Any, ClassVar

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]{2,}(?=[A-Z][a-z]|\d|\W|$)|\d+")


class ZunError(Exception):
    """An answer with a status of 400 or more. `str()` is the sentence that the client sees (below 500)."""

    status: ClassVar[int] = 500
    remote: bool = False

    def __init__(self, message: str, *, remote: bool = False) -> None:
        super().__init__(message)
        self.remote = remote

    @property
    def code(self) -> str:
        """As in the error body, without the service's name."""
        words = "-".join(word.lower() for word in _WORDS.findall(type(self).__name__))
        return f"{words}-remote" if self.remote else words


class InvalidValue(ZunError):
    """400"""

    status = 400


class InvalidParameterValue(InvalidValue):
    """400: a name that is not a column."""


class SchemaValidationError(InvalidValue):
    """400: the body or query does not fit the JSON schema."""


class InvalidParamInVersion(InvalidValue):
    """400: the parameter is newer than the microversion of the request."""


class Invalid(InvalidValue):
    """400"""


class NoInteractiveFlag(InvalidValue):
    """400: attach to a container that was made without `interactive`."""


class Base64Exception(InvalidValue):
    """400: an archive is not base64."""


class PolicyNotAuthorized(ZunError):
    """403"""

    status = 403

    def __init__(self, rule: str) -> None:
        super().__init__(f"Policy doesn't allow {rule} to be performed.")


class OverQuota(ZunError):
    """403"""

    status = 403

    def __init__(self, resources: list[str]) -> None:
        super().__init__(f"Quota exceeded for resources: {resources}")


class ResourceNotFound(ZunError):
    """404"""

    status = 404


class ContainerNotFound(ResourceNotFound):
    """404, also for a container of another project."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Container {ref} could not be found.")


class NetworkNotFound(ResourceNotFound):
    """404"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Neutron network {ref} could not be found.")


class PortNotFound(ResourceNotFound):
    """404"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Neutron port {ref} could not be found.")


class RegistryNotFound(ResourceNotFound):
    """404"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Registry {ref} could not be found.")


class ComputeNodeNotFound(ResourceNotFound):
    """404"""

    def __init__(self, ref: str) -> None:
        super().__init__(f"Compute node {ref} could not be found.")


class ZunServiceNotFound(ResourceNotFound):
    """404"""


class Conflict(ZunError):
    """409"""

    status = 409


class InvalidStateException(Conflict):
    """409: the container's status does not allow it."""

    def __init__(self, action: str, container_uuid: str, status: str) -> None:
        super().__init__(f"Cannot {action} container {container_uuid} in {status} state")


class ServerFault(ZunError):
    """500: the message is for the log; the client gets a correlation id."""


class Unavailable(ZunError):
    """503: too much at once."""

    status = 503


class BareError(Exception):
    """An answer made by the web framework below Zun's controllers: status only, empty title and code."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


class PlainFault(Exception):
    """500 in text/plain: what upstream answers to a microversion above its maximum, by a bug of its error handler."""


def body_of(error: ZunError) -> tuple[dict[str, Any], str | None]:
    """The JSON body of an error, and the correlation id to log (None below 500)."""
    if error.status < 500:
        return _body(error.status, error.code, str(error), str(error)), None
    correlation = str(uuid.uuid4())
    detail = (
        "Your request could not be handled because of a problem in the server. "
        f"Error Correlation id is: {correlation}"
    )
    return _body(error.status, "", http.HTTPStatus(error.status).phrase, detail), correlation


def bare_body(status: int) -> dict[str, Any]:
    """The body of a BareError."""
    return _body(status, "", "", "")


def _body(status: int, code: str, title: str, detail: str) -> dict[str, Any]:
    error = {
        "request_id": "",
        "code": f"container.{code}",
        "status": status,
        "title": title,
        "detail": detail,
        "links": [],
    }
    return {"errors": [error]}
