"""Floating IPs: the exposed ports of a container answer on an address of 127.0.0.0/8.

Nothing is routed: for each exposed port of a running container that has a floating IP the site listens on that
address and passes bytes on to a socket that the engine connects inside the container. What is wanted is computed
anew at each change, so it does not matter in which order things happen.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

from chi_edge_lab.local.engines.base import EngineError
from chi_edge_lab.local.zunapi import states

if TYPE_CHECKING:
    from chi_edge_lab.local.zunapi.site import Site

_log = logging.getLogger(__name__)

Key = tuple[str, int, str]  # floating IP, exposed port, protocol

INSTEAD_OF_PRIVILEGED = 8000
"""Added to a port that the kernel keeps for root (below 1024 by default): 80 answers on 8080, 22 on 8022."""

CHUNK = 65536
"""Bytes passed on at a time; with the stream buffers (twice that) all the memory a connection takes."""

CONNECTIONS = 512
"""TCP connections of all forwards together; more wait in the listen queue's fate: they are closed at once."""

UDP_PEERS = 256
"""Clients of one UDP port that are remembered; the oldest is forgotten first."""

UDP_IDLE = 60.0
"""Seconds after which a silent UDP client is forgotten."""

CONNECTING_THREADS = 8
"""Connections to containers made at the same time (each takes a few milliseconds)."""


