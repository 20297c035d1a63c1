"""The websocket proxy, seen by websocket-client and by a bare socket."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websocket

from tests.zunapi.running import RunningSite, until

OPENING = [b"\x01", b"\x02", b"\x03"]


@contextmanager
def connected(url: str, **options: Any) -> Iterator[websocket.WebSocket]:
    options.setdefault("subprotocols", ["binary", "base64"])
    connection = websocket.create_connection(
        url, timeout=10, suppress_origin="origin" not in options, **options
    )
    try:
        yield connection
    finally:
        connection.shutdown()


def attach_url(site: RunningSite, ref: str) -> str:
    answer = site.http("GET", f"/v1/containers/{ref}/attach")
    assert answer.status_code == 200, answer.text
    return str(answer.json())


def exec_url(site: RunningSite, ref: str, command: str = "sh") -> tuple[str, str]:
    query = {"command": command, "run": "false", "interactive": "true"}
    answer = site.http("POST", f"/v1/containers/{ref}/execute", params=query).json()
    return answer["exec_id"], answer["proxy_url"]


def read_until(connection: websocket.WebSocket, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        opcode, data = connection.recv_data()
        assert opcode == websocket.ABNF.OPCODE_BINARY, (opcode, data, seen)
        seen += data
    return seen


def ending(connection: websocket.WebSocket) -> tuple[bytes, int | None, str]:
    """Everything until the end, and the close frame's code and reason (None: the connection was cut)."""
    seen = b""
    while True:
        try:
            opcode, data = connection.recv_data(control_frame=True)
        except (websocket.WebSocketConnectionClosedException, ConnectionError):
            return seen, None, ""
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            return seen, struct.unpack("!H", data[:2])[0], data[2:].decode()
        if opcode == websocket.ABNF.OPCODE_BINARY:
            seen += data


# -- who may connect


@pytest.mark.parametrize("change", ["token", "uuid", "nothing", "exec_id"])
def test_a_wrong_token_is_cut_off_after_the_101(
    any_site: RunningSite, any_container: str, change: str
) -> None:
    made = any_site.create(interactive=True) if any_site.profile == "zun" else any_container
    url = attach_url(any_site, made)
    if change == "token":
        url = url.replace("token=", "token=f")
    elif change == "uuid":
        url = url.replace(made, "00000000-0000-4000-8000-000000000000")
    elif change == "exec_id":
        url += "&exec_id=" + "a" * 64
    else:
        url = url.partition("?")[0]
    with connected(url) as connection:
        assert connection.status == 101
        assert ending(connection) == (b"", None, "")


def test_a_new_attach_kills_the_old_url_but_not_its_connections(
    edge: RunningSite, edge_container: str
) -> None:
    old = attach_url(edge, edge_container)
    with connected(old) as connection:
        read_until(connection, b"\x03")
        new = attach_url(edge, edge_container)
        with connected(old) as late:
            assert ending(late) == (b"", None, "")
        connection.send_binary(b"echo al''ive\n")
        read_until(connection, b"alive")
        with connected(new) as other:
            read_until(other, b"\x03")


@pytest.mark.parametrize(
    ("origin", "fine"),
    [
        (None, True),
        ("http://127.0.0.1:8888", True),
        ("https://127.0.0.1", False),
        ("http://evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
def test_origins(edge: RunningSite, edge_container: str, origin: str | None, fine: bool) -> None:
    options = {} if origin is None else {"origin": origin}
    with connected(attach_url(edge, edge_container), **options) as connection:
        assert connection.status == 101
        if fine:
            read_until(connection, b"\x03")
        else:
            assert ending(connection) == (b"", None, "")


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["binary", "base64"], "binary"), (["binary"], "binary"), (None, None)]
)
def test_subprotocols(
    edge: RunningSite, edge_container: str, offered: list[str] | None, chosen: str | None
) -> None:
    with connected(attach_url(edge, edge_container), subprotocols=offered) as connection:
        assert connection.subprotocol == chosen


