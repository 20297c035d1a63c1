"""One function that turns whatever went wrong between us and a site into the package's own errors.

Bodies are never believed: a proxy's HTML, an empty body, `errors: []` and half a JSON document each become a
sentence. Zun's request id comes from the header (in the body it is always empty). What crossed Zun's message
bus carries the server's traceback in its detail: it is cut off.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from chi_edge_lab import errors
from chi_edge_lab.sites import refusals
from chi_edge_lab.sites.redact import redact

_LONGEST = 500  # characters of a site's own words
_REQUEST_ID = re.compile(r"req-[0-9A-Za-z-]{1,64}")
_CORRELATION = re.compile(r"Error Correlation id is: ([0-9a-fA-F-]{8,64})")
_NO_CONTAINER = re.compile(r"Container (\S+) could not be found\.?$")
_INVALID_STATE = re.compile(r"^Cannot \w+ container \S+ in \w+ state")

_REASONS = {
    400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 408: "Request Timeout", 409: "Conflict", 413: "Payload Too Large",
    429: "Too Many Requests", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
    504: "Gateway Timeout",
}  # fmt: skip


class Answer:
    """An HTTP answer, reduced to what its error is made of."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = {key.lower(): value for key, value in headers.items()}
        self.body = body

    @property
    def request_id(self) -> str | None:
        """Zun's request id, if the answer carries one."""
        found = _REQUEST_ID.fullmatch(self.headers.get("x-openstack-request-id", ""))
        return found.group() if found else None

    def words(self) -> tuple[str, str]:
        """(error code, sentence) out of the body; "" for what is not there."""
        code, text = _words_of(self.body)
        return code, _tidy(text)


def to_error(problem: Answer | BaseException, doing: str) -> errors.EdgeLabError:
    """The error for `problem`, an answer with a status of 300 and above or an exception.

    `doing` completes "Could not ...": "stop the container 'a'". The result is to be raised by the caller.
    """
    if isinstance(problem, errors.EdgeLabError):
        return problem
    if isinstance(problem, Answer):
        return _of_answer(problem, doing)
    return refusals.explain(problem, doing)


def unreadable(answer: Answer, doing: str) -> errors.ServerError:
    """The error for an answer whose status says yes and whose body is not what Zun sends."""
    kind = _kind_of_body(answer)
    return errors.ServerError(
        f"Could not {doing}: the site answered {answer.status} with {kind} instead of Zun's JSON.",
        hint="A proxy or gateway may stand between; try again, then ask the site's operators.",
        request_id=answer.request_id,
        http_status=answer.status,
    )


def _of_answer(answer: Answer, doing: str) -> errors.SiteError:
    status = answer.status
    code, text = answer.words()
    correlation = _CORRELATION.search(text)
    if correlation:
        text = f"the site had an internal error (correlation id {correlation.group(1)})."
    elif not text:
        reason = _REASONS.get(status, "")
        said = f"{status} {reason}".strip()
        if _kind_of_body(answer) == "an HTML page":
            text = f"the site's gateway answered {said}."
        else:
            text = f"the site answered {said} and gave no reason."
    message = _sentence(f"Could not {doing}: {text}")
    facts: dict[str, Any] = {"request_id": answer.request_id, "http_status": status}
    # not "quota" alone: policy names such as quota:get have it, too
    quota = "over-quota" in code or "quota exceeded" in text.lower()
    if status == 429:
        return errors.TooManyRequests(
            message, hint="Wait a moment, then try again.", retry_after=_retry_after(answer.headers), **facts
        )
    if status == 401:
        return errors.Unauthorized(message, hint=refusals.LOG_IN_AGAIN, **facts)
    if status == 413 or (status == 403 and quota):
        return errors.OverQuota(
            message, hint="Delete what you no longer need, or ask for more quota.", **facts
        )
    if status == 403:
        return errors.Forbidden(
            message, hint="The site's policy keeps this for others; its operators can change that.", **facts
        )
    if status == 404:
        if _names_what_is_done(text, doing):
            return errors.NotFound(
                f"Could not {doing}: there is none of that name or id in this project.",
                hint="`list_containers()` shows what there is.",
                **facts,
            )
        return errors.NotFound(message, **facts)
    if status == 409:
        if code.startswith("container.invalid-state-exception") or _INVALID_STATE.match(text):
            return errors.InvalidState(
                message, hint="Wait until it has changed its state, then try again.", **facts
            )
        return errors.Conflict(message, **facts)
    if status >= 500:
        failed = errors.ServerError(message, hint=_HINTS.get(status, _HINT_500), **facts)
        failed.retry_after = _retry_after(answer.headers)
        return failed
    if status >= 400:
        return errors.BadRequest(message, **facts)
    return errors.ServerError(message, hint="The address of the site may be wrong.", **facts)


_HINT_500 = "If it happens again, tell the site's operators the request id."
_HINT_GATEWAY = "The service behind it is down or slow: try again in a minute."
_HINTS = {502: _HINT_GATEWAY, 503: _HINT_GATEWAY, 504: _HINT_GATEWAY}


def _names_what_is_done(text: str, doing: str) -> bool:
    """Whether the site says no more than that the container of `doing` is not there.

    The k8s driver also says it of a container without a pod, with `%(container)s` for a name: that one exists.
    """
    found = _NO_CONTAINER.match(text)
    return found is not None and f"container {found.group(1)!r}" in doing


def _words_of(body: bytes) -> tuple[str, str]:
    """(code, text) of Zun's `errors`, keystonemiddleware's or Neutron's and Blazar's single error."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    listed = document.get("errors")
    if isinstance(listed, list) and listed and isinstance(listed[0], dict):
        first = listed[0]
        title, detail = str(first.get("title") or ""), str(first.get("detail") or "")
        # of a 500 the title is only the status in words; the detail names what operators can look up
        return str(first.get("code") or ""), detail if _CORRELATION.search(detail) else title or detail
    for key in ("error", "NeutronError"):
        single = document.get(key)
        if isinstance(single, dict):
            return str(single.get("type") or ""), str(single.get("message") or single.get("title") or "")
    for key in ("error_message", "message", "faultstring"):
        if isinstance(document.get(key), str):
            return "", document[key]
    return "", ""


def _tidy(text: str) -> str:
    """The site's sentence without the server's traceback and without secrets, on one line."""
    text = re.split(r"\s*Traceback \(most recent call last\)", text, maxsplit=1)[0]
    text = re.sub(r"\s*\['Traceback.*", "", text, flags=re.DOTALL)
    text = " ".join(redact(text).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1].rstrip() + "…"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else text + "."


def _kind_of_body(answer: Answer) -> str:
    body = answer.body.lstrip()
    if not body:
        return "nothing"
    if body[:1] == b"<" or "html" in answer.headers.get("content-type", ""):
        return "an HTML page"
    if body[:1] in b'{["':
        return "a cut-off or foreign document"
    return "something else"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds of a Retry-After header; a date or nonsense gives None."""
    value = headers.get("retry-after", "").strip()
    return float(value) if re.fullmatch(r"\d{1,6}(\.\d+)?", value) else None
