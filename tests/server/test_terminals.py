"""Terminals on the real local sites, through the extension's sockets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from chi_edge_lab.core import lifecycle, shell
from chi_edge_lab.zun import Client


class View:
    """A browser's end of a terminal's socket."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.shown = bytearray()
        self.control: list[dict[str, Any]] = []
        self.ended = False

    async def read(self, seconds: float) -> None:
        message = await asyncio.wait_for(self.socket.read_message(), seconds)
        if message is None:
            self.ended = True
        elif isinstance(message, bytes):
            self.shown += message
        else:
            self.control.append(json.loads(message))

    async def until(self, fits: Callable[[], bool], seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not fits():
            if self.ended:
                raise AssertionError(f"the socket ended: {bytes(self.shown[-500:])!r} {self.control}")
            try:
                await self.read(max(0.0, end - time.monotonic()))
            except asyncio.TimeoutError:
                raise AssertionError(
                    f"not within {seconds} s: {bytes(self.shown[-500:])!r} {self.control}"
                ) from None

    async def until_shown(self, text: bytes, seconds: float = 20.0) -> None:
        await self.until(lambda: text in self.shown, seconds)

    async def until_state(self, state: str, seconds: float = 30.0) -> dict[str, Any]:
        def last() -> bool:
            states = [one for one in self.control if one["type"] == "state"]
            return bool(states) and states[-1]["state"] == state

        await self.until(last, seconds)
        return [one for one in self.control if one["type"] == "state"][-1]

    def type(self, text: str | bytes) -> None:
        self.socket.write_message(text.encode() if isinstance(text, str) else text, binary=True)

    def say(self, **message: Any) -> None:
        self.socket.write_message(json.dumps(message))


@pytest.fixture
def view(jp_ws_fetch: Any) -> Any:
    @asynccontextmanager
    async def opened(id: str, **query: Any) -> Any:
        params = {name: str(value) for name, value in query.items()}
        socket = await jp_ws_fetch("chi-edge-lab", "api", "terminals", id, "socket", params=params)
        try:
            yield View(socket)
        finally:
            socket.close()

    return opened


@pytest.fixture
def opened(api: Any, site: str, container: str) -> Any:
    async def open_terminal(**body: Any) -> dict[str, Any]:
        made: dict[str, Any] = await api(
            "POST", "sites", site, "containers", container, "terminals", body=body
        )
        return made

    return open_terminal


async def blocking(function: Any, *args: Any, **kwargs: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, lambda: function(*args, **kwargs))


async def sh(client: Client, uuid: str, script: str) -> str:
    reply = await blocking(shell.run, client, uuid, script)
    return str(reply.output.decode())


async def test_what_is_typed_runs_and_nothing_of_the_set_up_shows(opened: Any, view: Any) -> None:
    terminal = await opened(rows=31, cols=97)
    async with view(terminal["id"]) as seen:
        seen.type("echo $((6*7))-$(stty size | tr ' ' x)-$TERM\n")
        await seen.until_shown(b"42-31x97-xterm-256color")
        assert b"7717" not in seen.shown
        assert b"export" not in seen.shown


async def test_a_reload_finds_it_alive_with_what_it_showed(opened: Any, view: Any, api: Any) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type("x=kept; echo first-$((1+1))\n")
        await seen.until_shown(b"first-2")
        place = len(seen.shown)
    async with view(terminal["id"]) as again:
        await again.until_shown(b"first-2")
        again.type("echo $x-again\n")
        await again.until_shown(b"kept-again")
    async with view(terminal["id"], offset=place) as resumed:
        await resumed.until_shown(b"kept-again")
        assert b"first-2" not in resumed.shown
    (listed,) = [one for one in (await api("GET", "terminals"))["terminals"] if one["id"] == terminal["id"]]
    assert listed["state"] == "open"


async def test_two_readers_see_the_same(opened: Any, view: Any) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as one, view(terminal["id"]) as two:
        one.type("echo both-$((2+3))\n")
        await one.until_shown(b"both-5")
        await two.until_shown(b"both-5")


async def test_a_new_size_reaches_what_runs_without_typing_into_it(opened: Any, view: Any) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        # not in the interactive shell itself, which is not in the foreground while something runs
        script = "trap 'stty size | tr \" \" x' WINCH; echo rea''dy; while :; do sleep 0.1; done"
        seen.type(f"cat >/tmp/w.sh <<'.'\n{script}\n.\nsh /tmp/w.sh\n")
        await seen.until_shown(b"ready")
        for cols in range(60, 101, 10):
            seen.say(type="size", rows=44, cols=cols)
        await seen.until_shown(b"44x100")
        assert b"stty rows" not in seen.shown
        await seen.until(lambda: any(one.get("cols") == 100 for one in seen.control))
        seen.type(b"\x03")


async def test_a_shell_that_ends_says_so_and_its_socket_closes(opened: Any, view: Any, api: Any) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type("exit 7\n")
        state = await seen.until_state("closed")
        assert "ended" in state["message"]
        await seen.until(lambda: seen.ended)
    assert (await api("GET", "terminals", terminal["id"]))["state"] == "closed"


async def test_a_closed_terminal_leaves_no_process(
    opened: Any, view: Any, api: Any, site_client: Client, container: str
) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type("trap '' INT HUP TERM; echo rea''dy; sleep 4321\n")
        await seen.until_shown(b"ready")
        assert "sleep 4321" in await sh(site_client, container, "ps")
        await api("DELETE", "terminals", terminal["id"], status=204)
    for _ in range(50):
        left = await sh(site_client, container, "ps")
        if "4321" not in left:
            break
        await asyncio.sleep(0.1)
    assert "4321" not in left
    await api("GET", "terminals", terminal["id"], status=404)


async def test_a_lost_connection_gives_a_new_shell_and_says_so(opened: Any, view: Any, services: Any) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type("echo be''fore\n")
        await seen.until_shown(b"before")
        # the connection to the site breaks under it
        services.terminals.get(terminal["id"]).terminal._socket._ws.sock.shutdown(2)
        await seen.until_shown(b"This is a new shell")
        seen.type("echo af''ter\n")
        await seen.until_shown(b"after")
        assert "reconnecting" in [one.get("state") for one in seen.control]


async def test_a_container_that_stops_says_so(
    opened: Any, view: Any, site_client: Client, container: str
) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type("echo rea''dy\n")
        await seen.until_shown(b"ready")
        await blocking(lifecycle.stop, site_client, container)
        state = await seen.until_state("closed")
        assert "container" in state["message"]


async def test_a_container_that_is_deleted_says_so(
    opened: Any, view: Any, site_client: Client, container: str
) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type("echo rea''dy\n")
        await seen.until_shown(b"ready")
        await blocking(lifecycle.delete, site_client, container)
        state = await seen.until_state("closed")
        assert "container" in state["message"]


async def test_a_frame_that_is_too_large_closes_the_socket_and_not_the_terminal(
    opened: Any, view: Any, api: Any
) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type(b"x" * ((4 << 20) + 1))
        await seen.until(lambda: seen.ended)
    assert (await api("GET", "terminals", terminal["id"]))["state"] == "open"


async def test_a_megabyte_is_pasted_whole(
    opened: Any, view: Any, site_client: Client, container: str
) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type(
            "stty raw -echo; echo rea''dy; head -c 1048576 | sha256sum > /tmp/sum; stty sane; echo do''ne\n"
        )
        await seen.until_shown(b"ready")
        await asyncio.sleep(0.3)  # `head` reads: what came before it would be the shell's
        seen.type(b"0123456789abcdef" * 65536)
        await seen.until_shown(b"done", 60)
    import hashlib

    wanted = hashlib.sha256(b"0123456789abcdef" * 65536).hexdigest()
    assert (await sh(site_client, container, "cat /tmp/sum")).split()[0] == wanted


async def test_a_reader_that_stalls_stops_the_writer(opened: Any, view: Any, services: Any) -> None:
    terminal = await opened()
    session = services.terminals.get(terminal["id"])
    async with view(terminal["id"]) as seen:
        seen.say(type="flow")
        seen.type("yes\n")
        await seen.until(lambda: len(seen.shown) > 100_000)
        last = -1
        while session.scrollback.end != last:  # it comes to a stop
            last = session.scrollback.end
            await asyncio.sleep(0.5)
        assert last - len(seen.shown) < 4 << 20
        seen.say(type="ack", offset=last)
        await seen.until(lambda: session.scrollback.end > last)
        seen.type(b"\x03")


@pytest.mark.parametrize(
    "message", ["no json", "[]", '{"type":"fly"}', '{"type":"size","rows":"x","cols":1}', "{}"]
)
async def test_nonsense_is_answered_and_the_terminal_stays(opened: Any, view: Any, message: str) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.socket.write_message(message)
        await seen.until(lambda: any(one["type"] == "problem" for one in seen.control))
        seen.say(type="size", rows=-5, cols=100_000)
        seen.type("echo al''ive\n")
        await seen.until_shown(b"alive")


async def test_a_recording_holds_what_was_shown(opened: Any, view: Any, api: Any) -> None:
    terminal = await opened()
    await api("PUT", "terminals", terminal["id"], "recording", body={"on": True})
    async with view(terminal["id"]) as seen:
        seen.type("echo rec''orded é\n")
        await seen.until_shown("recorded é".encode())
    await api("PUT", "terminals", terminal["id"], "recording", body={"on": False})
    (entry,) = (await api("GET", "recordings"))["recordings"]
    header, *events = (await api("GET", "recordings", entry["id"])).decode().splitlines()
    assert json.loads(header)["version"] == 2
    assert "recorded é" in "".join(json.loads(line)[2] for line in events)
    await api("DELETE", "recordings", entry["id"], status=204)
    await api("GET", "recordings", "..%2F..%2Fetc", status=404)


async def test_there_are_no_more_than_may_be(
    opened: Any, services: Any, api: Any, site: str, container: str
) -> None:
    services.limits.terminals = 1
    await opened()
    problem = await api("POST", "sites", site, "containers", container, "terminals", body={}, status=429)
    assert "limit" in problem["message"]


async def test_shells_that_have_ended_keep_no_place(opened: Any, view: Any, services: Any, api: Any) -> None:
    services.limits.terminals = 1
    first = await opened()
    async with view(first["id"]) as seen:
        seen.type("exit\n")
        await seen.until_state("closed")
    for _ in range(100):
        if not (await api("GET", "terminals", first["id"]))["readers"]:
            break
        await asyncio.sleep(0.02)
    second = await opened()
    assert [one["id"] for one in (await api("GET", "terminals"))["terminals"]] == [second["id"]]


async def test_an_idle_one_is_closed(opened: Any, services: Any, api: Any) -> None:
    services.limits.terminal_idle = 0.4
    terminal = await opened()
    for _ in range(100):
        if terminal["id"] not in [one["id"] for one in (await api("GET", "terminals"))["terminals"]]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it is still open")


async def test_command_and_user_are_chosen_where_the_site_can(
    opened: Any, view: Any, api: Any, site: str, container: str
) -> None:
    body = {"command": "cat"}
    if site == "local":
        problem = await api(
            "POST", "sites", site, "containers", container, "terminals", body=body, status=409
        )
        assert "CHI@Edge" in problem["message"]
        return
    terminal = await opened(**body)
    async with view(terminal["id"]) as seen:
        seen.type("meow\n")
        await seen.until(lambda: seen.shown.count(b"meow") == 2)


async def test_an_unknown_terminal_is_not_there(view: Any) -> None:
    with pytest.raises(HTTPClientError) as refused:
        async with view("nosuch"):
            pass
    assert refused.value.code == 404


async def test_a_slow_second_reader_is_told_what_it_missed(
    opened: Any, view: Any, services: Any, api: Any
) -> None:
    services.limits.terminal_high, services.limits.terminal_low = 64 << 10, 16 << 10
    terminal = await opened()
    session = services.terminals.get(terminal["id"])
    async with view(terminal["id"]) as quick, view(terminal["id"]) as slow:
        slow.say(type="flow")  # and never acknowledges
        quick.type("yes 0123456789 | head -c 9000000; echo do''ne\n")
        await quick.until_shown(b"done", 60)
        assert session.scrollback.start > 0
        while b"done" not in slow.shown:
            await slow.read(10)
            missed = sum(one["bytes"] for one in slow.control if one["type"] == "missed")
            slow.say(type="ack", offset=missed + len(slow.shown))
        assert missed > 1 << 20
        assert [one["type"] for one in slow.control].count("missed") == 1
        listed = await api("GET", "terminals", terminal["id"])
        assert listed["readers"] == 2
        while missed + len(slow.shown) < session.scrollback.end:
            await slow.read(10)
        assert missed + len(slow.shown) == session.scrollback.end


async def test_no_shell_is_said_at_once(api: Any, site: str, site_client: Client, container: str) -> None:
    where = ("sites", site, "containers", container, "terminals")
    await sh(site_client, container, "/bin/busybox mv /bin/sh /bin/hidden")
    try:
        problem = await api("POST", *where, body={}, status=409)
        assert problem["code"] == "no-shell"
        assert "no shell" in problem["message"]
    finally:
        await blocking(site_client.execute, container, "/bin/busybox mv /bin/hidden /bin/sh")


async def test_a_paste_that_nobody_reads_is_held_and_ends_with_the_terminal(
    opened: Any, view: Any, api: Any
) -> None:
    terminal = await opened()
    async with view(terminal["id"]) as seen:
        seen.type("stty raw -echo; echo rea''dy; sleep 4321\n")
        await seen.until_shown(b"ready")
        for _ in range(3):
            seen.type(b"x" * (4 << 20))
        await seen.until(lambda: any(one["type"] == "problem" for one in seen.control))
        await api("GET", "status")
        await asyncio.wait_for(api("DELETE", "terminals", terminal["id"], status=204), 20)
