"""How an error leaves the server: one function makes the body, one table the HTTP status."""

from __future__ import annotations

import logging

from pydantic import BaseModel, ValidationError

from chi_edge_lab import errors
from chi_edge_lab.sites.redact import redact

log = logging.getLogger(__name__)


class Problem(BaseModel):
    """What went wrong: `code` for programs, `message` and `hint` for people, the site's request id for operators."""

    code: str
    message: str
    hint: str = ""
    request_id: str | None = None


class Busy(errors.EdgeLabError):
    """The server has as much to do as its limits allow."""

    code = "busy"


class LimitReached(errors.EdgeLabError):
    """A limit of this server (terminals, transfers, feeds, ...) is reached."""

    code = "limit"


class Missing(errors.EdgeLabError):
    """There is no such thing on this server (a terminal, a transfer, ...)."""

    code = "missing"


# The first class that fits decides. A site's own 401 or 5xx is not ours: the browser must not think that Jupyter
# has logged it out or is broken.
_STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (Busy, 503),
    (LimitReached, 429),
    (Missing, 404),
    (errors.NotSupported, 409),
    (errors.BadInput, 400),
    (errors.Cancelled, 409),
    (errors.NoSite, 404),
    (errors.LoginError, 424),
    (errors.Unauthorized, 424),
    (errors.Unreachable, 504),
    (errors.BadRequest, 400),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.TooManyRequests, 429),
    (errors.ServerError, 502),
    (errors.ContainerGone, 404),
    (errors.ContainerFailed, 409),
    (errors.WaitTimeout, 504),
    (errors.ExecTimeout, 504),
    (errors.NoShell, 409),
    (errors.FileError, 409),
    (errors.EdgeLabError, 500),
)


def status_of(error: BaseException) -> int:
    """The HTTP status of an error."""
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status
    return 500


def problem_of(error: BaseException) -> Problem:
    """What the person is told of an error; for what nobody foresaw the log keeps the details, redacted."""
    if isinstance(error, errors.EdgeLabError):
        return Problem(
            code=error.code,
            message=redact(error.message),
            hint=redact(error.hint),
            request_id=error.request_id,
        )
    if isinstance(error, ValidationError):
        return Problem(code="bad-input", message=sentence_of(error))
    log.error(
        "unforeseen: %s", redact(repr(error)), exc_info=error if log.isEnabledFor(logging.DEBUG) else None
    )
    return Problem(
        code="error",
        message=f"Something went wrong in the server extension ({type(error).__name__}).",
        hint="The Jupyter server's log says more; please report it.",
    )


def sentence_of(error: ValidationError) -> str:
    """What does not fit, as one sentence without the values (which may be secrets)."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    parts = [f"{'.'.join(str(step) for step in one['loc']) or 'the body'}: {one['msg']}" for one in found[:5]]
    return "The request does not fit: " + "; ".join(parts) + "."
