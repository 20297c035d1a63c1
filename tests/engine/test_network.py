"""Sockets into the network of a container."""

from __future__ import annotations

import socket

import pytest

from chi_edge_lab.local.engines.base import NotRunning

from .conftest import wait_until


def reachable(engine, identifier, port):
    try:
        engine.connect(identifier, port).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_server_in_the_container_answers(engine, run):
    identifier = run("python3", "-m", "http.server", "8000", image="python", address="10.1.1.9")
    wait_until(lambda: reachable(engine, identifier, 8000), 10)
    with engine.connect(identifier, 8000) as connection:
        assert connection.getpeername() == ("10.1.1.9", 8000)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.0 200 OK")
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", 8000), timeout=1).close()  # not this machine's port


def test_a_closed_port_refuses(engine, run):
    for address in (None, "10.1.1.9"):
        with pytest.raises(ConnectionRefusedError):
            engine.connect(run(address=address), 81)


def test_what_listens_on_localhost_only_is_not_reached_by_the_address(engine, run):
    identifier = run("httpd", "-f", "-p", "127.0.0.1:7000", address="10.1.1.9")
    with pytest.raises(ConnectionRefusedError):
        engine.connect(identifier, 7000)


def test_two_containers_can_have_the_same_port(engine, run):
    both = [run("sh", "-c", f"echo number {each} | nc -l -p 7000") for each in (1, 2)]
    for number, identifier in enumerate(both, 1):
        connections = []

        def connect(identifier=identifier, connections=connections):
            try:
                connections.append(engine.connect(identifier, 7000))
            except ConnectionRefusedError:
                return False
            return True

        wait_until(connect)
        with connections[0] as connection:
            assert connection.recv(100) == b"number %d\n" % number


def test_udp_reaches_it_too(engine, run):
    script = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('', 5353))\n"
        "print('bound', flush=True)\n"
        "while True:\n  data, peer = s.recvfrom(1000); s.sendto(data.upper(), peer)"
    )
    identifier = run("python3", "-c", script, image="python", address="10.1.1.9")
    wait_until(lambda: list(engine.logs(identifier)))
    with engine.connect(identifier, 5353, "udp") as connection:
        connection.settimeout(3)
        connection.send(b"hello")
        assert connection.recv(100) == b"HELLO"


def test_a_stopped_container_has_no_ports(engine, run):
    identifier = run()
    engine.stop(identifier, timeout=0)
    with pytest.raises(NotRunning):
        engine.connect(identifier, 80)
