"""Uploads and downloads through the server, on the real local site in both profiles."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.server.conftest import PROFILES
from tests.server.events import Events
from tests.server.transferring import Blocking, Room, until


@pytest.fixture(scope="module", params=list(PROFILES))
def room(request: pytest.FixtureRequest, edge_home: Any) -> Iterator[Room]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHI_EDGE_LAB_HOME", str(edge_home))
        made = Room(request.param, f"transfers-{request.param}")
        made.sh("mkdir -p /data")
        yield made
        made.delete()


@pytest.fixture
def inside(room: Room) -> Blocking:
    return Blocking(room)


@pytest.fixture
def folder(room: Room) -> str:
    return room.sh("mktemp -d /data/t-XXXXXX").decode().strip()


@pytest.fixture
def services(jp_serverapp: Any) -> Any:
    return jp_serverapp.web_app.settings["chi_edge_lab_services"]


class Web:
    """A browser's side of transfers."""

    def __init__(self, api: Any, fetch: Any, room: Room, server: Any) -> None:
        self.api, self.fetch, self.room, self.server = api, fetch, room, server

    async def begin(self, status: int = 201, **body: Any) -> Any:
        return await self.api("POST", *self.room.path, "transfers", body=body, status=status)

    async def upload(
        self, dest: str, name: str, files: dict[str, int], directories: list[str] | None = None
    ) -> Any:
        return await self.begin(
            direction="upload", path=dest, name=name, directories=directories or [],
            files=[{"path": path, "size": size} for path, size in files.items()],
        )  # fmt: skip

    async def put(self, id: str, data: bytes, path: str = "", offset: int = 0) -> Any:
        raw = path.encode("utf-8", "surrogateescape")
        where = ("chi-edge-lab", "api", "transfers", id, "content")
        params = {"path": raw, "offset": str(offset)}
        return await self.fetch(*where, method="PUT", body=data, params=params, request_timeout=90)

    async def get(self, id: str) -> Any:
        return await self.api("GET", "transfers", id)

    async def ends(self, id: str, *states: str) -> Any:
        wanted = states or ("done",)
        found = await until(lambda: self.get(id), lambda one: one["state"] in {*wanted, "failed"}, 90)
        assert found["state"] in wanted, found
        return found

    async def cut_put(self, id: str, data: bytes, size: int) -> None:
        """Send only the first bytes of a body of `size`, then hang up."""
        parts = urlsplit(self.server.connection_url)
        _reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
        writer.write(
            f"PUT {parts.path}chi-edge-lab/api/transfers/{id}/content HTTP/1.1\r\nHost: localhost:{parts.port}\r\n"
            f"Authorization: token {self.server.identity_provider.token}\r\nContent-Length: {size}\r\n\r\n".encode()
            + data
        )
        await writer.drain()
        await until(lambda: self.get(id), lambda one: one["received"][0]["received"] > 0, 15)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
def here(api: Any, jp_fetch: Any, room: Room, jp_serverapp: Any) -> Web:
    return Web(api, jp_fetch, room, jp_serverapp)


def spooled(services: Any) -> list[str]:
    """What lies in the spool, besides lock files."""
    return [name for _, _, names in os.walk(services.data_dir / "spool") for name in names if name != "lock"]


async def test_a_file_arrives_byte_for_byte(here: Web, inside: Blocking, folder: str, services: Any) -> None:
    data = os.urandom((5 << 20) + 77)
    one = await here.upload(folder, "näme", {"": len(data)})
    assert one["state"] == "receiving"
    reply = await here.put(one["id"], data)
    assert reply.code == 200
    done = await here.ends(one["id"])
    assert (done["done"], done["total"], done["problem"]) == (len(data), len(data), None)
    found = await inside.sh('sha256sum <"$1/näme"', folder)
    assert found.split()[0].decode() == hashlib.sha256(data).hexdigest()
    assert await inside.leftovers() == b""
    assert spooled(services) == []


