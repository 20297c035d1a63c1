"""What people did is told to jupyter_events, by the schemas in server/events, and nothing else is."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml
from jupyter_events import EventLogger

from chi_edge_lab.server.audit import SCHEMAS, Audit, schema_id
from chi_edge_lab.server.sites import SiteClients
from tests.server.asking import Raw
from tests.server.journey import SECRET, Journey

EVENTS = ["container-create", "container-delete", "download", "exec", "terminal-open", "upload"]
UUID = "01234567-89ab-cdef-0123-456789abcdef"
FACTS: dict[str, dict[str, Any]] = {
    "container-create": {"name": "box", "image": "busybox"},
    "container-delete": {"name": "box"},
    "download": {"name": "box", "path": "/tmp/b\udcff", "bytes": 12, "outcome": "ok"},
    "exec": {"name": "box", "command": "ls -l"},
    "terminal-open": {"name": "box", "terminal": "7", "command": "sh"},
    "upload": {"name": "box", "path": "/tmp/a", "bytes": None, "outcome": "cancelled"},
}


def call(**changes: Any) -> Any:
    services = SimpleNamespace(sites=SiteClients())
    facts = {"user": "ada", "site": "local", "project": None, "uuid": UUID, "services": services, **changes}
    return SimpleNamespace(**facts)


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.threads: set[int] = set()

    async def __call__(self, logger: Any, schema_id: str, data: dict[str, Any]) -> None:
        self.heard.append((schema_id, data))
        self.threads.add(threading.get_ident())


@pytest.fixture
def told() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(told: io.StringIO) -> EventLogger:
    return EventLogger(handlers=[logging.StreamHandler(told)])


def test_the_schemas_are_the_events_and_are_closed() -> None:
    found = {path.stem: yaml.safe_load(path.read_text()) for path in SCHEMAS.glob("*.yaml")}
    assert sorted(found) == EVENTS
    for name, schema in found.items():
        jsonschema.Draft7Validator.check_schema(schema)
        assert schema["$id"] == schema_id(name)
        assert schema["additionalProperties"] is False
        assert not {"environment", "env", "output", "stdin"} & set(schema["properties"])
        assert all(one.get("description") for one in schema["properties"].values())


@pytest.mark.parametrize("event", EVENTS)
async def test_an_event_reaches_handlers_and_listeners_from_any_thread(
    event: str, logger: EventLogger, told: io.StringIO
) -> None:
    audit, ear = Audit(logger), Ear()
    audit.start()
    logger.add_listener(schema_id=schema_id(event), listener=ear)
    audit.emit(event, call(), FACTS[event])
    await asyncio.to_thread(audit.emit, event, call(user="bob", project="class"), FACTS[event])
    while len(ear.heard) < 2:
        await asyncio.sleep(0)
    assert [data["user"] for _, data in ear.heard] == ["ada", "bob"]
    assert ear.threads == {threading.get_ident()}  # listeners run on the loop alone
    lines = [json.loads(line) for line in told.getvalue().splitlines()]
    assert [one["project"] for one in lines] == [None, "class"]
    wanted = {**FACTS[event], "uuid": UUID, "site": "local"}
    if "path" in wanted:
        wanted["path"] = wanted["path"].replace("\udcff", "\\xff")
    assert all(wanted.items() <= one.items() for one in lines)


async def test_what_the_schema_does_not_name_is_not_told(logger: EventLogger, told: io.StringIO) -> None:
    audit = Audit(logger)
    audit.start()
    secrets = {"environment": {"KEY": "hunter2"}, "output": "hunter2"}
    audit.emit("exec", call(), {"command": ["mysql", "--password", "hunter2"], **secrets})
    audit.emit("exec", call(), {"command": ["sh", "-c", "PASSWORD=hunter2 run; x --token=hunter2"]})
    audit.emit("exec", call(), {"command": "mysql --password 'hunter2' -e x"})
    audit.emit("exec", call(), {"command": "mysql --password=hunter2 -e 'it does not end"})
    assert told.getvalue().count("\n") == 4
    assert "hunter2" not in told.getvalue()
    assert "mysql" in told.getvalue()


async def test_a_long_command_and_odd_text_are_told_in_short(logger: EventLogger, told: io.StringIO) -> None:
    audit = Audit(logger)
    audit.start()
    audit.emit("exec", call(), {"command": ["x" * 2_000_000] * 500})
    audit.emit("upload", call(), {"path": "/tmp/\ud800"})
    first, second = told.getvalue().splitlines()
    assert len(first) < 10_000
    assert json.loads(second)["path"] == "/tmp/\\ud800"


@pytest.mark.parametrize("broken", ["modifier", "data", "event", "user"])
async def test_what_cannot_be_told_fails_nothing_and_is_said_once(
    broken: str, logger: EventLogger, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(logger)
    audit.start()

    def fail(schema_id: str, data: dict[str, Any]) -> dict[str, Any]:
        raise RuntimeError("no; password=hunter2")

    if broken == "modifier":
        logger.add_modifier(schema_id=schema_id("exec"), modifier=fail)
    event = "unheard-of" if broken == "event" else "exec"
    who = call(user=7) if broken == "user" else call()
    for _ in range(3):
        audit.emit(event, who, {"command": 7 if broken == "data" else ["ls"]})
    await asyncio.to_thread(audit.emit, event, who, {"command": 7 if broken == "data" else ["ls"]})
    await asyncio.sleep(0)
    said = [one.getMessage() for one in caplog.records if one.name == "chi_edge_lab.server.audit"]
    assert len(said) == 1
    assert event in said[0]
    assert "hunter2" not in said[0]


async def test_after_the_loop_has_ended_nothing_fails(
    logger: EventLogger, caplog: pytest.LogCaptureFixture
) -> None:
    audit = Audit(logger)

    async def begin() -> None:
        audit.start()

    await asyncio.to_thread(asyncio.run, begin())
    await asyncio.to_thread(audit.emit, "exec", call(), {"command": ["ls"]})
    assert "could not be told" in caplog.text


def test_without_an_event_logger_it_does_nothing() -> None:
    Audit(None).emit("exec", call(), FACTS["exec"])


async def test_a_jupyter_server_knows_the_events(jp_serverapp: Any, api: Any) -> None:
    assert {schema_id(event) for event in EVENTS} <= set(jp_serverapp.event_logger.schemas.schema_ids)


async def test_a_whole_journey_is_told(
    jp_serverapp: Any,
    http_server_client: Any,
    jp_base_url: str,
    jp_auth_header: dict[str, str],
    site: str,
    unique: str,
) -> None:
    ear = Ear()
    for event in EVENTS:
        jp_serverapp.event_logger.add_listener(schema_id=schema_id(event), listener=ear)
    journey = Journey(Raw(http_server_client, jp_base_url), jp_auth_header, site)
    await journey.make(unique)
    await journey.work()
    await journey.leave()
    await journey.until("/status", lambda _: len({name for name, _ in ear.heard}) == len(EVENTS))
    told = {event: [data for name, data in ear.heard if name == schema_id(event)] for event in EVENTS}
    for facts in (one for kind in told.values() for one in kind):
        assert (facts["site"], facts["uuid"], facts["name"]) == (site, journey.uuid, unique)
        assert facts["user"]
    assert [one["image"] for one in told["container-create"]] == ["busybox"]
    assert [one["command"] for one in told["exec"]] == ["echo hello", "sleep 600"]
    assert told["terminal-open"][0]["terminal"] == journey.ids["terminals"]
    assert [(one["path"], one["bytes"], one["outcome"]) for one in told["upload"]] == [
        ("/tmp/up.txt", 5, "ok")
    ]
    assert {(one["path"], one["bytes"], one["outcome"]) for one in told["download"]} == {
        ("/tmp/up.txt", 5, "ok")
    }
    assert len(told["container-delete"]) == 1
    assert SECRET not in json.dumps(ear.heard)
