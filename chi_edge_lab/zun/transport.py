"""python-zunclient's HTTP client with our errors, timeouts and retries in it.

zunclient's own turns an answer that is not Zun's into an IndexError, a KeyError or None, and waits for ever.
Its managers (`zunclient.v1.*`) work over this one unchanged.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from keystoneauth1 import exceptions as ksa
from zunclient import api_versions
from zunclient.common.httpclient import SessionClient

from chi_edge_lab import errors
from chi_edge_lab.sites.session import CONTAINER, Login
from chi_edge_lab.zun.errors import Answer, to_error, unreadable
from chi_edge_lab.zun.versions import Version, spelled

CONNECT = 10.0  # seconds to reach the site
QUICK = 30.0  # seconds without a byte, for what the API answers from its database
SLOW = 70.0  # for what it asks a compute host: Zun itself gives up after 60 s
ARCHIVE = 200.0  # the k8s driver gives an archive 120 s, and the bytes must travel
_PAUSES = (0.1, 0.4)  # seconds before each retry of a GET whose connection broke
_REDIRECTS = 5
_LAST = 4  # addresses of which the last answer is kept (a list of 1000 containers: about 10 MB)


class Transport(SessionClient):  # type: ignore[misc]
    """Requests to one site's Zun at one API version. Thread-safe."""

    def __init__(self, login: Login, version: Version, *, timeout: float | None = None) -> None:
        super().__init__(
            session=login.session,
            service_type=CONTAINER,
            interface=login.interface,
            region_name=login.region_name,
            endpoint_override=login.endpoint(),
            api_version=api_versions.APIVersion(spelled(version)),
        )
        self.login = login
        self._last: dict[str, tuple[bytes, Any]] = {}  # address -> the last answer, and what it says
        self.limit = timeout  # overrides every other time limit

    def call(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout: float = QUICK,
        secret: bool = False,
        limit: int | None = None,
        repeated: bool = False,
    ) -> Any:
        """Send one request and return its JSON (None for an empty body).

        `doing` completes "Could not ..." in an error. None in `query` is left out. `secret` keeps request and
        answer out of keystoneauth's debug log. `limit` is the largest answer in bytes that is read (None: any).
        `repeated`: the same is asked again and again, and most answers are as the last one, which is then returned once
        more: not to be changed by the caller.

        Raises:
            errors.SiteError: the site's refusal, Unreachable, or ReplyTooLong.
            errors.BadCredentials: the token has expired and the login does not work any more.
        """
        parameters = {key: str(value) for key, value in (query or {}).items() if value is not None}
        url = f"/v1{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        options: dict[str, Any] = {"doing": doing, "timeout": timeout, "log": not secret}
        if body is not None:
            options["body"] = body
        if limit is not None:
            # keystoneauth's debug log would read the answer whole
            options |= {"stream": True, "log": False, "limit": limit}
        return self.json_request(method, url, repeated=repeated, **options)[1]

    def json_request(self, method: str, url: str, **kwargs: Any) -> tuple[Any, Any]:
        """As zunclient's, but a body that is not JSON is an error and not a string or None."""
        headers = kwargs.setdefault("headers", {})
        headers.setdefault("Accept", "application/json")
        if "body" in kwargs:
            kwargs["data"] = json.dumps(kwargs.pop("body"))
        if kwargs.get("data"):
            headers.setdefault("Content-Type", "application/json")
        doing = kwargs.get("doing") or _plain(method, url)
        limit, repeated = kwargs.pop("limit", None), kwargs.pop("repeated", False)
        response = self._http_request(url, method, **kwargs)
        content = response.content if limit is None else _content(response, limit, doing)
        if not content.strip():
            return response, None
        before = self._last.get(url) if repeated else None
        if before is not None and before[0] == content:
            return response, before[1]
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            raise unreadable(Answer(response.status_code, response.headers, content), doing) from None
        if repeated:
            for oldest in list(self._last)[: len(self._last) - _LAST + 1]:
                self._last.pop(oldest, None)
            self._last[url] = content, document
        return response, document

    def _http_request(self, url: str, method: str, **kwargs: Any) -> Any:
        doing = kwargs.pop("doing", None) or _plain(method, url)
        read = kwargs.pop("timeout", SLOW)
        seconds = read if self.limit is None else self.limit
        headers = dict(kwargs.pop("headers", None) or {})
        api_versions.update_headers(headers, self.api_version)
        kwargs |= {"headers": headers, "timeout": (min(CONNECT, seconds), seconds)}
        url = url.removeprefix("/v1")
        for _ in range(_REDIRECTS):
            response = self._send(url, method, doing, kwargs)
            if response.status_code not in (301, 302, 305, 307, 308) or not response.headers.get("location"):
                break
            url = self._own(response.headers["location"], doing)
        if response.status_code >= 300:
            raise to_error(Answer(response.status_code, response.headers, response.content), doing)
        return response

    def _send(self, url: str, method: str, doing: str, kwargs: Mapping[str, Any]) -> Any:
        pauses = iter(_PAUSES if method == "GET" else ())
        while True:
            try:
                return self.session.request(
                    url,
                    method,
                    raise_exc=False,
                    redirect=False,
                    connect_retries=0,
                    endpoint_override=self.endpoint_override,
                    **{**kwargs, "headers": dict(kwargs["headers"])},
                )
            except ksa.Unauthorized as problem:  # noqa: PERF203 - a retry loop
                raise self._login_is_over(problem, doing) from None
            except ksa.ConnectTimeout as problem:
                # the time limit is the caller's patience: no second helping
                raise to_error(problem, doing) from None
            except (ksa.ConnectFailure, ksa.UnknownConnectionError) as problem:
                pause = next(pauses, None)
                if pause is None:
                    raise self._unreachable(problem, doing) from None
                time.sleep(pause)
            except (ksa.ClientException, OSError) as problem:
                raise to_error(problem, doing) from None

    def _login_is_over(self, problem: BaseException, doing: str) -> errors.EdgeLabError:
        return errors.Unauthorized(
            f"Could not {doing}: the login to {self.login.site} is no longer good.",
            hint="Its password, credential or token was changed, revoked or has expired: log in again.",
            request_id=getattr(problem, "request_id", None),
            http_status=401,
        )

    def _unreachable(self, problem: BaseException, doing: str) -> errors.EdgeLabError:
        error = to_error(problem, doing)
        if self.login.kind == "local":
            error.hint = "The local site is not running: `chi-edge-lab site start` starts it again."
        return error

    def _own(self, location: str, doing: str) -> str:
        """A redirect's target, if it is on the same site: a token goes nowhere else."""
        target, here = urlsplit(location), urlsplit(self.endpoint_override)
        if target.netloc and (target.scheme, target.netloc) != (here.scheme, here.netloc):
            raise errors.ServerError(
                f"Could not {doing}: the site sends us to another address ({target.scheme}://{target.netloc}).",
                hint="The address in the site's catalogue may be out of date: tell its operators.",
            )
        if not target.netloc and location.startswith("/"):
            return f"{here.scheme}://{here.netloc}{location}"
        return location


def _content(response: Any, limit: int, doing: str) -> bytes:
    """The body of a streamed answer, if it is no longer than `limit` bytes."""
    content = bytearray()
    with response:
        try:
            for chunk in response.iter_content(1 << 16):
                content += chunk
                if len(content) > limit:
                    raise errors.ReplyTooLong(
                        f"Could not {doing}: the site's answer is larger than {limit} bytes.",
                        hint="Ask for less at a time.",
                        http_status=response.status_code,
                    )
        except OSError as problem:
            raise to_error(problem, doing) from None
    return bytes(content)


def _plain(method: str, url: str) -> str:
    """Words for a request that zunclient's own managers sent."""
    return f"{method} {url.partition('?')[0]}"
