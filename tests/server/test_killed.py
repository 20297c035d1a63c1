"""kill -9 of the Jupyter server in mid-transfer: nothing half under a final name, and the next start cleans up."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.labserver import LabServer
from tests.server.transferring import Room

SIZE = 64 << 20


@pytest.fixture
def room(site: str, unique: str) -> Iterator[Room]:
    made = Room(site, unique)
    made.sh("mkdir -p /data")
    yield made
    made.delete()


@pytest.fixture
def server(tmp_path: Path, edge_home: Path) -> Iterator[LabServer]:
    made = LabServer(tmp_path, env={"CHI_EDGE_LAB_HOME": str(edge_home)})
    yield made
    made.stop()


def soon(look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `look` gives as soon as that is true."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end
        time.sleep(0.01)


def spool(server: LabServer) -> list[Path]:
    return [path for path in server.directory.glob("data/chi-edge-lab/spool/*/*") if path.name != "lock"]


def begin(server: LabServer, room: Room, **body: Any) -> str:
    return str(server.api("POST", "/".join(room.path) + "/transfers", body)["id"])


def put(server: LabServer, id: str, size: int, sent: int) -> None:
    """The first `sent` bytes of a body of `size`; hangs up when the server does."""
    parts = urlsplit(server.url)
    # the server may be killed meanwhile
    with suppress(OSError), closing(HTTPConnection("127.0.0.1", parts.port or 80, timeout=60)) as connection:
        connection.putrequest("PUT", f"{parts.path}chi-edge-lab/api/transfers/{id}/content")
        connection.putheader("Authorization", f"token {server.token}")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        piece = b"x" * (1 << 20)
        for _ in range(sent >> 20):
            connection.send(piece)
        connection.getresponse().read()


def state(server: LabServer, id: str) -> Any:
    return server.api("GET", f"transfers/{id}")


def test_killed_while_the_container_receives(server: LabServer, room: Room) -> None:
    id = begin(server, room, direction="upload", path="/data", name="big", files=[{"size": SIZE}])
    put(server, id, SIZE, SIZE)
    soon(lambda: state(server, id)["state"] == "sending" and room.leftovers())
    server.kill()
    assert room.sh("ls /data") == b""
    assert spool(server)
    server.start()
    soon(lambda: not room.leftovers())
    soon(lambda: not spool(server))
    assert room.sh("ls -A /data") == b""
    assert server.api("GET", "transfers")["transfers"] == []


def test_killed_while_the_server_receives(server: LabServer, room: Room) -> None:
    id = begin(server, room, direction="upload", path="/data", name="big", files=[{"size": SIZE}])
    # it hangs up with the server
    sender = threading.Thread(target=put, args=(server, id, SIZE, SIZE // 2))
    sender.start()
    soon(lambda: state(server, id)["received"][0]["received"] >= SIZE // 4)
    server.kill()
    sender.join()
    server.start()
    soon(lambda: not spool(server))
    assert room.sh("ls -A /data") == b""


def test_killed_while_the_container_sends(server: LabServer, room: Room) -> None:
    room.sh(f"dd if=/dev/zero of=/data/big bs=1M count={SIZE >> 20} 2>/dev/null")
    id = begin(server, room, direction="download", paths=["/data/big"])
    soon(lambda: state(server, id)["done"])
    server.kill()
    assert spool(server)
    server.start()
    soon(lambda: not spool(server))
    assert room.leftovers() == b""
    assert [path.name for path in (server.directory / "root").iterdir()] == []


def test_killed_while_the_browser_receives(server: LabServer, room: Room) -> None:
    room.sh(f"dd if=/dev/zero of=/data/big bs=1M count={SIZE >> 20} 2>/dev/null")
    address = f"{server.url}chi-edge-lab/api/{'/'.join(room.path)}/files/content?path=/data/big"
    request = urllib.request.Request(address, headers={"Authorization": f"token {server.token}"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as reply:
        assert reply.headers["Content-Length"] == str(SIZE)
        assert len(reply.read(1 << 20)) == 1 << 20
        server.kill()
        received = 1 << 20
        with suppress(OSError):
            while data := reply.read(1 << 20):
                received += len(data)
        assert received < SIZE  # fewer than Content-Length: a browser keeps it as a failed download
    server.start()
    assert room.leftovers() == b""


def test_a_living_servers_transfers_are_left_alone(server: LabServer, room: Room, edge_home: Path) -> None:
    id = begin(server, room, direction="upload", path="/data", name="kept", files=[{"size": 4 << 20}])
    put(server, id, 2 << 20, 2 << 20)
    assert state(server, id)["received"][0]["received"] == 2 << 20
    other = LabServer(
        server.directory / "other",
        env={"CHI_EDGE_LAB_HOME": str(edge_home)},
        options=(f"--EdgeLab.data_directory={server.directory / 'data' / 'chi-edge-lab'}",),
    )
    try:
        assert json.dumps(other.api("GET", "transfers")) == '{"transfers": []}'
        assert len(list(server.directory.glob("data/chi-edge-lab/spool/*/lock"))) == 2
        status, _ = server.request("PUT", f"transfers/{id}/content?offset={2 << 20}", b"x" * (2 << 20))
        assert status == 200
        soon(lambda: state(server, id)["state"] == "done")
    finally:
        other.stop()
    assert room.sh("wc -c </data/kept").strip() == str(4 << 20).encode()


def test_memory_is_bounded_and_a_stop_leaves_nothing(server: LabServer, room: Room) -> None:
    # once small, so that what is loaded once does not count
    for size in (1 << 20, SIZE):
        before = server.memory()
        id = begin(server, room, direction="upload", path="/data", name="big", files=[{"size": size}])
        put(server, id, size, size)
        peak = 0
        while state(server, id)["state"] != "done":
            peak = max(peak, server.memory())
            assert state(server, id)["state"] != "failed"
        id = begin(server, room, direction="download", paths=["/data/big"])
        while state(server, id)["state"] != "ready":
            peak = max(peak, server.memory())
            assert state(server, id)["state"] != "failed"
    assert peak - before <= 64 << 20
    begin(server, room, direction="upload", path="/data", name="half", files=[{"size": 5}])
    server.stop()
    assert list(server.directory.glob("data/chi-edge-lab/spool/*")) == []
    server.start()