class Forwarder:
    """Listens on <floating IP>:<exposed port> while it is attached and the container runs."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listening: dict[Key, _Tcp | _Udp] = {}
        self._threads = ThreadPoolExecutor(CONNECTING_THREADS, thread_name_prefix="forward")
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self.connections = 0

    async def start(self) -> None:
        """From now on `update` has an effect. Call it on the site's event loop."""
        self._loop = asyncio.get_running_loop()
        self.update()

    def update(self) -> None:
        """Bring the listeners in line with what is attached and runs now. From any thread, at once."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._begin)

    def mapping(self) -> dict[Key, int]:
        """(floating IP, exposed port, protocol) -> the port that really listens."""
        return {key: forward.port for key, forward in list(self._listening.items())}

    async def settled(self) -> None:
        """Wait until all updates asked for so far are done."""
        while True:
            await asyncio.sleep(0)
            task = self._task
            if task is None or task.done():
                return
            await asyncio.wait([task])

    async def close(self) -> None:
        """Stop listening and drop all connections."""
        self._loop = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for forward in self._listening.values():
            await forward.close()
        self._listening.clear()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def connect(self, uuid: str, port: int, protocol: Literal["tcp", "udp"]) -> socket.socket:
        """A socket to a port in a container. Raises OSError, EngineError."""
        loop = asyncio.get_running_loop()
        sock = await loop.run_in_executor(self._threads, self._site.engine.connect, uuid, port, protocol)
        sock.setblocking(False)
        return sock

    def _begin(self) -> None:
        if self._loop is None:
            return
        if self._task is not None and not self._task.done():
            self._again = True
            return
        self._task = asyncio.create_task(self._reconcile())

    def _wanted(self) -> dict[Key, str]:
        wanted = {}
        for uuid, addresses in self._site.network.attachments().items():
            row = self._site.containers.get(uuid)
            if row is None or row.status != states.RUNNING:
                continue
            for port, protocol in row.port_list():
                for address in addresses:
                    wanted[address, port, protocol] = uuid
        return wanted

    async def _reconcile(self) -> None:
        while True:
            self._again = False
            wanted = self._wanted()
            for key in [key for key, forward in self._listening.items() if wanted.get(key) != forward.uuid]:
                await self._listening.pop(key).close()
            for key in wanted.keys() - self._listening.keys():
                forward = await self._open(key, wanted[key])
                if forward is not None:
                    self._listening[key] = forward
            if not self._again:
                return

    async def _open(self, key: Key, uuid: str) -> _Tcp | _Udp | None:
        address, port, protocol = key
        problem: OSError | None = None
        for number in (port, port + INSTEAD_OF_PRIVILEGED):
            if not 0 < number < 65536:
                continue
            forward: _Tcp | _Udp = (_Tcp if protocol == "tcp" else _Udp)(self, uuid, port)
            try:
                await forward.listen(address, number)
            except PermissionError as error:
                problem = error
                continue
            except OSError as error:
                problem = error
                break
            if number != port:
                _log.info(
                    "%s port %d/%s answers on port %d: the kernel keeps it for root",
                    address,
                    port,
                    protocol,
                    number,
                )
            return forward
        _log.warning("nothing can listen on %s port %d/%s: %s", address, port, protocol, problem)
        return None


class _Tcp:
    """One listening TCP port."""

    def __init__(self, owner: Forwarder, uuid: str, target: int) -> None:
        self.uuid = uuid
        self.port = 0
        self._owner = owner
        self._target = target
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def listen(self, address: str, port: int) -> None:
        """Raises OSError."""
        self._server = await asyncio.start_server(self._client, address, port, limit=CHUNK)
        self.port = port

    async def close(self) -> None:
        """Stop listening, drop its connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._clients):
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        self._owner.connections += 1
        try:
            if self._owner.connections <= CONNECTIONS:
                await self._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the forward is closed; asyncio would log a cancelled client as an error
        finally:
            self._owner.connections -= 1
            self._clients.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            sock = await self._owner.connect(self.uuid, self._target, "tcp")
        except (OSError, EngineError):
            _reset(writer)  # as a host does whose port is closed
            return
        inner_reader, inner_writer = await asyncio.open_connection(sock=sock, limit=CHUNK)
        try:
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))
        except OSError:
            _reset(writer)  # one side was reset: so is the other
        finally:
            inner_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until the end, and the end too. `drain` holds the reader back while the writer is full."""
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    transport = writer.transport
    transport.abort()


class _Udp(asyncio.DatagramProtocol):
    """One listening UDP port; each client has a socket of its own towards the container."""

    def __init__(self, owner: Forwarder, uuid: str, target: int) -> None:
        self.uuid = uuid
        self.port = 0
        self._owner = owner
        self._target = target
        self._transport: asyncio.DatagramTransport | None = None
        self._peers: dict[Any, _Peer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self, address: str, port: int) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(address, port))
        self.port = port

    async def close(self) -> None:
        """Stop listening, forget all clients."""
        if self._transport is not None:
            self._transport.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for address in list(self._peers):
            self._forget(address)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """From a client."""
        peer = self._peers.get(addr)
        if peer is not None:
            peer.send(data)
            return
        if len(self._tasks) >= UDP_PEERS:
            return  # a flood: datagrams may be lost
        task = asyncio.create_task(self._connect(data, addr))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, data: bytes, addr: Any) -> None:
        try:
            sock = await self._owner.connect(self.uuid, self._target, "udp")
        except (OSError, EngineError):
            return
        peer = self._peers.get(addr)
        if peer is not None:  # another datagram of the same client was quicker
            sock.close()
            peer.send(data)
            return
        while len(self._peers) >= UDP_PEERS:
            self._forget(next(iter(self._peers)))
        reply = self._transport
        assert reply is not None
        made = _Peer(lambda answer: reply.sendto(answer, addr), lambda: self._forget(addr))
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, sock=sock)
        self._peers[addr] = made
        made.send(data)

    def _forget(self, addr: Any) -> None:
        peer = self._peers.pop(addr, None)
        if peer is not None:
            peer.close()


class _Peer(asyncio.DatagramProtocol):
    """The way of one UDP client into the container."""

    def __init__(self, answer: Callable[[bytes], None], idle: Callable[[], None]) -> None:
        self._answer = answer
        self._idle = idle
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Ready."""
        self._transport = transport

    def send(self, data: bytes) -> None:
        """To the container."""
        self._touch()
        if self._transport is not None:
            self._transport.sendto(data)

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ARG002 - it is connected
        """From the container."""
        self._touch()
        self._answer(data)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there (ICMP): the datagram is lost, as datagrams are."""

    def close(self) -> None:
        """Forget it."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def _touch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(UDP_IDLE, self._idle)