@pytest.mark.parametrize("offered", ["base64", "v4.channel.k8s.io"])
def test_no_other_subprotocol(edge: RunningSite, edge_container: str, offered: str) -> None:
    with (
        pytest.raises(websocket.WebSocketBadStatusException, match="400"),
        connected(attach_url(edge, edge_container), subprotocols=[offered]),
    ):
        pass


def test_attach_needs_interactive_upstream(zun: RunningSite, zun_container: str) -> None:
    answer = zun.http("GET", f"/v1/containers/{zun_container}/attach")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, "container.no-interactive-flag")


def test_text_frames_are_refused(any_site: RunningSite) -> None:
    made = any_site.create(interactive=True)
    with connected(attach_url(any_site, made)) as connection:
        connection.send("text")
        assert ending(connection)[1:] == (1003, "Unsupported: Text frames are not supported")


# -- chi-edge: a new shell per connection, with channel bytes


def test_kubernetes_frames(edge: RunningSite, edge_container: str) -> None:
    with connected(attach_url(edge, edge_container)) as connection:
        assert [connection.recv() for _ in OPENING] == OPENING
        connection.send_binary(b"tty; stty size; echo d''one\n")
        seen = b""
        while b"done" not in seen:
            frame = connection.recv()
            assert frame[:1] == b"\x01"
            seen += frame[1:]
        assert b"/dev/pts/" in seen
        connection.send_binary(b"exit 3\n")
        rest, code, reason = ending(connection)
        assert (code, reason) == (1000, "Target closed")
        assert b"\x03command terminated with non-zero exit code" in rest
        assert rest.endswith(b"exit code 3")


def test_each_connection_is_a_shell_of_its_own(edge: RunningSite, edge_container: str) -> None:
    url = attach_url(edge, edge_container)
    with connected(url) as one, connected(url) as other:
        pids = []
        for connection in (one, other):
            connection.send_binary(b"echo pid=$$=\n")
            seen = read_until(connection, b"=\r\n")
            while seen.count(b"pid=") < 2:
                seen += connection.recv()
            pids.append(seen.rpartition(b"pid=")[2].partition(b"=")[0])
        assert pids[0] != pids[1]


def test_a_stopped_container_closes_its_terminals(edge: RunningSite) -> None:
    made = edge.create()
    with connected(attach_url(edge, made)) as connection:
        read_until(connection, b"\x03")
        edge.http("POST", f"/v1/containers/{made}/stop?timeout=0")
        assert ending(connection)[1:] == (1000, "Target closed")


def test_shells_survive_their_clients(edge: RunningSite) -> None:
    made = edge.create()
    with connected(attach_url(edge, made)) as connection:
        read_until(connection, b"\x03")
        connection.send_binary(b"sleep 4321\n")
        until(lambda: b"4321" in _commands(edge, made))
    time.sleep(0.3)
    assert b"4321" in _commands(edge, made)


def _commands(site: RunningSite, ref: str) -> bytes:
    return repr(site.site.engine.top(ref)).encode()


# -- zun: execs and pid 1


def test_an_exec(zun: RunningSite, zun_container: str) -> None:
    exec_id, url = exec_url(zun, zun_container)
    size = {"exec_id": exec_id, "w": 101, "h": 31}
    resize = f"/v1/containers/{zun_container}/execute_resize"
    assert zun.http("POST", resize, params=size).status_code == 500  # nobody is connected yet
    with connected(url) as connection:
        connection.send_binary(b"echo re''ady\n")
        read_until(connection, b"ready")
        assert zun.http("POST", resize, params=size).json() is None
        connection.send_binary(b"stty size\n")
        read_until(connection, b"31 101")
        with connected(url) as second:
            assert ending(second) == (b"", 1000, "Target closed")
        connection.send_binary(b"exit\n")
        assert ending(connection)[1:] == (1000, "Target closed")
    assert zun.http("POST", resize, params=size).status_code == 400


