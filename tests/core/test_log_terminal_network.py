"""Logs followed, terminals, floating IPs, on real local sites of both profiles."""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.request
from collections.abc import Callable

import pytest

from chi_edge_lab.core import floating_ips, lifecycle, logs
from chi_edge_lab.core.terminal import Terminal
from chi_edge_lab.errors import BadInput, Cancelled, Conflict, ContainerGone, NotFound
from chi_edge_lab.zun import Client
from tests.boxes import Box

New = Callable[..., str]
COUNT = "i=0;while [ $i -lt {n} ];do i=$((i+1));echo line $i;{pause}done"


def collect(client: Client, uuid: str, *, tail: int, count: int) -> list[str]:
    """Follow until there are `count` lines, and one poll more."""
    seen: list[str] = []
    stream = logs.follow(client, uuid, tail=tail, cancel=lambda: len(seen) >= count)
    with contextlib.suppress(Cancelled):
        for line in stream:
            seen.append(line.text)
    return seen


def test_snapshot_and_tail(client: Client, new_container: New) -> None:
    uuid = new_container(
        ["sh", "-c", "echo one; echo two >&2; printf three; trap exit TERM; sleep 1000 & wait"]
    )
    deadline = time.monotonic() + 5
    while len(logs.snapshot(client, uuid).split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert logs.snapshot(client, uuid).split()[:2] == ["one", "two"]
    last = logs.snapshot(client, uuid, tail=1, timestamps=True).splitlines()[-1]
    assert logs.parse_line(last).time is not None


def test_follow_gives_each_line_once_and_ends_with_the_container(client: Client, new_container: New) -> None:
    if client.dialect.name == "k8s":
        pytest.skip("there a command that ends is started again")
    uuid = new_container(["sh", "-c", COUNT.format(n=300, pause="[ $((i%50)) = 0 ]&&sleep 0.4;")])
    seen = [line.text for line in logs.follow(client, uuid, tail=1000)]
    assert seen == [f"line {number}" for number in range(1, 301)]


def test_follow_of_a_burst_and_cancel(client: Client, new_container: New) -> None:
    uuid = new_container(["sh", "-c", COUNT.format(n=5000, pause="") + ";trap exit TERM;sleep 1000 & wait"])
    seen = collect(client, uuid, tail=10_000, count=5000)
    assert seen == [f"line {number}" for number in range(1, 5001)]


def test_follow_with_a_short_tail_begins_near_the_end(client: Client, new_container: New) -> None:
    uuid = new_container(["sh", "-c", COUNT.format(n=50, pause="") + ";trap exit TERM;sleep 1000 & wait"])
    time.sleep(0.5)
    seen = collect(client, uuid, tail=3, count=3)
    assert seen == ["line 48", "line 49", "line 50"]


def test_follow_of_a_container_that_is_deleted(client: Client, new_container: New) -> None:
    uuid = new_container(["sh", "-c", "echo here; trap 'exit 0' TERM; while :; do sleep 1000 & wait; done"])
    stream = logs.follow(client, uuid)
    assert next(stream).text == "here"
    lifecycle.delete(client, uuid)
    with pytest.raises(ContainerGone):
        list(stream)


def test_terminal_types_reads_resizes_and_reattaches(box: Box) -> None:
    with Terminal(box.client, box.uuid, rows=30, cols=100) as terminal:
        terminal.write("echo $((6*7))-$(stty size | tr ' ' x)\n")
        terminal.read_until(b"42-30x100")
        terminal.resize(20, 70)
        terminal.write("echo again-$(stty size | tr ' ' x)\n")
        terminal.read_until(b"again-20x70")
        terminal.write("echo " + "y" * 3000 + "\n")
        terminal.read_until(b"y" * 100)
        terminal.reattach()
        terminal.write("echo back-$((40+2))\n")
        terminal.read_until(b"back-42")
        with pytest.raises(TimeoutError):
            terminal.read_until(b"never", timeout=0.3)
        terminal.write("exit\n")
        with pytest.raises(EOFError):
            terminal.read_until(b"never", timeout=10)
        assert terminal.close_reason


SERVER = (
    "mkdir -p /www;echo hello >/www/index.html;"
    "busybox httpd -p 8080 -h /www;trap 'exit 0' TERM;while :;do sleep 1000 & wait;done"
)


def test_floating_ip_answers_and_can_be_found_detached_and_released(
    client: Client, new_container: New
) -> None:
    uuid = new_container(["sh", "-c", SERVER], exposed_ports=[8080])
    address = floating_ips.attach(client, uuid)
    try:
        assert floating_ips.attach(client, uuid) == address, "it keeps the one it has"
        assert [one.floating_ip_address for one in floating_ips.find(client, uuid)] == [address]
        assert _fetch(f"http://{address}:8080/") == b"hello\n"
        floating_ips.detach(client, address)
        floating_ips.detach(client, address)
        assert floating_ips.find(client, uuid) == []
        assert floating_ips.attach(client, uuid) == address, "one of our own that is free is taken again"
        other = new_container()
        with pytest.raises(Conflict, match="bound to something else"):
            floating_ips.attach(client, other, address)
    finally:
        assert floating_ips.release(client, address) is True
    assert floating_ips.release(client, address) is False
    with pytest.raises(NotFound, match="has no floating IP"):
        floating_ips.attach(client, uuid, address)
    with pytest.raises(BadInput, match="not an IP address"):
        floating_ips.detach(client, "localhost; rm")


def test_unbound_floating_ip_of_somebody_else_is_left_alone(client: Client, new_container: New) -> None:
    from chi_edge_lab.zun.network import Network

    foreign = Network(client.login).create_floating_ip()  # not allocated through core
    uuid = new_container()
    ours = floating_ips.attach(client, uuid)
    try:
        assert ours != foreign.floating_ip_address
    finally:
        floating_ips.release(client, ours)
        Network(client.login).delete_floating_ip(foreign.id)


def _fetch(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + 5
    while True:
        try:
            with opener.open(url, timeout=5) as answer:
                return bytes(answer.read())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_a_log_stream_iterates_in_both_ways(client: Client, new_container: New) -> None:
    uuid = new_container(
        ["sh", "-c", COUNT.format(n=100, pause="") + ";trap 'exit 0' TERM;sleep 1000 & wait"]
    )
    wanted = [f"line {number}" for number in range(1, 101)]
    with logs.LogStream(client, uuid) as stream:
        assert [next(stream).text for _ in range(100)] == wanted

    async def collected() -> list[str]:
        return [line.text async for line in logs.LogStream(client, uuid, follow=False)]

    assert asyncio.run(collected()) == wanted
    assert [line.text for line in logs.LogStream(client, uuid, follow=False, tail=2)] == wanted[-2:]
    assert len(list(logs.LogStream(client, uuid, follow=False, since=time.time() - 3600))) == 100
    assert list(logs.LogStream(client, uuid, follow=False, since=time.time() + 3600)) == []
