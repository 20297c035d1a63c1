"""The OpenAPI document is valid, and is the list of what the server answers, neither more nor less."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from pydantic import BaseModel
from tornado.websocket import WebSocketHandler

from chi_edge_lab.server.feeds.topics import TOPICS
from chi_edge_lab.server.openapi import openapi
from chi_edge_lab.server.operations import HANDLERS, Operation
from chi_edge_lab.server.routes import PREFIX, load_operations, pattern_of, routes

OPERATIONS = load_operations()
DOCUMENT = openapi(OPERATIONS)


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from ([part["$ref"]] if isinstance(part.get("$ref"), str) else [])
        part = list(part.values())
    for one in part if isinstance(part, list) else []:
        yield from references(one)


def test_the_document_is_valid_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for entry in entries():
        for parameter in entry["parameters"]:
            jsonschema.Draft202012Validator.check_schema(parameter["schema"])


def test_every_reference_leads_somewhere() -> None:
    for reference in set(references(DOCUMENT)):
        place: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def entries() -> list[dict[str, Any]]:
    return [entry for path in DOCUMENT["paths"].values() for entry in path.values()]


def test_each_operation_has_an_id_of_its_own_and_says_what_it_does() -> None:
    ids = [entry["operationId"] for entry in entries()]
    assert len(ids) == len(set(ids)) == len(OPERATIONS)
    for entry in entries():
        assert entry["summary"].endswith("."), entry["operationId"]
        assert {"400", "403", "default"} <= set(entry["responses"])
    assert {entry["tags"][0] for entry in entries()} == {tag["name"] for tag in DOCUMENT["tags"]}


@pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: f"{one.method} {one.path}")
def test_each_operation_is_a_route(one: Operation) -> None:
    handlers = [handler for pattern, handler in routes() if pattern == pattern_of(one.path)]
    assert len(handlers) == 1, "the first one would hide the others"
    assert one.method.lower() in vars(handlers[0]), f"{handlers[0].__name__} has no {one.method}"


def test_each_route_is_in_the_document() -> None:
    documented = {pattern_of(one.path): set() for one in OPERATIONS}
    for one in OPERATIONS:
        documented[pattern_of(one.path)].add(one.method.lower())
    for pattern, handler in routes():
        assert pattern.startswith(PREFIX)
        if issubclass(handler, WebSocketHandler):
            continue
        answered = {verb for verb in ("get", "post", "put", "patch", "delete") if verb in vars(handler)}
        assert answered == documented.get(pattern), pattern


def test_each_socket_is_described() -> None:
    sockets = [path for path, handler in HANDLERS if issubclass(handler, WebSocketHandler)]
    assert "/events" in sockets
    for path in sockets:
        assert re.search(rf"`{re.escape(path)}`", DOCUMENT["info"]["description"]), path


def test_each_topic_is_described_and_has_its_request() -> None:
    assert {"containers", "container"} <= set(TOPICS)
    for name, topic in TOPICS.items():
        assert f"- `{name}` (" in DOCUMENT["info"]["description"]
        assert topic.request.__name__ in DOCUMENT["components"]["schemas"]
    assert {"Subscribe", "Unsubscribe"} <= set(DOCUMENT["components"]["schemas"])


def test_models_that_queries_refer_to_are_in_the_document() -> None:
    class Part(BaseModel):
        low: int = 0

    class Query(BaseModel):
        part: Part | None = None
        name: str

    async def nothing(call: Any, query: Query) -> None:
        """Nothing."""

    one = Operation("GET", "/x", "read", nothing, "x", "Nothing.", "x", 204, query=Query)
    document = openapi([one])
    schemathesis.openapi.from_dict(document).validate()
    assert {"Part", "Problem"} <= set(document["components"]["schemas"])
    assert "Query" not in document["components"]["schemas"]
    parameters = {entry["name"]: entry for entry in document["paths"]["/x"]["get"]["parameters"]}
    assert parameters["name"]["required"]
    assert {"$ref": "#/components/schemas/Part"} in parameters["part"]["schema"]["anyOf"]


def test_it_is_printed_the_same_each_time() -> None:
    command = [sys.executable, "-W", "error", "-m", "chi_edge_lab.server.openapi"]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in "ab")
    assert first == second
    assert json.loads(first) == json.loads(json.dumps(DOCUMENT))


async def test_the_server_serves_it(api: Any) -> None:
    assert await api("GET", "openapi.json") == json.loads(json.dumps(DOCUMENT))