async def test_a_folder_with_everything_in_it(here: Web, inside: Blocking, folder: str) -> None:
    files = {
        ".hidden": b"h",
        "a b/new\nline": b"n",
        "a b/\udcff\udcfe": b"bytes",
        "empty": b"",
        "deep/er/x": b"x" * 70_000,
    }
    one = await here.upload(
        folder, "tree", {name: len(data) for name, data in files.items()}, ["void", "a b/none"]
    )
    for name, data in files.items():
        if data:
            await here.put(one["id"], data, name)
    await here.ends(one["id"])
    listed = (await inside.sh('cd "$1/tree";find . -print0|sort -z', folder)).split(b"\0")
    assert set(listed) - {b""} == {
        b".", b"./.hidden", b"./a b", b"./a b/new\nline", b"./a b/\xff\xfe", b"./a b/none", b"./deep", b"./deep/er",
        b"./deep/er/x", b"./empty", b"./void",
    }  # fmt: skip
    assert await inside.sh('cat "$1/tree/a b/"new* "$1/tree/.hidden"', folder) == b"nh"


async def test_a_cut_upload_goes_on_where_it_was(here: Web, inside: Blocking, folder: str) -> None:
    data = os.urandom(6 << 20)
    one = await here.upload(folder, "cut", {"": len(data)})
    await here.cut_put(one["id"], data[: 3 << 20], len(data))
    known = (await here.get(one["id"]))["received"][0]["received"]
    assert 0 < known <= 3 << 20
    problem = await here.api("POST", "transfers", one["id"], "resume", status=409)
    assert "not here yet" in problem["message"]
    await here.put(one["id"], data[known:], offset=known)
    await here.ends(one["id"])
    found = await inside.sh('sha256sum <"$1/cut"', folder)
    assert found.split()[0].decode() == hashlib.sha256(data).hexdigest()


async def test_a_lost_last_piece_is_never_sent_on(here: Web, inside: Blocking, folder: str) -> None:
    one = await here.upload(folder, "lost", {"": 1000})
    await here.put(one["id"], b"x" * 999)
    found = await here.get(one["id"])
    assert (found["state"], found["received"][0]["received"]) == ("receiving", 999)
    assert await inside.sh('ls -A "$1"', folder) == b""
    with pytest.raises(Exception, match="409"):
        await here.put(one["id"], b"y", offset=1000)
    with pytest.raises(Exception, match="400"):
        await here.put(one["id"], b"too many", offset=998)


@pytest.mark.parametrize("when", ["receiving", "queued", "sending", "done", "failed"])
async def test_a_cancel_leaves_nothing(
    here: Web, inside: Blocking, folder: str, services: Any, when: str
) -> None:
    data = bytes(12 << 20)
    if when == "queued":
        for _ in range(services.limits.transfers_at_once):
            await services.transfers._slots.acquire()
    one = await here.upload(folder, "gone", {"": len(data)})
    if when == "receiving":
        await here.cut_put(one["id"], data[: 2 << 20], len(data))
    else:
        if when == "failed":
            await inside.sh('rmdir "$1"', folder)
        await here.put(one["id"], data)
        await until(lambda: here.get(one["id"]), lambda found: found["state"] == when)
    await here.api("DELETE", "transfers", one["id"], status=204)
    await here.api("GET", "transfers", one["id"], status=404)
    assert spooled(services) == []
    assert await inside.leftovers() == b""
    if when not in {"done", "failed"}:
        assert await inside.sh('ls -A "$1"', folder) == b""
    if when == "queued":
        for _ in range(services.limits.transfers_at_once):
            services.transfers._slots.release()


async def test_the_same_file_twice_at_once_is_one_of_both(here: Web, inside: Blocking, folder: str) -> None:
    contents = [bytes([number]) * (5 << 20) for number in (65, 66)]
    ids = [(await here.upload(folder, "same", {"": len(data)}))["id"] for data in contents]
    await asyncio.gather(*(here.put(id, data) for id, data in zip(ids, contents, strict=True)))
    for id in ids:
        await here.ends(id)
    found = (await inside.sh('sha256sum <"$1/same"', folder)).split()[0].decode()
    assert found in {hashlib.sha256(data).hexdigest() for data in contents}


