"""The OpenAPI document, made from the operations. `python -m chi_edge_lab.server.openapi` prints it."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chi_edge_lab import __version__
from chi_edge_lab.server.failures import Problem
from chi_edge_lab.server.feeds.topics import TOPICS
from chi_edge_lab.server.operations import MESSAGES, PATTERNS, Operation

_REF = "#/components/schemas/{model}"
_BINARY = {"type": "string", "format": "binary"}

DESCRIPTION = """\
Edge containers (OpenStack Zun) behind a Jupyter server. Names of files are bytes: those that are not UTF-8 travel in
JSON as escaped lone surrogates (Python's surrogateescape) and in queries percent-encoded.

Besides these operations there are two kinds of websocket. Both check, in this order, who asks, whether they may, and
whether the thing exists, before they upgrade; both refuse a foreign Origin.

`/events` carries everything that moves, in JSON text frames. The client sends
`{"op": "subscribe", "id": 7, "topic": {"name": "containers", "site": "default", "project": null}, "cursor": null}` and
`{"op": "unsubscribe", "id": 7}`. A frame from the server is an array of messages
`{"id": 7, "type": "snapshot", "cursor": "...", "data": {}}`; `type` is `snapshot`, `gap` (something was lost, and a
snapshot follows), `end`, `error` and `problem` (`data` is a Problem), or the topic's own. After a drop, subscribe again
with the last `cursor`.

`/terminals/{id}/socket` is one terminal: binary frames are its bytes, text frames are small JSON messages (size, state,
exit and the like).

Topics of `/events`:
"""

# what an answer of each status means; the site's own 401 and 5xx come as 424 and 502, as they are not Jupyter's
_PROBLEMS = {
    400: "The request does not fit: the message says where.",
    403: "Not logged in to Jupyter, not allowed, without the XSRF token, or refused by the site.",
    404: "There is no such site, container or thing.",
    409: "Not possible as things are, or not with this site's driver.",
    424: "The login to the site does not work.",
    429: "A limit of this server or of the site is reached; see Retry-After.",
    502: "The site failed or gave no sense.",
    503: "This server has as much to do as its limits allow.",
    504: "The site did not answer in time.",
}
_OF_SITE = (404, 409, 424, 429, 502, 503, 504)


def _description() -> str:
    """The prose, with the topics that there are."""
    lines = []
    for name, topic in sorted(TOPICS.items()):
        text = " ".join((inspect.getdoc(topic.open) or "").split())
        lines.append(f"- `{name}` ({topic.request.__name__}): {text}")
    return DESCRIPTION + "\n".join(lines) + "\n"


def openapi(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document for these operations."""
    wanted: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    wanted += [(one, "validation") for one in MESSAGES]
    wanted += [(topic.request, "validation") for _, topic in sorted(TOPICS.items())]
    for one in operations:
        wanted += [(one.query, "validation")] if one.query else []
        wanted += [(one.body, "validation")] if one.body else []
        wanted += [(one.reply, "serialization")] if one.reply else []
    references, found = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    schemas: dict[str, Any] = found.get("$defs", {})
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _entry(one, references, schemas)
    for one in operations:
        _drop_unused(one, references, schemas, paths)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chi_edge_lab", "version": __version__, "description": _description()},
        "servers": [{"url": "/chi-edge-lab/api", "description": "below the Jupyter server's base URL"}],
        "security": [{"token": []}],
        "tags": _tags(operations),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                str(status): {"description": text, "content": _json(references[Problem, "serialization"])}
                for status, text in _PROBLEMS.items()
            },
            "securitySchemes": {
                "token": {
                    "type": "apiKey", "in": "header", "name": "Authorization",
                    "description": "`token <Jupyter's token>`. A browser uses Jupyter's cookies instead, and sends "
                    "the value of the cookie _xsrf as X-XSRFToken with all but GET.",
                }
            },
        },
    }  # fmt: skip


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _entry(one: Operation, references: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    reply: dict[str, Any] = {"description": one.summary}
    if one.reply is not None:
        reply["content"] = {one.reply_type: {"schema": references[one.reply, "serialization"]}}
    elif one.reply_type:
        reply["content"] = {one.reply_type: {"schema": _plain_schema(one.reply_type)}}
    statuses = sorted({400, 403, *(_OF_SITE if one.of_site else (404, 409, 429) if one.path_names else ())})
    entry: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "tags": [one.tag],
        "parameters": [*_path_parameters(one), *_query_parameters(one, references, schemas)],
        "responses": {
            str(one.status): reply,
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses},
            "default": {
                "description": "Something else went wrong.",
                "content": _json(references[Problem, "serialization"]),
            },
        },
        # not of OpenAPI: what Jupyter's authorizer is asked for, of the resource chi-edge-lab
        "x-action": one.action,
    }
    text = inspect.cleandoc(one.function.__doc__ or "") if one.function else ""
    if "\n" in text:
        entry["description"] = text
    if one.body is not None:
        entry["requestBody"] = {
            "required": any(field.is_required() for field in one.body.model_fields.values()),
            "content": {one.body_type: {"schema": references[one.body, "validation"]}},
        }
    elif one.function is None and one.method in {"PUT", "POST"} and one.body_type:
        entry["requestBody"] = {
            "required": True,
            "content": {one.body_type: {"schema": _plain_schema(one.body_type)}},
        }
    return entry


def _plain_schema(media_type: str) -> dict[str, Any]:
    """The schema of what has no model."""
    if "json" in media_type:
        return {"type": "object"}
    return {"type": "string"} if media_type.startswith("text/") else dict(_BINARY)


def _path_parameters(one: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{PATTERNS[name]}$"}}
        for name in one.path_names
    ]  # fmt: skip


def _query_parameters(one: Operation, references: Any, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    if one.of_site:
        found.append(
            {
                "name": "project",
                "in": "query",
                "required": False,
                "schema": {"type": "string"},
                "description": "The project's name; the credentials' own where it is left out.",
            }
        )
    if one.query is not None:
        schema = schemas[_name(references[one.query, "validation"])]
        required = set(schema.get("required") or [])
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": part}
            for name, part in schema.get("properties", {}).items()
        ]
    return found


def _name(reference: dict[str, str]) -> str:
    return reference["$ref"].rpartition("/")[2]


def _drop_unused(one: Operation, references: Any, schemas: dict[str, Any], paths: dict[str, Any]) -> None:
    """A query's model is told as parameters: as a component it would be there twice."""
    if one.query is None:
        return
    reference = references[one.query, "validation"]
    if reference["$ref"] not in set(_references([schemas, paths])):
        schemas.pop(_name(reference), None)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _references(one)


def _tags(operations: Sequence[Operation]) -> list[dict[str, str]]:
    """Each tag with the first line of its module's docstring, where it is a module's."""
    described = {
        one.tag: _first_line(one.function.__module__) for one in operations if one.function is not None
    }
    names = sorted({one.tag for one in operations})
    return [{"name": name, "description": described.get(name, "")} for name in names]


def _first_line(module: str) -> str:
    return (inspect.getdoc(importlib.import_module(module)) or "").partition("\n")[0]


def main() -> None:
    """Print the document of all operations, the same each time."""
    from chi_edge_lab.server.routes import load_operations

    json.dump(openapi(load_operations()), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
