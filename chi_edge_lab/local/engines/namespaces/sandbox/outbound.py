"""The way out for a container that is allowed one: an HTTP proxy, listening inside, connecting outside.

A network of its own with routes needs root; this needs nothing. It serves what speaks through `http_proxy`
and `https_proxy` (pip, curl, requests), not ping, UDP or name lookups inside. The host's own loopback and
link-local addresses are refused: nothing that trusts "only this machine" is reached from a container.
"""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import encodings.idna
import ipaddress
import os
import socket
from urllib.parse import urlsplit

from . import PROXY_PORT, protocol, syscalls
from .joining import Namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is slow to import
    from collections.abc import Callable

_HEAD_BYTES = 64 * 1024
_CHUNK = 64 * 1024
_PATIENCE = 30.0  # seconds for a request's head, and for a connection out
_MAX_CONNECTIONS = 128
# asyncio and getaddrinfo import these when they need them; the interpreter's files may be out of reach then.
_NEEDED_LATER = (concurrent.futures.thread, encodings.idna)
_IP_FREEBIND = 15  # the loopback inside is not up yet when we begin to listen


def start(namespaces: Namespaces, owner: int, expect: Callable[[int], None]) -> None:
    """Fork the proxy of a container whose pid 1 still waits. Raises OSError."""
    ours, theirs = socket.socketpair()
    helper = os.fork()
    if helper == 0:
        try:
            _listen_inside(namespaces, theirs)
        finally:
            os._exit(0)
    theirs.close()
    os.waitpid(helper, 0)
    fds = protocol.receive_packet(ours)[1]
    ours.close()
    if not fds:
        raise OSError(0, "no proxy can listen in the container")
    child = os.fork()
    if child == 0:
        try:
            _serve(fds[0], owner)
        finally:
            os._exit(0)
    expect(child)
    os.close(fds[0])


def _listen_inside(namespaces: Namespaces, shim: socket.socket) -> None:
    namespaces.join(("user", "net"))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        listener.bind(("127.0.0.1", PROXY_PORT))
        listener.listen(64)
        socket.send_fds(shim, [b"l"], [listener.fileno()])


def _serve(listener: int, owner: int) -> None:
    """It reads what a container sends, so it has no rights of ours."""
    kept = os.dup2(listener, 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(owner, owner, owner)
        os.setresuid(owner, owner, owner)
    syscalls.die_with_parent()  # last: a change of user clears it
    syscalls.hide_from_ptrace()
    asyncio.run(_run(socket.socket(fileno=kept)))


async def _run(listener: socket.socket) -> None:
    slots = asyncio.Semaphore(_MAX_CONNECTIONS)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with slots:
            with contextlib.suppress(OSError, asyncio.TimeoutError, asyncio.IncompleteReadError):
                await _handle(reader, writer)
            writer.close()

    server = await asyncio.start_server(handle, sock=listener, limit=_HEAD_BYTES)
    await server.serve_forever()


async def _handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _PATIENCE)
        host, port, forwarded = parse_head(head)
    except (ValueError, asyncio.LimitOverrunError):
        await _refuse(writer, "400 Bad Request", "This is a proxy for HTTP.")
        return
    try:
        address = await allowed_address(host, port)
        connecting = asyncio.open_connection(address, port, limit=_HEAD_BYTES)
        upstream_reader, upstream_writer = await asyncio.wait_for(connecting, _PATIENCE)
    except PermissionError as error:
        await _refuse(writer, "403 Forbidden", str(error))
        return
    except (OSError, asyncio.TimeoutError) as error:
        await _refuse(writer, "502 Bad Gateway", f"{host}:{port} cannot be reached: {error}")
        return
    if forwarded is None:
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        upstream_writer.write(forwarded)
    try:
        await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))
    finally:
        upstream_writer.close()


def parse_head(head: bytes) -> tuple[str, int, bytes | None]:
    """Host, port and what to send on; None instead of the last for CONNECT. Raises ValueError."""
    request, _, rest = head.partition(b"\r\n")
    method, target, version = request.decode("ascii").split(" ")
    if method == "CONNECT":
        parts = urlsplit("//" + target)
        if parts.hostname is None or parts.port is None:
            raise ValueError(target)
        return parts.hostname, parts.port, None
    parts = urlsplit(target)
    if parts.scheme != "http" or parts.hostname is None:
        raise ValueError(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {path} {version}".encode("ascii")]
    dropped = (b"proxy-", b"connection:", b"keep-alive:")
    lines += [line for line in rest.split(b"\r\n") if line and not line.lower().startswith(dropped)]
    lines.append(b"Connection: close")  # one request a connection: the next may be for another host
    return parts.hostname, parts.port or 80, b"\r\n".join(lines) + b"\r\n\r\n"


async def allowed_address(host: str, port: int) -> str:
    """An address of the host. Raises OSError; PermissionError when it is this machine's own."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        address = mapped or address
        own = address.is_loopback or address.is_unspecified
        if not (own or address.is_link_local or address.is_multicast):
            return str(address)
    raise PermissionError(f"{host} is an address of this machine itself")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _refuse(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = (text + "\n").encode("utf-8", "replace")
    lines = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    writer.write("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body)
    await writer.drain()
