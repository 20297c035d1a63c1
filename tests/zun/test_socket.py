"""The terminal's websocket, against a real one that misbehaves and against the local site's."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chi_edge_lab import errors, sites
from chi_edge_lab.zun import Client, Container, Socket, create_request
from chi_edge_lab.zun import socket as sockets
from chi_edge_lab.zun.dial import connect, reach
from chi_edge_lab.zun.terminals import K8S_BYTES_PER_SECOND
from tests.faultysite import FaultySite, Handler, Reply

Play = Callable[[Handler], None]


@pytest.fixture
def dial(client_of: Callable[..., Client]) -> Iterator[Callable[..., Socket]]:
    """Opens a terminal on a site that plays `play` once the websocket stands."""
    opened: list[Socket] = []
    made: list[FaultySite] = []

    def make(play: Play, *, k8s: bool = True) -> Socket:
        site = FaultySite(k8s=k8s, maximum="1.41")
        made.append(site)
        url = site.url.replace("http", "ws") + "/ws"
        site.say("GET", "/v1/containers/c1/attach", Reply(200, json.dumps(url + "?token=s3cret").encode()))
        site.say("POST", "/v1/containers/c1/resize", b"null")

        def answer(handler: Handler) -> None:
            handler.open_websocket()
            play(handler)
            handler.linger()

        site.say("GET", "/ws", answer)
        client = client_of(site)
        socket = client.open_attach("c1")
        socket.site = site  # type: ignore[attr-defined]
        opened.append(socket)
        return socket

    yield make
    for socket in opened:
        socket.close(leave_running=True)
    for site in made:
        site.close()


def everything(socket: Socket) -> bytes:
    data = b""
    while piece := socket.recv(10):
        data += piece
    return data


def closing(code: int) -> bytes:
    return code.to_bytes(2, "big") + b"Target closed"


def test_channel_bytes_are_stripped_and_the_end_is_told(dial: Callable[..., Socket]) -> None:
    def play(handler: Handler) -> None:
        for frame in (b"\x01", b"\x02", b"\x03", b"\x01/ # ", b"\x02\xc3", b"\x01\xa9", b"\x09?", b"",
                      b"\x03command terminated with exit code 137"):  # fmt: skip
            handler.send_frame(frame)
        handler.send_frame(closing(1000), 8)

    socket = dial(play)
    assert everything(socket) == b"/ # \xc3\xa9"
    assert socket.close_reason == "the shell has ended with exit code 137"
    assert socket.exit_code == 137
    assert socket.recv() == b""  # and stays so


def test_a_proxy_that_takes_the_byte_off_is_left_alone(dial: Callable[..., Socket]) -> None:
    def play(handler: Handler) -> None:
        handler.send_frame(b"/ # ")
        handler.send_frame(b"\x01\x02")
        handler.send_frame(closing(1000), 8)

    assert everything(dial(play)) == b"/ # \x01\x02"


def test_docker_frames_are_bytes_as_they_are(dial: Callable[..., Socket]) -> None:
    def play(handler: Handler) -> None:
        handler.send_frame(b"\x01\x02\xff")
        handler.send_frame(closing(1000), 8)

    socket = dial(play, k8s=False)
    assert everything(socket) == b"\x01\x02\xff"
    assert socket.close_reason == "the process has ended"
    assert socket.exit_code is None


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (closing(1001), "the site is going away"),
        (closing(1003), "the site refused a text frame"),
        (closing(4321), "the site closed the connection (code 4321)"),
        (b"", "the site closed the connection"),
    ],
)
def test_close_codes_in_words(dial: Callable[..., Socket], frame: bytes, reason: str) -> None:
    def play(handler: Handler) -> None:
        handler.send_frame(b"\x01x")
        handler.send_frame(frame, 8)

    socket = dial(play)
    assert everything(socket) == b"x"
    assert socket.close_reason == reason


def test_a_connection_cut_off(dial: Callable[..., Socket]) -> None:
    socket = dial(lambda handler: handler.send_frame(b"\x01x"))
    assert everything(socket) == b"x"
    assert socket.close_reason == "the connection broke off"
    with pytest.raises(errors.Unreachable, match="is closed: the connection broke off"):
        socket.send(b"ls\n")
    socket.resize(10, 10)  # nothing to resize, nothing to complain of


def test_a_token_that_was_replaced_is_asked_for_once_more(client_of: Callable[..., Client]) -> None:
    site = FaultySite(k8s=True)
    url = site.url.replace("http", "ws") + "/ws?token=s3cret"
    site.say("GET", "/v1/containers/c1/attach", Reply(200, json.dumps(url).encode()))

    def drop(handler: Handler) -> None:
        handler.open_websocket()

    def stay(handler: Handler) -> None:
        handler.open_websocket()
        handler.read_frame()

    site.say("GET", "/ws", drop, stay)
    client = client_of(site)
    socket = client.open_attach("c1")
    assert not socket.closed
    socket.close()
    assert len(site.asked("GET", "/v1/containers/c1/attach")) == 2
    site.say("GET", "/ws", drop)
    with pytest.raises(errors.ServerError, match=r"closed the terminal .* as soon as") as caught:
        client.open_attach("c1")
    assert "s3cret" not in str(caught.value) + repr(socket)
    site.close()


def test_no_origin_binary_protocol_and_binary_frames(dial: Callable[..., Socket]) -> None:
    seen: list[tuple[int, bytes]] = []

    def play(handler: Handler) -> None:
        while (frame := handler.read_frame())[0] != 8:
            seen.append(frame)

    socket = dial(play)
    socket.send(b"x" * 10_000)
    socket.close()
    request = socket.site.asked("GET", "/ws")[0]  # type: ignore[attr-defined]
    assert "origin" not in request.headers
    assert request.headers["sec-websocket-protocol"] == "binary"
    assert {opcode for opcode, _ in seen} == {2}
    assert [len(data) for _, data in seen[:3]] == [4096, 4096, 1808]
    assert b"".join(data for _, data in seen[3:]).startswith(b"\x03\x15exit\n")


def test_a_paste_is_paced_on_k8s(dial: Callable[..., Socket]) -> None:
    def play(handler: Handler) -> None:
        while handler.read_frame()[0] != 8:
            pass

    socket = dial(play)
    began = time.monotonic()
    socket.send(b"x" * 128 * 1024)
    assert time.monotonic() - began > 0.4  # 256 KiB/s
    assert K8S_BYTES_PER_SECOND == 256 * 1024


def test_two_threads_do_not_mix_their_pastes(dial: Callable[..., Socket]) -> None:
    data = bytearray()
    done = threading.Event()

    def play(handler: Handler) -> None:
        while len(data) < 80_000:
            data.extend(handler.read_frame()[1])
        done.set()
        handler.read_frame()

    socket = dial(play, k8s=False)
    threads = [threading.Thread(target=socket.send, args=(letter * 40_000,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    assert done.wait(10)
    for thread in threads:
        thread.join()
    assert bytes(data) in (b"a" * 40_000 + b"b" * 40_000, b"b" * 40_000 + b"a" * 40_000)


def test_who_does_not_receive_slows_the_site_down(dial: Callable[..., Socket]) -> None:
    sent = [0]

    def play(handler: Handler) -> None:
        for _ in range(640):
            handler.send_frame(b"y" * 65536)
            sent[0] += 65536
        handler.send_frame(closing(1000), 8)

    socket = dial(play, k8s=False)
    time.sleep(0.5)
    stalled_at = sent[0]
    assert stalled_at < 20 * 1024 * 1024  # our buffer and TCP's, not all 40 MiB
    assert len(everything(socket)) == 640 * 65536


def test_a_frame_that_is_too_large_ends_it(dial: Callable[..., Socket]) -> None:
    def play(handler: Handler) -> None:
        handler.send_frame(b"\x01x")
        handler.wfile.write(b"\x82\x7f" + (1 << 40).to_bytes(8, "big") + b"zzzz")
        handler.read_frame()

    socket = dial(play)
    assert everything(socket) == b"x"
    assert "does not keep to the websocket protocol" in socket.close_reason


def test_text_frames_and_large_frames_are_taken(dial: Callable[..., Socket]) -> None:
    def play(handler: Handler) -> None:
        handler.send_frame(b"\x01" + b"z" * 16_000_000)
        handler.send_frame(b"\x01t", 1)
        handler.send_frame(closing(1000), 8)

    assert everything(dial(play)) == b"z" * 16_000_000 + b"t"


def test_recv_with_a_time_limit(dial: Callable[..., Socket]) -> None:
    socket = dial(lambda handler: handler.read_frame() and None)
    with pytest.raises(TimeoutError):
        socket.recv(0.05)


def test_pings_keep_a_quiet_line_open_and_find_a_dead_one(
    dial: Callable[..., Socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "PING_SECONDS", 0.1)
    monkeypatch.setattr(sockets, "_SILENT_SECONDS", 0.5)

    def play(handler: Handler) -> None:
        handler.deaf_from = time.monotonic() + 0.8
        handler.read_frame()

    socket = dial(play)
    time.sleep(0.6)
    assert not socket.closed
    began = time.monotonic()
    assert socket.recv(5) == b""
    assert time.monotonic() - began < 2.5
    assert socket.close_reason == "the connection went silent"


@pytest.mark.parametrize(
    "url", [b'"http://127.0.0.1/"', b"null", b"{}", b'"ws://"', b'"javascript:alert(1)"']
)
def test_an_address_that_is_no_websocket(client_of: Callable[..., Client], url: bytes) -> None:
    site = FaultySite(k8s=True)
    site.say("GET", "/v1/containers/c1/attach", Reply(200, url))
    with pytest.raises(errors.ServerError, match="no usable address"):
        client_of(site).open_attach("c1")
    site.close()


def test_a_gateway_that_does_not_pass_websockets(client_of: Callable[..., Client]) -> None:
    site = FaultySite(k8s=True)
    url = site.url.replace("http", "ws") + "/nothing?token=s3cret"
    site.say("GET", "/v1/containers/c1/attach", Reply(200, json.dumps(url).encode()))
    with pytest.raises(errors.ServerError, match="it answered 404") as caught:
        client_of(site).open_attach("c1")
    assert "s3cret" not in str(caught.value)
    site.close()


def test_over_tls_with_an_authority_of_ones_own(
    client_of: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "site.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=x -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", pem, "-out", tmp_path / "cert"], check=True, capture_output=True
    )
    pem.write_bytes(pem.read_bytes() + (tmp_path / "cert").read_bytes())
    site = FaultySite(k8s=True, tls=pem)
    url = site.url.replace("https", "wss") + "/ws?token=s3cret"
    site.say("GET", "/v1/containers/c1/attach", Reply(200, json.dumps(url).encode()))

    def answer(handler: Handler) -> None:
        handler.open_websocket()
        handler.send_frame(b"\x01" + b"z" * 300_000)
        handler.send_frame(b"\x01" + handler.read_frame()[1])
        handler.send_frame(closing(1000), 8)
        handler.linger()

    site.say("GET", "/ws", answer)
    with pytest.raises(errors.Unreachable, match="certificate is not trusted"):
        client_of(site)
    monkeypatch.setenv("OS_CACERT", str(pem))
    socket = client_of(site).open_attach("c1")
    socket.send(b"over")
    assert everything(socket) == b"z" * 300_000 + b"over"
    plain: dict[str, Any] = {
        "channels": True, "resizer": None, "ends_with_exit": False, "bytes_per_second": None, "label": "c"
    }  # fmt: skip
    login = sites.login()
    login.session.verify = True
    with pytest.raises(errors.Unreachable, match="its certificate is not trusted"):
        connect(url, login.session, **plain)
    login.session.verify = False
    with connect(url, login.session, **plain) as socket:
        assert len(socket.recv(5)) > 0
    login.session.verify = str(pem)
    site.close()


# -- the local site ---------------------------------------------------------------------------------


# a shell of sorts that ends when it is told to; `sh` is killed after ten seconds
OBEDIENT = ["sh", "-c", "trap 'exit 0' TERM; while read -r line; do eval \"$line\"; done"]


@pytest.fixture
def container(real: Client) -> Iterator[Container]:
    reservation = {"reservation": _reservation(real)} if real.dialect.needs_reservation else {}
    made = real.create_container(
        create_request(
            name="terminal", image="busybox", command=OBEDIENT, interactive=True, hints=reservation
        ),
        run=True,
    )
    deadline = time.monotonic() + 20
    while real.get_container(made.uuid).status != "Running":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield made
    real.delete_container(made.uuid, stop=True)


def _reservation(client: Client) -> str:
    from chi_edge_lab.zun import Reservations

    return Reservations(client.login).device_reservations()[0].id


def _open(client: Client, uuid: str) -> Socket:
    return client.open_attach(uuid) if client.dialect.name == "k8s" else client.open_exec(uuid, "sh")


def _until(socket: Socket, wanted: bytes) -> bytes:
    data = b""
    while wanted not in data:
        piece = socket.recv(10)
        assert piece, socket.close_reason
        data += piece
    return data


def test_a_real_terminal(real: Client, container: Container) -> None:
    socket = _open(real, container.uuid)
    socket.resize(31, 101)
    socket.send(b"stty size; echo sum$((1+1))\n")
    assert b"31 101" in _until(socket, b"sum2")
    socket.send(b"echo h\xc3\xa9; sleep 100\n")
    _until(socket, b"h\xc3\xa9\r\n")
    socket.close()
    assert socket.closed
    listing = real.execute(container.uuid, "ps").output
    assert "sleep 100" not in listing
    assert re.findall(r"\bsh$", listing, re.MULTILINE) == []


def test_a_real_shell_that_ends(real: Client, container: Container) -> None:
    socket = _open(real, container.uuid)
    socket.send(b"exit 3\n")
    while socket.recv(10):
        pass
    told = ("the shell has ended with exit code 3", 3)
    untold = ("the process has ended", None)
    # only k8s tells the code, and not where the connection ends before the code is known
    assert (socket.close_reason, socket.exit_code) in (
        (told, untold) if real.dialect.channel_bytes else (untold,)
    )


def test_real_terminals_side_by_side(real: Client, container: Container) -> None:
    results: list[bool] = []

    def work(number: int) -> None:
        with _open(real, container.uuid) as socket:
            socket.send(b"echo me$((%d+100))\n" % number)
            results.append(b"me%d" % (number + 100) in _until(socket, b"me%d" % (number + 100)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [True] * 4


def test_a_real_attach_leaves_the_main_process_alone(real: Client, container: Container) -> None:
    with real.open_attach(container.uuid) as socket:
        socket.send(b"echo main$((1+1))\n")
        _until(socket, b"main2")
    assert real.get_container(container.uuid).status == "Running"


def test_a_container_that_goes_away_under_its_terminal(real: Client, container: Container) -> None:
    socket = _open(real, container.uuid)
    real.stop(container.uuid, timeout=0)
    while socket.recv(20):
        pass
    assert socket.close_reason
    deadline = time.monotonic() + 10
    while real.get_container(container.uuid).status != "Stopped":
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_real_proxy_and_a_token_it_does_not_know(real: Client, container: Container) -> None:
    where = real.terminal_address(container.uuid)
    reach(where)
    with pytest.raises(errors.SiteError):
        connect(
            f"{where}/ws/?token=00000000-0000-0000-0000-000000000000&uuid={container.uuid}",
            real.login.session,
            channels=False,
            resizer=None,
            ends_with_exit=False,
            bytes_per_second=None,
            label="container 'x'",
        )
