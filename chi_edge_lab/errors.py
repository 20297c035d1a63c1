"""The one tree of exceptions that people meet.

Every error is a sentence of what happened (`message`), one of what to do (`hint`), and where a site
answered, its request id (`request_id`: what an operator asks for). None of them ever holds a credential.
They are RuntimeErrors because notebooks written for python-chi catch that.
"""

from __future__ import annotations


class EdgeLabError(RuntimeError):
    """Base of all. `code` is a stable kebab-case word for programs; `str()` is for people."""

    code = "error"

    def __init__(self, message: str, *, hint: str = "", request_id: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.request_id = request_id

    def __str__(self) -> str:
        text = f"{self.message} {self.hint}".strip()
        return f"{text} (request {self.request_id})" if self.request_id else text


class BadInput(EdgeLabError, ValueError):
    """What the caller passed cannot be used; nothing was sent to the site."""

    code = "bad-input"


class NotSupported(EdgeLabError, NotImplementedError):
    """The site's dialect lacks this capability; nothing was sent to the site."""

    code = "not-supported"


class Cancelled(EdgeLabError):
    """The caller's `cancel` said so; the message tells what state things are in."""

    code = "cancelled"


# -- login: where a cloud is and how one logs in ---------------------------------------------------


class LoginError(EdgeLabError):
    """Logging in to a site did not work."""

    code = "login"


class NoSite(LoginError):
    """No site of that name is known, or none is configured."""

    code = "no-site"


class BadCredentials(LoginError):
    """The site refuses these credentials, or they contradict each other."""

    code = "bad-credentials"


class NoContainerService(LoginError):
    """The catalogue of this site (in this region) has no container service."""

    code = "no-container-service"


class LocalSiteError(LoginError):
    """The local site could not be started or reached."""

    code = "local-site"


# -- the site's answers ------------------------------------------------------------------------


class SiteError(EdgeLabError):
    """The site answered with an error. `http_status` is its HTTP status (None when there was no answer).

    `retry_after` is in seconds, None where the site gave none.
    """

    code = "site"
    retry_after: float | None = None

    def __init__(
        self, message: str, *, hint: str = "", request_id: str | None = None, http_status: int | None = None
    ) -> None:
        super().__init__(message, hint=hint, request_id=request_id)
        self.http_status = http_status


class Unreachable(SiteError):
    """No connection, or the site did not answer in time."""

    code = "unreachable"


class BadRequest(SiteError):
    """400, 406: the site does not accept the request as it is."""

    code = "bad-request"


class Unauthorized(SiteError):
    """401 after one re-login: the login has expired or was revoked."""

    code = "unauthorized"


class Forbidden(SiteError):
    """403: policy does not let this project or user do that."""

    code = "forbidden"


class OverQuota(Forbidden):
    """403 with a quota message, or 413."""

    code = "over-quota"


class NotFound(SiteError):
    """404: it is not there (any more), or belongs to another project."""

    code = "not-found"


class Conflict(SiteError):
    """409: the request clashes with something else (a duplicate name, for instance)."""

    code = "conflict"


class InvalidState(Conflict):
    """409: the container is in a state that does not allow this."""

    code = "invalid-state"


class TooManyRequests(SiteError):
    """429: too often."""

    code = "too-many-requests"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        request_id: str | None = None,
        http_status: int | None = 429,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint, request_id=request_id, http_status=http_status)
        self.retry_after = retry_after


class ServerError(SiteError):
    """5xx, or an answer that is not what Zun sends."""

    code = "server-error"


class ReplyTooLong(SiteError):
    """The answer is larger than the caller can hold; reading it was broken off."""

    code = "reply-too-long"


# -- what a person does with a container --------------------------------------------------------


class ContainerFailed(EdgeLabError):
    """The container is in Error (or died); `status_reason` is what the site says of it."""

    code = "container-failed"

    def __init__(
        self, message: str, *, hint: str = "", request_id: str | None = None, status_reason: str | None = None
    ) -> None:
        super().__init__(message, hint=hint, request_id=request_id)
        self.status_reason = status_reason


class ContainerGone(ContainerFailed):
    """The container was deleted while it was being waited for or used."""

    code = "container-gone"


class WaitTimeout(EdgeLabError, TimeoutError):
    """The container did not reach the status in time; it is left as it is."""

    code = "wait-timeout"


class ExecTimeout(EdgeLabError, TimeoutError):
    """The site stopped waiting for a command, which may still run. `output` is what it had printed by
    then.
    """

    code = "exec-timeout"
    output = ""


class FileError(EdgeLabError, OSError):
    """A path in a container or here cannot be listed, read or written."""

    code = "file"


class FileChanged(FileError):
    """A file is not what the caller believes it to be; nothing was written."""

    code = "file-changed"


class NoShell(FileError):
    """The container's image has no POSIX `sh`, on which exec of long commands, files and transfers rest."""

    code = "no-shell"


class NoTemporaryPlace(FileError):
    """No directory in the container can be written for temporary files."""

    code = "no-temporary-place"


class TransferError(FileError):
    """An upload or download did not finish; the destination is as it was before."""

    code = "transfer"
