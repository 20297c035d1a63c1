"""Floating IPs: exposed ports answer while they are attached and the container runs."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from typing import Any

import pytest
import requests

from tests.zunapi.running import RunningSite, until

SERVE = (
    "mkdir -p /tmp/www; echo page > /tmp/www/index.html; "
    "while :; do echo hello-tcp | nc -l -p 7000; done & "
    "while :; do nc -l -p 7001 -e cat; done & "
    "httpd -f -p 8080 -h /tmp/www"
)


def floating(site: RunningSite) -> Any:
    return site.site.network.create_floating_ip(site.project("edge"), port_id=None, description="")


def attach(site: RunningSite, fip: Any, ref: str | None) -> None:
    port = None
    if ref is not None:
        (entries,) = site.get(ref)["addresses"].values()
        port = entries[0]["port"]
    site.site.network.attach(site.project("edge"), fip.id, port)


def settle(site: RunningSite) -> dict[Any, int]:
    asyncio.run_coroutine_threadsafe(site.site.forwarder.settled(), site.loop).result(10)
    return site.site.forwarder.mapping()


def page(address: str, port: int) -> str:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", "/index.html")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def refused(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return False
    except ConnectionRefusedError:
        return True


@pytest.fixture(scope="module")
def served(edge: RunningSite) -> str:
    made = edge.create(command=["sh", "-c", SERVE], exposed_ports={"8080/tcp": {}, "7001": {}, "80/tcp": {}})
    until(lambda: edge.execute(made, "wget -qO- http://127.0.0.1:8080/index.html")["exit_code"] == 0)
    return made


def test_attach_and_detach(edge: RunningSite, served: str) -> None:
    fip = floating(edge)
    assert refused(fip.address, 8080)
    attach(edge, fip, served)
    settle(edge)
    assert page(fip.address, 8080) == "page\n"
    assert refused(fip.address, 7000)  # it answers inside, but is not exposed
    attach(edge, fip, None)
    settle(edge)
    assert refused(fip.address, 8080)


def neutron(site: RunningSite, method: str, path: str, **fields: Any) -> Any:
    answer = requests.request(
        method, f"{site.site.url}/network/v2.0{path}", json={"floatingip": fields} if fields else None,
        headers={"X-Auth-Token": site.token()}, timeout=30,
    )  # fmt: skip
    assert answer.ok, answer.text
    return answer.json()["floatingip"] if answer.content else None


def test_it_listens_before_the_answer(edge: RunningSite, served: str) -> None:
    (entries,) = edge.get(served)["addresses"].values()
    port, network = entries[0]["port"], edge.site.network.public.id
    fip = neutron(edge, "POST", "/floatingips", floating_network_id=network)
    path, address = f"/floatingips/{fip['id']}", fip["floating_ip_address"]
    for _ in range(20):
        neutron(edge, "PUT", path, port_id=port)
        assert page(address, 8080) == "page\n"
        neutron(edge, "PUT", path, port_id=None)
        assert refused(address, 8080)
    neutron(edge, "DELETE", path)
    fip = neutron(edge, "POST", "/floatingips", floating_network_id=network, port_id=port)
    assert page(fip["floating_ip_address"], 8080) == "page\n"
    neutron(edge, "DELETE", f"/floatingips/{fip['id']}")
    assert refused(fip["floating_ip_address"], 8080)


def test_it_listens_before_the_container_is_seen_running(any_site: RunningSite) -> None:
    made = any_site.create(exposed_ports={"8082": {}})
    fip = floating(any_site)
    attach(any_site, fip, made)
    for _ in range(5):
        any_site.http("POST", f"/v1/containers/{made}/stop?timeout=0")
        any_site.wait(made, "Stopped")
        any_site.http("POST", f"/v1/containers/{made}/start")
        until(lambda: any_site.get(made)["status"] == "Running")
        socket.create_connection((fip.address, 8082), timeout=5).close()
        any_site.wait(made, "Running")
    attach(any_site, fip, None)


def test_a_port_that_nobody_listens_on_is_reset(edge: RunningSite, served: str) -> None:
    fip = floating(edge)
    attach(edge, fip, served)
    real = settle(edge)[fip.address, 80, "tcp"]
    assert real in {80, 8080 if (fip.address, 8080, "tcp") not in edge.site.forwarder.mapping() else 80}
    connection = socket.create_connection((fip.address, real), timeout=5)
    with connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
    attach(edge, fip, None)


def test_bytes_both_ways_and_half_closed(edge: RunningSite, served: str) -> None:
    fip = floating(edge)
    attach(edge, fip, served)
    settle(edge)
    data = bytes(range(256)) * 8192  # 2 MB
    got = bytearray()
    with socket.create_connection((fip.address, 7001), timeout=10) as connection:

        def send() -> None:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        while chunk := connection.recv(65536):
            got += chunk
        thread.join()
    assert bytes(got) == data
    attach(edge, fip, None)


def test_it_follows_the_container(edge: RunningSite) -> None:
    command = ["sh", "-c", "mkdir /www; echo page > /www/index.html; exec httpd -f -p 8081 -h /www"]
    made = edge.create(command=command, exposed_ports={"8081": {}})
    fip = floating(edge)
    attach(edge, fip, made)
    settle(edge)

    def answers() -> bool:
        try:
            return page(fip.address, 8081) == "page\n"
        except (OSError, http.client.HTTPException):
            return False

    until(answers)
    edge.http("POST", f"/v1/containers/{made}/stop?timeout=0")
    edge.wait(made, "Stopped")
    until(lambda: refused(fip.address, 8081))
    edge.http("POST", f"/v1/containers/{made}/start")
    edge.wait(made, "Running")
    until(answers)
    edge.http("DELETE", f"/v1/containers/{made}?stop=true")
    edge.gone(made)
    until(lambda: refused(fip.address, 8081))
    assert edge.site.network.floating_ip(edge.project("edge"), fip.id).port_id is None


def test_udp(edge: RunningSite) -> None:
    if edge.site.engine.name != "namespaces":
        pytest.skip("only the namespaces engine has an image with Python")
    image = next(image.name for image in edge.site.engine.images() if image.name.startswith("python"))
    script = (
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.bind(('', 5300))\nprint('up', flush=True)\n"
        "while True:\n    data, who = s.recvfrom(65536)\n    s.sendto(data.upper(), who)\n"
    )
    made = edge.create(image=image, command=["python3", "-c", script], exposed_ports={"5300/udp": {}})
    until(lambda: "up" in (edge.http("GET", f"/v1/containers/{made}/logs").json() or ""))
    fip = floating(edge)
    attach(edge, fip, made)
    settle(edge)
    for _ in range(2):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            for word in (b"one", b"two"):
                sock.sendto(word, (fip.address, 5300))
                assert sock.recv(100) == word.upper()
    attach(edge, fip, None)
