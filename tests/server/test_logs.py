"""Logs over the server: pages, search, download and the topic, on real sites."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from chi_edge_lab import sites
from chi_edge_lab.core import create, lifecycle
from chi_edge_lab.zun import Client, client_for
from tests.server.events import Events

LINES = 2000
SCRIPT = (
    f"i=0;while [ $i -lt {LINES} ];do i=$((i+1));echo line $i;done;"
    "sleep 0.2;echo ERROR it broke >&2;sleep 0.2;printf '\\033[31mred\\033[0m <b>\\n';"
    "trap 'exit 0' TERM;while :;do if [ -e /tmp/more ];then cat /tmp/more;rm /tmp/more;fi;sleep 0.05;done"
)


@pytest.fixture
def connect(jp_ws_fetch: Any) -> Callable[[], Any]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Events]:
        socket = await jp_ws_fetch("chi-edge-lab", "api", "events")
        try:
            yield Events(socket)
        finally:
            socket.close()

    return opened


def client_of(site: str) -> Client:
    return client_for(sites.login(site))


async def blocking(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs))


@pytest.fixture
def talker(site: str, unique: str) -> Iterator[tuple[Client, str]]:
    """A container that has printed LINES + 2 lines and prints what is put in /tmp/more."""
    client = client_of(site)
    made = create.create(client, name=unique, image="busybox", command=["sh", "-c", SCRIPT], timeout=60)
    yield client, made.uuid
    lifecycle.delete(client, made.uuid)


def texts(lines: list[list[Any]]) -> list[str]:
    return [line[3] for line in lines]


async def printed(api: Any, site: str, uuid: str) -> dict[str, Any]:
    """The last page, when the container has printed all."""
    page: dict[str, Any] = {}
    for _ in range(40):
        page = await api("GET", "sites", site, "containers", uuid, "logs")
        if page["lines"] and "red" in page["lines"][-1][3]:
            return page
        await asyncio.sleep(0.6)
    raise AssertionError(f"it has not printed all: {page['lines'][-3:]} {page['problem']}")


async def test_pages_search_and_download(api: Any, site: str, talker: tuple[Client, str]) -> None:
    _, uuid = talker
    log = ("sites", site, "containers", uuid, "logs")
    page = await printed(api, site, uuid)
    assert texts(page["lines"])[-3:] == [f"line {LINES}", "ERROR it broke", "\x1b[31mred\x1b[0m <b>"]
    assert len(page["lines"]) == 500
    assert page["next"] - page["first"] == LINES + 2
    assert page["lines"][-2][5] == "error"

    before = await api("GET", *log, before=page["lines"][0][0], limit=100)
    assert [line[0] for line in before["lines"]] == list(
        range(page["lines"][0][0] - 100, page["lines"][0][0])
    )
    after = await api("GET", *log, after=page["first"], limit=3, timestamps=False)
    assert [(line[1], line[3]) for line in after["lines"]] == [
        ("", "line 1"), ("", "line 2"), ("", "line 3"),
    ]  # fmt: skip
    since = await api("GET", *log, since=page["lines"][-2][1])
    assert since["lines"][0][0] <= page["lines"][-2][0]
    assert texts(since["lines"])[-1].startswith("\x1b[31m")

    found = await api("GET", *log, "search", query="LINE 19", limit=5)
    assert found["total"] == 111
    assert texts(found["lines"]) == ["line 19", "line 190", "line 191", "line 192", "line 193"]
    following = await api("GET", *log, "search", query="LINE 19", limit=5, cursor=found["cursor"])
    assert texts(following["lines"])[0] == "line 194"
    last = await api("GET", *log, "search", query=r"^line \d9$", regex=True, backward=True, limit=2)
    assert texts(last["lines"]) == ["line 89", "line 99"]
    assert (await api("GET", *log, "search", query="red <", limit=1))["total"] == 1
    assert (await api("GET", *log, "search", level="error"))["total"] == 1
    assert (await api("GET", *log, "search", query="line", inverse=True))["total"] == 2
    assert (await api("GET", *log, "search", query="line 7", word=True))["total"] == 1
    hostile = await api("GET", *log, "search", query="(a|a|b?)*(l+)+(i+)+(.*)*x$", regex=True)
    assert hostile["total"] == 0
    assert (await api("GET", *log, "search", query="(", regex=True, status=400))["code"] == "bad-input"
    assert (await api("GET", *log, since="yesterday", status=400))["code"] == "bad-input"

    text = (await api("GET", *log, "download")).decode()
    assert text.splitlines()[: LINES + 1] == [*(f"line {n}" for n in range(1, LINES + 1)), "ERROR it broke"]
    stamped = (await api("GET", *log, "download", timestamps=True)).decode()
    assert stamped.splitlines()[0].endswith("Z line 1")


async def test_a_container_that_is_not_there(api: Any, site: str) -> None:
    nobody = "00000000-0000-4000-8000-000000000000"
    await api("GET", "sites", site, "containers", nobody, "logs", status=404)
    await api("GET", "sites", site, "containers", nobody, "logs", "download", status=404)


async def test_the_topic_follows_through_a_restart_to_the_end(
    api: Any, connect: Any, site: str, talker: tuple[Client, str]
) -> None:
    client, uuid = talker
    await printed(api, site, uuid)
    async with connect() as events:
        events.subscribe(1, "logs", site=site, containers=[uuid], tail=10)
        got: list[list[Any]] = []

        def last_is(text: str) -> Any:
            def fits(message: Any) -> bool:
                return any(line[3] == text for line in message["data"].get("lines", []))

            return fits

        await events.until(1, last_is("ERROR it broke"))
        await blocking(client.execute, uuid, "sh -c 'echo new >/tmp/m;mv /tmp/m /tmp/more'")
        await events.until(1, last_is("new"))
        for message in events.messages[1]:
            got += message["data"].get("lines", [])
        assert texts(got) == [
            *(f"line {n}" for n in range(LINES - 7, LINES + 1)), "ERROR it broke", "\x1b[31mred\x1b[0m <b>", "new",
        ]  # fmt: skip
        assert [line[0] for line in got] == list(range(got[0][0], got[0][0] + len(got)))

        # only docker tells
        assert got[-1][2] == ("stdout" if site == "local-zun" else None)

        events.messages.clear()
        await blocking(lifecycle.restart, client, uuid)
        await events.until(1, last_is("ERROR it broke"), 40)
        again = [line for message in events.messages[1] for line in message["data"].get("lines", [])]
        assert next(text for text in texts(again) if text.startswith("line")) == "line 1"
        assert len([text for text in texts(again) if text.startswith("line ")]) == LINES
        assert [line[5] for line in again].count("incarnation") == (0 if site == "local-zun" else 1)

        await blocking(lifecycle.delete, client, uuid)
        end = await events.until(1, "error", 20)
        assert end["data"]["code"] == "container-gone"


async def test_thirty_readers_cost_what_one_costs(
    api: Any, connect: Any, site: str, talker: tuple[Client, str], jp_serverapp: Any
) -> None:
    _, uuid = talker
    services = jp_serverapp.web_app.settings["chi_edge_lab_services"]
    async with connect() as events:
        for id in range(30):
            events.subscribe(id, "logs", site=site, containers=[uuid], tail=5)
        for id in range(30):
            await events.until(id, lambda message: message["data"].get("lines"))
        assert len(services.hub) == 1
        assert len(services.logs) == 1


async def test_stopping_leaves_no_file(
    api: Any, site: str, talker: tuple[Client, str], jp_serverapp: Any
) -> None:
    _, uuid = talker
    services = jp_serverapp.web_app.settings["chi_edge_lab_services"]
    await api("GET", "sites", site, "containers", uuid, "logs")
    place = services.data_dir / "logs"
    files = [path for path in place.rglob("*") if path.is_file()]
    assert files
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    await services.logs.stop()
    assert list(place.iterdir()) == []
    json.dumps(await api("GET", "status"))
