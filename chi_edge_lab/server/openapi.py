"""The OpenAPI document, made from the operations."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chi_edge_lab import __version__
from chi_edge_lab.server.failures import Problem
from chi_edge_lab.server.operations import PATTERNS, Operation

_REF = "#/components/schemas/{model}"


def openapi(operations: list[Operation]) -> dict[str, Any]:
    """The document for these operations."""
    wanted: list[tuple[type[BaseModel], Any]] = [(Problem, "serialization")]
    for one in operations:
        wanted += [(one.body, "validation")] if one.body else []
        wanted += [(one.reply, "serialization")] if one.reply else []
    references, definitions = models_json_schema(list(dict.fromkeys(wanted)), ref_template=_REF)
    paths: dict[str, Any] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _entry(one, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chi_edge_lab", "version": __version__},
        "servers": [{"url": "/chi-edge-lab/api"}],
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }


def _entry(one: Operation, references: Any) -> dict[str, Any]:
    problem = {"application/json": {"schema": references[Problem, "serialization"]}}
    reply: dict[str, Any] = {"description": one.summary}
    if one.reply is not None:
        reply["content"] = {one.reply_type: {"schema": references[one.reply, "serialization"]}}
    elif one.status != 204:
        reply["content"] = {one.reply_type: {"schema": {"type": "string", "format": "binary"}}}
    entry: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.summary,
        "tags": [one.tag],
        "parameters": [*_path_parameters(one), *_query_parameters(one)],
        "responses": {
            str(one.status): reply,
            "default": {"description": "what went wrong", "content": problem},
        },
    }
    if one.body is not None:
        entry["requestBody"] = {
            "required": any(field.is_required() for field in one.body.model_fields.values()),
            "content": {one.body_type: {"schema": references[one.body, "validation"]}},
        }
    elif one.function is None and one.method in {"PUT", "POST"} and one.body_type:
        entry["requestBody"] = {
            "required": True, "content": {one.body_type: {"schema": {"type": "string", "format": "binary"}}}
        }  # fmt: skip
    return entry


def _path_parameters(one: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{PATTERNS[name]}$"},
        }
        for name in one.path_names
    ]


def _query_parameters(one: Operation) -> list[dict[str, Any]]:
    found = []
    if one.of_site:
        found.append({"name": "project", "in": "query", "required": False, "schema": {"type": "string"}})
    if one.query is not None:
        schema = one.query.model_json_schema(mode="validation")
        required = set(schema.get("required") or [])
        found += [
            {"name": name, "in": "query", "required": name in required, "schema": part}
            for name, part in schema["properties"].items()
        ]
    return found