async def test_what_cannot_be_a_destination_is_told_before_anything_is_sent(
    here: Web, inside: Blocking, folder: str
) -> None:
    await inside.sh(': >"$1/file"', folder)
    files = [{"path": "", "size": 1}]
    for path, said in ((f"{folder}/none", "does not exist"), (f"{folder}/file", "is a file"), ("\0", "NUL")):
        problem = await here.begin(
            400 if path == "\0" else 409, direction="upload", path=path, name="x", files=files
        )
        assert said in problem["message"]
    for name in ("", "..", "a/b"):
        await here.begin(400, direction="upload", path=folder, name=name, files=files)
    for path in ("../x", "/x", "a//b", "a/../../x", "."):
        body = {"path": folder, "name": "x", "files": [{"path": path, "size": 1}], "directories": ["d"]}
        await here.begin(400, direction="upload", **body)
    await here.begin(400, direction="upload", path=folder, name="x", files=[{"path": "a", "size": 1}] * 2)


async def test_a_failed_upload_is_resumed(here: Web, inside: Blocking, folder: str) -> None:
    one = await here.upload(folder, "again", {"": 10})
    await inside.sh('rmdir "$1"', folder)
    await here.put(one["id"], b"0123456789")
    failed = await here.ends(one["id"], "failed")
    assert "does not exist" in failed["problem"]["message"]
    await inside.sh('mkdir "$1"', folder)
    await here.api("POST", "transfers", one["id"], "resume")
    await here.ends(one["id"])
    assert await inside.sh('cat "$1/again"', folder) == b"0123456789"


async def test_a_file_is_downloaded_then_forgotten(
    here: Web, inside: Blocking, folder: str, services: Any
) -> None:
    await inside.sh('dd if=/dev/urandom of="$1/big" bs=1M count=6 2>/dev/null', folder)
    wanted = (await inside.sh('sha256sum <"$1/big"', folder)).split()[0].decode()
    one = await here.begin(direction="download", paths=[f"{folder}/big"])
    ready = await here.ends(one["id"], "ready")
    assert ready["size"] == 6 << 20
    where = ("chi-edge-lab", "api", "transfers", one["id"], "content")
    reply = await here.fetch(*where, request_timeout=60)
    assert hashlib.sha256(reply.body).hexdigest() == wanted
    await here.ends(one["id"], "done")
    assert spooled(services) == []
    with pytest.raises(Exception, match="409"):
        await here.fetch(*where)


@pytest.mark.parametrize("compression", ["stored", "deflated"])
async def test_folders_come_as_a_zip(here: Web, inside: Blocking, folder: str, compression: str) -> None:
    await inside.sh(
        'cd "$1";mkdir -p t/void "t/a b" u;printf x >"t/a b/.h";: >t/empty;ln -s empty t/link;printf 1 >u/same;'
        'printf bytes >"t/$2";chmod 755 t/empty;mkdir v;printf 2 >v/same;'
        'dd if=/dev/zero of=t/zeros bs=1M count=4 2>/dev/null',
        folder, b"\xff\xfe",
    )  # fmt: skip
    one = await here.begin(
        direction="download", paths=[f"{folder}/t", f"{folder}/u/same", f"{folder}/v/same"]
    )
    ready = await here.ends(one["id"], "ready")
    assert any("ZIP" in note for note in ready["notes"])
    reply = await here.fetch(
        "chi-edge-lab", "api", "transfers", one["id"], "content", params={"compression": compression}
    )
    assert "files.zip" in reply.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(reply.body)) as packed:
        assert packed.testzip() is None
        assert set(packed.namelist()) == {
            "t/", "t/void/", "t/a b/", "t/a b/.h", "t/empty", "t/link", "t/\ufffd\ufffd", "t/zeros", "same", "same (2)"
        }  # fmt: skip
        assert packed.read("t/\ufffd\ufffd") == b"bytes"
        assert (packed.read("same"), packed.read("same (2)")) == (b"1", b"2")
        assert packed.getinfo("t/empty").external_attr >> 16 & 0o777 == 0o755
        assert (packed.getinfo("t/zeros").compress_size < 1 << 20) is (compression == "deflated")