def test_bytes_pass_unchanged_both_ways(zun: RunningSite, zun_container: str) -> None:
    # 5 MB, both ways at the same time; downwards, for ^P^Q detaches a terminal from docker's execs
    data = bytes(reversed(range(256))) * 20_000
    _, url = exec_url(zun, zun_container, "sh -c 'stty raw -echo; echo go; cat'")
    with connected(url) as connection:
        read_until(connection, b"go")
        connection.send_binary(data[:4096])
        got = b""
        sent = 4096
        while len(got) < len(data):
            got += connection.recv()
            if sent < len(data):
                connection.send_binary(data[sent : sent + 65536])
                sent += 65536
        assert got.endswith(data[-len(data) + 8 :])


def test_an_exec_outlives_its_client(zun: RunningSite, zun_container: str) -> None:
    _, url = exec_url(zun, zun_container)
    with connected(url) as connection:
        connection.send_binary(b"(sleep 1; echo x; touch /tmp/outlived) ; sleep 5555\n")
        until(lambda: b"sleep" in _commands(zun, zun_container))
    until(lambda: zun.execute(zun_container, "ls /tmp/outlived")["exit_code"] == 0)
    assert b"5555" in _commands(zun, zun_container)
    with connected(url) as again:
        assert ending(again) == (b"", 1000, "Target closed")


def test_the_command_of_an_exec_is_not_there(zun: RunningSite, zun_container: str) -> None:
    _, url = exec_url(zun, zun_container, "nosuchprogram")
    with connected(url) as connection:
        output, code, _ = ending(connection)
    assert b"executable file not found" in output
    assert code == 1000


def test_pid_1_is_shared(zun: RunningSite) -> None:
    made = zun.create(command=["sh"], interactive=True, tty=True)
    url = attach_url(zun, made)
    with connected(url) as one, connected(url) as other:
        time.sleep(0.2)
        one.send_binary(b"echo sha''red\n")
        read_until(one, b"shared")
        read_until(other, b"shared")
    assert zun.get(made)["status"] == "Running"
    with connected(url) as again:
        again.send_binary(b"exit\n")
        assert ending(again)[1:] == (1000, "Target closed")
    zun.wait(made, "Stopped")


def test_attached_to_what_does_not_run_is_silence(zun: RunningSite) -> None:
    made = zun.create(command=["sh"], interactive=True, tty=True)
    url = attach_url(zun, made)
    zun.http("POST", f"/v1/containers/{made}/stop?timeout=0")
    zun.wait(made, "Stopped")
    with connected(url) as connection:
        connection.settimeout(0.3)
        with pytest.raises(websocket.WebSocketTimeoutException):
            connection.recv()


# -- bounds


def test_a_client_that_does_not_read_stops_the_writer(zun: RunningSite, zun_container: str) -> None:
    step = "head -c 100000 /dev/zero; i=$((i+1)); echo $i > /tmp/c; mv /tmp/c /tmp/counted"
    script = f"stty raw; i=0; while :; do {step}; done"
    _, url = exec_url(zun, zun_container, f"sh -c '{script}'")

    def counted() -> int:
        return int(zun.execute(zun_container, "cat /tmp/counted")["output"] or 0)

    with connected(url, sockopt=((socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),)) as connection:
        connection.recv()
        until(lambda: counted() == (time.sleep(0.5), counted())[1] > 0)
        stopped_at = counted()
        assert stopped_at < 200  # 20 MB would be a buffer without a bound
        for _ in range(100):
            connection.recv()
        until(lambda: counted() > stopped_at)


def test_too_many_execs(zun: RunningSite, monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    made = zun.create()
    limits = dataclasses.replace(zun.limits, execs=2)
    settings = dataclasses.replace(zun.site.config.settings, limits=limits)
    monkeypatch.setattr(zun.site.config, "settings", settings)
    urls = [exec_url(zun, made)[1] for _ in range(2)]
    with connected(urls[0]) as one, connected(urls[1]) as two:
        for connection in (one, two):
            connection.send_binary(b"echo o''k\n")
            read_until(connection, b"ok")
        query = {"command": "sh", "run": "false", "interactive": "true"}
        assert zun.http("POST", f"/v1/containers/{made}/execute", params=query).status_code == 409


def test_no_socket_is_left(any_site: RunningSite) -> None:
    until(lambda: any_site.site.proxy.open == 0)
