"""How an operation is asked over HTTP: authenticate, authorise, parse, call, answer."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, unquote_to_bytes

from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel, ValidationError
from tornado import web

from chi_edge_lab import errors
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.encoding import encode
from chi_edge_lab.server.failures import Problem, problem_of, status_of
from chi_edge_lab.server.feeds.containers import poke
from chi_edge_lab.server.operations import IN_CALL, Operation, Payload
from chi_edge_lab.server.services import Services

RESOURCE = "chi-edge-lab"
Model = TypeVar("Model", bound=BaseModel)


class EdgeHandler(APIHandler):
    """What all our handlers share: the services, parsing, and errors as `Problem`."""

    auth_resource = RESOURCE

    @property
    def services(self) -> Services:
        """What serves the request."""
        found: Services = self.settings["chi_edge_lab_services"]
        return found

    async def prepare(self) -> None:  # type: ignore[override]
        """Nobody who is not logged in comes further, whatever a handler does before its verb (streamed bodies)."""
        await super().prepare()
        if not self.current_user and self.request.method != "OPTIONS":
            raise web.HTTPError(403)

    def call_for(self, path: dict[str, str]) -> Call:
        """The call that this request is; `path` holds the names of its path, unquoted by Tornado."""
        return Call(
            services=self.services,
            user=str(getattr(self.current_user, "username", "") or ""),
            site=path.get("site", ""),
            project=self.query_values().get("project") or None,
            uuid=path.get("uuid", ""),
        )

    def query_values(self) -> dict[str, Any]:
        """The query's values by name. Bytes that are not UTF-8 (names of files) come through as surrogates."""
        return {
            name: values[-1].decode("utf-8", "surrogateescape")
            for name, values in self.request.query_arguments.items()
        }

    def parse_query(self, model: type[Model]) -> Model:
        """The query as a model. Raises errors.BadInput."""
        return model.model_validate(self.query_values())

    def parse_body(self, model: type[Model]) -> Model:
        """The JSON body as a model; no body is an empty object. Raises errors.BadInput, ValidationError."""
        body = self.request.body
        if len(body) > self.services.limits.body_bytes:
            raise errors.BadInput(f"The body is larger than {self.services.limits.body_bytes} bytes.")
        try:
            value = json.loads(body) if body.strip() else {}
        except (ValueError, RecursionError):
            raise errors.BadInput("The body is not JSON.") from None
        return model.model_validate(value)

    def compute_etag(self) -> str | None:
        """None: what may not be stored need not be compared, and the digest of a long list takes its time."""
        return None

    def answer(self, result: Any, status: int) -> None:
        """Send a model, a Payload, or nothing."""
        self.set_status(status)
        self.set_header("Cache-Control", "no-store")
        if result is None:
            self.update_api_activity()
            self.clear_header("Content-Type")
            web.RequestHandler.finish(self)  # Jupyter's own would say that nothing is JSON
        elif isinstance(result, Payload):
            self.set_header("X-Content-Type-Options", "nosniff")
            if result.file_name:
                self.set_header(
                    "Content-Disposition", f"attachment; filename*=UTF-8''{quote(result.file_name)}"
                )
            self.finish(result.data, set_content_type=result.media_type)
        else:
            self.finish(encode(result))

    def fail(self, error: BaseException) -> None:
        """Send what went wrong."""
        self.clear()
        self.set_status(400 if isinstance(error, ValidationError) else status_of(error))
        if isinstance(error, errors.TooManyRequests) and error.retry_after is not None:
            self.set_header("Retry-After", str(max(1, round(error.retry_after))))
        self.set_header("Cache-Control", "no-store")
        self.finish(encode(problem_of(error)))

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Tornado's and Jupyter's own refusals (403, 404, 405, XSRF) in the same form."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        if isinstance(error, web.HTTPError):
            message = error.log_message or error.reason or ""
            if error.args and error.log_message:
                message = error.log_message % error.args
            problem = Problem(code="refused", message=message or f"The server refused this ({status_code}).")
        else:
            problem = (
                problem_of(error) if error is not None else Problem(code="error", message="It did not work.")
            )
        self.finish(encode(problem))

    async def perform(self, operation: Operation, path: dict[str, str]) -> None:
        """Carry out one operation and answer."""
        assert operation.function is not None
        try:
            call = self.call_for(path)
            arguments: dict[str, Any] = {name: value for name, value in path.items() if name not in IN_CALL}
            if operation.query is not None:
                arguments["query"] = self.parse_query(operation.query)
            if operation.body is not None:
                arguments["body"] = self.parse_body(operation.body)
            if inspect.iscoroutinefunction(operation.function):
                result = await operation.function(call, **arguments)
            else:
                result = await self.services.calls.run(operation.function, call, **arguments)
        except Exception as error:  # noqa: BLE001 - the one place where errors become answers
            self.fail(error)
        else:
            if operation.of_site and operation.method != "GET":
                await poke(call)
            self.answer(result, operation.status)


def handler_for(operations: list[Operation]) -> type[EdgeHandler]:
    """A handler class for all operations of one path."""
    verbs = {operation.method.lower(): _verb(operation) for operation in operations}
    name = "".join(part.title() for part in re.findall(r"\w+", operations[0].path))
    return type(f"{name}Handler", (EdgeHandler,), verbs)


def _verb(operation: Operation) -> Callable[..., Any]:
    async def verb(self: EdgeHandler, **path: str) -> None:
        await self.perform(operation, path)

    return web.authenticated(authorized(operation.action, resource=RESOURCE)(verb))


def unquoted(value: str) -> str:
    """A percent-encoded text with any bytes, which become surrogates where they are not UTF-8."""
    return unquote_to_bytes(value).decode("utf-8", "surrogateescape")
