"""Zun's websocket proxy: attach and exec."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websocket

from tests.contract.conftest import ZunSite

Create = Callable[..., Any]
DROPPED = (websocket.WebSocketConnectionClosedException, ConnectionError)


@contextmanager
def connected(url: str, **options: Any) -> Iterator[websocket.WebSocket]:
    socket = websocket.create_connection(
        url, timeout=15, subprotocols=["binary"], suppress_origin=True, **options
    )
    try:
        yield socket
    finally:
        socket.shutdown()


def read_until(socket: websocket.WebSocket, wanted: bytes, timeout: float = 15) -> bytes:
    seen = b""
    deadline = time.monotonic() + timeout
    while wanted not in seen:
        assert time.monotonic() < deadline, seen
        opcode, data = socket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_BINARY, (opcode, data, seen)
        seen += data
    return seen


def read_to_the_end(socket: websocket.WebSocket) -> bytes:
    """The payload of the close frame; raises one of DROPPED when there is none."""
    while True:
        opcode, data = socket.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return bytes(data)


def terminal_url(site: ZunSite, container: Any) -> str:
    """Where a new shell is: attach on k8s, an interactive exec on docker."""
    if site.dialect == "k8s":
        return str(site.zun.containers.attach(container.uuid))
    answer = site.zun.containers.execute(container.uuid, command="sh", run=False, interactive=True)
    assert len(answer["exec_id"]) == 64
    return str(answer["proxy_url"])


def test_a_shell_answers(site: ZunSite, running: Any) -> None:
    with connected(terminal_url(site, running)) as socket:
        assert socket.getsubprotocol() == "binary"
        socket.send_binary(b"echo $((6*7))x\n")
        seen = read_until(socket, b"42x")
        if site.dialect == "k8s":
            assert seen[0] in (1, 2, 3), "the first byte of a frame is Kubernetes' channel"


def test_leaving_the_shell_closes_1000(site: ZunSite, running: Any) -> None:
    with connected(terminal_url(site, running)) as socket:
        socket.send_binary(b"exit\n")
        data = read_to_the_end(socket)
        assert int.from_bytes(data[:2], "big") == 1000
        assert data[2:] == b"Target closed"


def test_wrong_token_is_dropped_after_the_handshake(site: ZunSite, running: Any) -> None:
    url = terminal_url(site, running)
    token = url.split("token=")[1].split("&")[0]
    with connected(url.replace(token, "00000000-0000-4000-8000-000000000000")) as socket:
        assert socket.handshake_response.status == 101
        with pytest.raises(DROPPED):
            read_to_the_end(socket)


def test_text_frames_are_refused_1003(site: ZunSite, running: Any) -> None:
    with connected(terminal_url(site, running)) as socket:
        socket.send("echo text\n")
        data = read_to_the_end(socket)
        assert int.from_bytes(data[:2], "big") == 1003


def test_foreign_origin_is_dropped(site: ZunSite, running: Any) -> None:
    socket = websocket.create_connection(
        terminal_url(site, running), timeout=15, subprotocols=["binary"], origin="http://evil.example"
    )
    with pytest.raises(DROPPED):
        read_to_the_end(socket)
    socket.shutdown()


def test_unknown_subprotocol_is_400(site: ZunSite, running: Any) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(
            terminal_url(site, running), timeout=15, subprotocols=["base64"], suppress_origin=True
        )
    assert refused.value.status_code == 400


def test_a_new_attach_ends_the_old_url(site: ZunSite, running: Any) -> None:
    old = str(site.zun.containers.attach(running.uuid))
    new = str(site.zun.containers.attach(running.uuid))
    assert old != new
    with connected(old) as socket, pytest.raises(DROPPED):
        read_to_the_end(socket)


def test_large_output_arrives_whole(site: ZunSite, running: Any) -> None:
    with connected(terminal_url(site, running)) as socket:
        socket.send_binary(b"stty -echo; head -c 3000000 /dev/zero | tr '\\0' 'z'; echo e'n'd; sleep 1\n")
        seen = read_until(socket, b"end", timeout=30)
        assert seen.count(b"z") >= 3000000


def test_resize_of_an_exec(site: ZunSite, running: Any) -> None:
    if site.dialect == "k8s":
        assert site.request("POST", f"/containers/{running.uuid}/resize?w=80&h=24").status_code == 500
        return
    answer = site.zun.containers.execute(running.uuid, command="sh", run=False, interactive=True)
    with connected(answer["proxy_url"]) as socket:
        socket.send_binary(b"echo rea'd'y\n")
        read_until(socket, b"ready")
        site.zun.containers.execute_resize(running.uuid, answer["exec_id"], 133, 44)
        socket.send_binary(b"stty size\n")
        read_until(socket, b"44 133")


def test_interactive_exec_does_not_exist_on_k8s(site: ZunSite, running: Any) -> None:
    if site.dialect != "k8s":
        return
    answer = site.request(
        "POST",
        f"/containers/{running.uuid}/execute",
        params={"command": "sh", "run": "false", "interactive": "true"},
    )
    assert answer.status_code == 500


def test_attach_needs_an_interactive_container(site: ZunSite, create: Create) -> None:
    container = create()
    answer = site.request("GET", f"/containers/{container.uuid}/attach")
    if site.dialect == "k8s":  # the driver makes every container interactive
        assert answer.status_code == 200
    else:
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["code"].startswith("container.no-interactive-flag")
