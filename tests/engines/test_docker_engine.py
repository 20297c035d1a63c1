"""What is Docker's own in the docker engine: its daemon, its events, its network."""

from __future__ import annotations

import contextlib
import gc
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from chi_edge_lab.local.engines.base import EngineUnavailable, Spec
from chi_edge_lab.local.engines.busybox import find_busybox
from chi_edge_lab.local.engines.docker import DockerEngine
from chi_edge_lab.local.engines.docker.daemon import find_daemon

from .conftest import wait_for

pytestmark = pytest.mark.docker


class Relay:
    """Stands between an engine and the daemon, on a Unix socket or a port, and can be cut."""

    def __init__(self, path: pathlib.Path | None) -> None:
        self._path = path
        self._target = find_daemon_socket()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.url = ""

    def up(self) -> None:
        if self._path is None:
            listener = socket.create_server(("127.0.0.1", 0))
            self.url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        else:
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(self._path))
            listener.listen(50)
            self.url = f"unix://{self._path}"
        self._open = [listener]
        self._run(self._accept, listener)

    def down(self) -> None:
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join(5)
        self._threads.clear()

    def _run(self, function: Callable[..., None], *arguments: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with listener, contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                self._open.append(client)
                self._run(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._target)
            self._open.append(server)
            other = self._run(self._pump, client, server)
            self._pump(server, client)
            other.join(5)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def find_daemon_socket() -> str:
    with contextlib.closing(find_daemon()) as daemon:
        if not daemon.url.startswith("unix://"):
            pytest.skip("this Docker has no Unix socket")
        return daemon.url.removeprefix("unix://")


@pytest.fixture(params=["unix"])
def relay(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Relay]:
    relay = Relay(tmp_path / "relay.sock" if request.param == "unix" else None)
    relay.up()
    monkeypatch.setenv("DOCKER_HOST", relay.url)
    yield relay
    relay.down()


# the SDK leaves the sockets open with which it found nobody; they go with the garbage
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_ends_while_the_daemon_is_away_is_told_when_it_is_back(
    docker_engine: DockerEngine, relay: Relay, tmp_path: pathlib.Path
) -> None:
    watching = DockerEngine(tmp_path / "engine" / "docker")  # the same site, through the relay
    told: list[str] = []
    for name in ("a", "b", "c"):
        docker_engine.create(
            Spec(id=name, name=name, image=docker_engine.images()[0].name, command=("sleep", "1000"))
        )
        docker_engine.start(name)
    try:
        watching.on_exit = told.append
        docker_engine.kill("a")
        wait_for(lambda: told == ["a"])
        relay.down()
        docker_engine.kill("b")
        wait_for(lambda: docker_engine.inspect("b").status == "exited")
        with pytest.raises(EngineUnavailable):
            watching.inspect("c")
        assert told == ["a"]
        relay.up()
        wait_for(lambda: told == ["a", "b"])
        docker_engine.kill("c")
        wait_for(lambda: told == ["a", "b", "c"])
        assert watching.inspect("c").exit_code == 137
    finally:
        watching.close()
        gc.collect()


def test_a_broken_callback_does_not_end_the_watch(docker_engine: DockerEngine) -> None:
    told = []

    def broken(id: str) -> None:
        told.append(id)
        raise RuntimeError("the site has a problem")

    docker_engine.on_exit = broken
    for name in ("a", "b"):
        docker_engine.create(
            Spec(id=name, name=name, image=docker_engine.images()[0].name, command=("true",))
        )
        docker_engine.start(name)
        wait_for(lambda name=name: name in told)  # type: ignore[misc]


def test_close_leaves_no_thread(tmp_path: pathlib.Path) -> None:
    before = threading.active_count()
    engine = DockerEngine(tmp_path)
    assert threading.active_count() == before + 1
    begin = time.monotonic()
    engine.close()
    assert threading.active_count() == before
    assert time.monotonic() - begin < 1


def test_busybox_is_the_default_and_says_where_it_comes_from(docker_engine: DockerEngine) -> None:
    if find_busybox() is None:
        pytest.skip("there is no static busybox here")
    default = docker_engine.images()[0]
    assert default.name == "busybox:latest"
    assert docker_engine.image("busybox") == default
    assert docker_engine.image("docker.io/library/busybox") == default
    assert default.provenance


def test_the_network_is_closed_unless_asked_for(docker_engine: DockerEngine, tmp_path: pathlib.Path) -> None:
    opened = DockerEngine(tmp_path / "open", outbound=True)
    daemon = find_daemon()
    client = daemon.client
    try:
        for engine, closed in ((docker_engine, True), (opened, False)):
            engine.create(Spec(id="n", name="n", image=engine.images()[0].name, command=("sleep", "1000")))
            engine.start("n")
            [found] = client.containers(filters={"label": f"chi-edge-lab.site={engine.site}"})
            [network] = found["NetworkSettings"]["Networks"].values()
            assert client.inspect_network(network["NetworkID"])["Internal"] is closed
    finally:
        opened.remove("n")
        opened.close()
        daemon.close()


def test_a_socket_that_is_not_there_or_not_ours(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineUnavailable, match=r"DOCKER_HOST is .*none\.sock, where there is no socket"):
        DockerEngine(tmp_path)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead.sock"))
    dead.close()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/dead.sock")
    with pytest.raises(EngineUnavailable, match="No container daemon answers"):
        DockerEngine(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(EngineUnavailable, match="refused"):
        DockerEngine(tmp_path)


@pytest.mark.parametrize("relay", ["tcp"], indirect=True)
def test_it_works_over_tcp(relay: Relay, tmp_path: pathlib.Path) -> None:
    engine = DockerEngine(tmp_path)
    try:
        engine.create(Spec(id="t", name="t", image=engine.images()[0].name, command=("sleep", "1000")))
        engine.start("t")
        assert engine.execute("t", ["cat"], stdin=b"over tcp").output == b"over tcp"
    finally:
        engine.remove("t")
        engine.close()