async def test_who_goes_away_in_mid_download_can_come_again(
    here: Web, inside: Blocking, folder: str, services: Any
) -> None:
    await inside.sh('dd if=/dev/urandom of="$1/big" bs=1M count=24 2>/dev/null', folder)
    one = await here.begin(direction="download", paths=[f"{folder}/big"])
    await here.ends(one["id"], "ready")
    parts = urlsplit(here.server.connection_url)
    reader, writer = await asyncio.open_connection("127.0.0.1", parts.port)
    writer.write(
        f"GET {parts.path}chi-edge-lab/api/transfers/{one['id']}/content HTTP/1.1\r\nHost: localhost:{parts.port}\r\n"
        f"Authorization: token {here.server.identity_provider.token}\r\n\r\n".encode()
    )
    assert len(await reader.readexactly(1 << 20)) == 1 << 20
    transfer = services.transfers.get(one["id"])
    assert transfer.readers == 1
    writer.close()
    while transfer.readers:
        await asyncio.sleep(0.02)
    assert transfer.state == "ready"
    reply = await here.fetch("chi-edge-lab", "api", "transfers", one["id"], "content", request_timeout=60)
    assert len(reply.body) == 24 << 20


async def test_progress_is_told(here: Web, folder: str, jp_ws_fetch: Any) -> None:
    socket = await jp_ws_fetch("chi-edge-lab", "api", "events")
    events = Events(socket)
    events.subscribe(1, "transfers")
    await events.until(1, "snapshot")
    data = bytes(16 << 20)
    one = await here.upload(folder, "told", {"": len(data)})
    await here.put(one["id"], data)

    def said(state: str) -> Any:
        return lambda message: any(
            told["id"] == one["id"] and told["state"] == state for told in message["data"].get("changed", [])
        )

    await events.until(1, said("done"), 60)
    told = [
        x
        for message in events.messages[1]
        for x in message["data"].get("changed", [])
        if x["id"] == one["id"]
    ]
    assert {"receiving", "sending"} <= {x["state"] for x in told}
    assert any(x["rate"] and 0 < x["done"] < x["total"] for x in told)
    await here.api("DELETE", "transfers", one["id"], status=204)
    await events.until(1, lambda message: one["id"] in message["data"].get("removed", []))
    socket.close()


async def test_limits_are_sentences(here: Web, folder: str, services: Any) -> None:
    services.limits.transfer_bytes = 100
    files = [{"path": "", "size": 101}]
    problem = await here.begin(429, direction="upload", path=folder, name="x", files=files)
    assert "100 bytes" in problem["message"]
    services.limits.transfer_bytes = None
    services.limits.spool_bytes = 150
    await here.upload(folder, "a", {"": 100})
    await here.begin(429, direction="upload", path=folder, name="x", files=files)
    services.limits.transfers = 1
    problem = await here.begin(429, direction="upload", path=folder, name="x", files=[{"size": 1}])
    assert "1 transfers already" in problem["message"]
    body = {"direction": "upload", "path": folder, "name": "x", "files": [{"size": 1 << 60}]}
    services.limits.transfers, services.limits.spool_bytes = 100, None
    assert "enough space" in (await here.begin(409, **body))["message"]


async def test_old_ones_are_forgotten(here: Web, folder: str, services: Any) -> None:
    one = await here.upload(folder, "old", {"": 0})
    await here.ends(one["id"])
    await services.transfers.tidy()
    await here.get(one["id"])
    services.limits.transfer_keep = 0.0
    await services.transfers.tidy()
    await here.api("GET", "transfers", one["id"], status=404)
