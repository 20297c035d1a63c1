"""Files in containers over REST, on the real local site in both profiles."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.httpclient import HTTPClientError

from tests.server.conftest import PROFILES
from tests.server.transferring import Blocking, Room


@pytest.fixture(scope="module", params=list(PROFILES))
def room(request: pytest.FixtureRequest, edge_home: Any) -> Iterator[Room]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHI_EDGE_LAB_HOME", str(edge_home))
        made = Room(request.param, f"files-{request.param}")
        made.sh("mkdir -p /data")
        yield made
        made.delete()


@pytest.fixture
def inside(room: Room) -> Blocking:
    return Blocking(room)


@pytest.fixture
def folder(room: Room) -> str:
    return room.sh("mktemp -d /data/t-XXXXXX").decode().strip()


async def test_a_file_is_written_read_and_told(api: Any, room: Room, folder: str) -> None:
    path = f"{folder}/näme with 'all'\n\tof it"
    written = await api("PUT", *room.path, "files", body={"path": path, "content": "grüße\n"})
    assert written["size"] == 8
    read = await api("GET", *room.path, "files", "read", path=path)
    assert (read["content"], read["format"], read["size"]) == ("grüße\n", "text", 8)
    part = await api("GET", *room.path, "files", "read", path=path, offset=2, size=3, format="base64")
    assert base64.b64decode(part["content"]) == "grüße\n".encode()[2:5]
    listed = await api("GET", *room.path, "files", path=folder)
    assert [one["name"] for one in listed["entries"]] == ["näme with 'all'\n\tof it"]


async def test_names_of_any_bytes_and_binary_content(api: Any, room: Room, folder: str) -> None:
    path = f"{folder}/a\udcff\udc80"
    data = bytes(range(256))
    body = {"path": path, "content": base64.b64encode(data).decode(), "format": "base64"}
    await api("PUT", *room.path, "files", body=body)
    listed = await api("GET", *room.path, "files", path=folder)
    assert listed["entries"][0]["name"] == "a\udcff\udc80"
    read = await api("GET", *room.path, "files", "read", path=folder.encode() + b"/a\xff\x80")
    assert base64.b64decode(read["content"]) == data
    await api(
        "GET", *room.path, "files", "read", path=folder.encode() + b"/a\xff\x80", format="text", status=409
    )


async def test_an_editor_does_not_overwrite_another_ones_change(
    api: Any, room: Room, inside: Blocking, folder: str
) -> None:
    path = f"{folder}/shared"
    was = await api("PUT", *room.path, "files", body={"path": path, "content": "one"})
    await inside.sh('printf longer >"$1"', path)
    body = {"path": path, "content": "mine", "if_mtime": was["mtime"], "if_size": was["size"]}
    problem = await api("PUT", *room.path, "files", body=body, status=409)
    assert problem["code"] == "file-changed"
    assert await inside.sh('cat "$1"', path) == b"longer"
    now = await api("GET", *room.path, "files", "stat", path=path)
    await api("PUT", *room.path, "files", body=body | {"if_mtime": now["mtime"], "if_size": now["size"]})
    assert await inside.sh('cat "$1"', path) == b"mine"


async def test_pages_hold_each_name_once(api: Any, room: Room, inside: Blocking, folder: str) -> None:
    await inside.sh('cd "$1";i=0;while [ $i -lt 25 ];do :>"n$i";i=$((i+1));done', folder)
    names: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await api("GET", *room.path, "files", path=folder, limit=10, **after)
        assert page["total"] == 25
        names += [one["name"] for one in page["entries"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert names == sorted(f"n{i}" for i in range(25))


async def test_folders_are_made_renamed_copied_and_deleted(
    api: Any, room: Room, inside: Blocking, folder: str
) -> None:
    await api("POST", *room.path, "files", "mkdir", body={"path": f"{folder}/a/b", "parents": True})
    await inside.sh('cd "$1/a";printf x >.hidden;: >empty;ln -s .hidden link;chmod 700 b', folder)
    move = {"path": f"{folder}/a", "to": f"{folder}/c"}
    await api("POST", *room.path, "files", "copy", body=move)
    copied = await inside.sh('cd "$1/c";ls -A;cat .hidden;readlink link;stat -c %a b', folder)
    assert copied.split() == [b".hidden", b"b", b"empty", b"link", b"x.hidden", b"700"]
    await api("POST", *room.path, "files", "copy", body=move, status=409)
    inner = {"path": f"{folder}/a", "to": f"{folder}/a/b/again"}
    problem = await api("POST", *room.path, "files", "copy", body=inner, status=409)
    assert "into itself" in problem["message"]
    missing = {"path": f"{folder}/a", "to": f"{folder}/none/c"}
    await api("POST", *room.path, "files", "copy", body=missing, status=409)
    await api("POST", *room.path, "files", "rename", body={"path": f"{folder}/c", "to": f"{folder}/d"})
    await api("DELETE", *room.path, "files", path=f"{folder}/d", status=409)
    await api("DELETE", *room.path, "files", path=f"{folder}/d", recursive=True)
    assert await inside.sh('ls -A "$1"', folder) == b"a\n"
    assert await inside.leftovers() == b""


async def test_a_copy_without_space_leaves_nothing(
    api: Any, room: Room, inside: Blocking, folder: str
) -> None:
    small = await inside.sh("df -Pk /dev/shm|tail -n 1")
    assert b"/dev/shm" in small
    assert int(small.split()[1]) <= 80 << 10
    await inside.sh('dd if=/dev/zero of="$1/big" bs=1M count=80 2>/dev/null', folder)
    body = {"path": f"{folder}/big", "to": "/dev/shm/big"}
    problem = await api("POST", *room.path, "files", "copy", body=body, status=409)
    assert "space" in problem["message"]
    assert await inside.sh("ls -A /dev/shm") == b""


@pytest.mark.parametrize("query", ["/none", "/etc/hostname/x", "\0", "", "/dev/null"])
async def test_what_cannot_be_read_is_a_sentence(api: Any, room: Room, query: str) -> None:
    for verb in ("read", "content"):
        with pytest.raises(AssertionError, match=r"^4\d\d: .*message"):
            await api("GET", *room.path, "files", verb, path=query, status=200)


async def test_a_file_streams_as_a_download(
    api: Any, jp_fetch: Any, room: Room, inside: Blocking, folder: str
) -> None:
    await inside.sh('dd if=/dev/urandom of="$1/big" bs=1M count=5 2>/dev/null;printf end >>"$1/big"', folder)
    wanted = (await inside.sh('sha256sum <"$1/big"', folder)).decode().split()[0]
    where = ("chi-edge-lab", "api", *room.path, "files", "content")
    reply = await jp_fetch(*where, params={"path": f"{folder}/big"}, request_timeout=60)
    assert hashlib.sha256(reply.body).hexdigest() == wanted
    assert reply.headers["Content-Length"] == str((5 << 20) + 3)
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Disposition"] == "attachment; filename*=UTF-8''big"
    part = await jp_fetch(*where, params={"path": f"{folder}/big"}, headers={"Range": "bytes=1000-3000000"})
    assert part.code == 206
    assert part.body == reply.body[1000:3000001]
    last = await jp_fetch(*where, params={"path": f"{folder}/big"}, headers={"Range": "bytes=-3"})
    assert last.body == b"end"
    with pytest.raises(HTTPClientError, match="416"):
        await jp_fetch(*where, params={"path": f"{folder}/big"}, headers={"Range": "bytes=99999999-"})
    empty = await jp_fetch(*where, params={"path": "/proc/version"})
    assert empty.body.startswith(b"Linux")


async def test_a_file_that_changes_is_cut(jp_fetch: Any, room: Room, inside: Blocking, folder: str) -> None:
    await inside.sh('dd if=/dev/zero of="$1/big" bs=1M count=8 2>/dev/null', folder)
    changing = asyncio.create_task(
        inside.sh(
            'i=0;while [ $i -lt 400 ];do printf $i|dd of="$1/big" conv=notrunc 2>/dev/null;i=$((i+1));done',
            folder,
        )
    )
    where = ("chi-edge-lab", "api", *room.path, "files", "content")
    with pytest.raises(HTTPClientError, match="closed"):
        await jp_fetch(*where, params={"path": f"{folder}/big"}, request_timeout=60)
    await changing


async def test_a_stopped_container_is_a_sentence(api: Any, room: Room) -> None:
    other = await asyncio.to_thread(Room, room.site, f"stopped-{room.site}")
    try:
        await asyncio.to_thread(other.client.stop, other.uuid)
        for _ in range(100):
            if (await asyncio.to_thread(other.client.get_container, other.uuid)).status == "Stopped":
                break
            await asyncio.sleep(0.1)
        problem = await api("GET", *other.path, "files", path="/", status=409)
        assert problem["hint"]
    finally:
        await asyncio.to_thread(other.delete)
