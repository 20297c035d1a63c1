"""The whole client against the local site in both profiles."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterator

import pytest

from chi_edge_lab import errors
from chi_edge_lab.zun import Client, Container, Network, Reservations, client_for, create_request
from tests.localsite import local_site

# a first process that ends when it is told to; a plain `sh` is killed after ten seconds
OBEDIENT = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


@pytest.fixture
def made(real: Client) -> Iterator[Container]:
    # its tar is GNU's: busybox's waits for an end of input that the k8s driver never gives
    image = str(local_site("chi-edge").images()[0]["name"])
    hints = {}
    if real.dialect.needs_reservation:
        hints = {"reservation": Reservations(real.login).device_reservations()[0].id}
    request = create_request(
        name="life", image=image, command=OBEDIENT, interactive=True, environment={"A": "b"}, hints=hints,
        exposed_ports={"80/tcp": {}}, device_profiles=[],
    )  # fmt: skip
    container = real.create_container(request, run=True)
    assert container.status == "Creating"
    until(real, container.uuid, "Running")
    yield container
    try:
        real.delete_container(container.uuid, stop=True)
    except errors.NotFound:
        return


def until(client: Client, uuid: str, status: str) -> Container:
    deadline = time.monotonic() + 20
    while (container := client.get_container(uuid)).status != status:
        assert time.monotonic() < deadline, container
        time.sleep(0.02)
    return container


def test_life(real: Client, made: Container) -> None:
    uuid = made.uuid
    container = real.get_container(uuid)
    assert (container.name, container.environment) == ("life", {"A": "b"})
    assert real.get_container("life").uuid == uuid
    assert uuid in [one.uuid for one in real.list_containers()]
    assert [one.uuid for one in real.list_containers(name="life")] == [uuid]
    assert (container.created_at is None) == (real.dialect.name == "k8s")
    actions = real.actions(uuid)
    assert [one.action for one in actions] == ["create"]
    action = real.action(uuid, actions[0].request_id or "")
    assert action.start_time is not None
    assert action.events
    assert real.rename(uuid, "life-2").name == "life-2"
    with pytest.raises(errors.InvalidState, match="in Running state"):
        real.start(uuid)
    real.stop(uuid, timeout=0)
    until(real, uuid, "Stopped")
    with pytest.raises(errors.InvalidState):
        real.execute(uuid, "true")
    real.start(uuid)
    until(real, uuid, "Running")
    real.delete_container(uuid, stop=True)
    deadline = time.monotonic() + 20
    while uuid in [one.uuid for one in real.list_containers()]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(errors.NotFound, match="there is none of that name or id in this project") as caught:
        real.get_container(uuid)
    assert "list_containers()" in caught.value.hint
    assert str(caught.value).count(uuid) == 1


def test_inside(real: Client, made: Container) -> None:
    uuid = made.uuid
    reply = real.execute(uuid, "sh -c 'echo out; echo err >&2; exit 3'")
    assert (sorted(reply.output.split()), reply.exit_code) == (["err", "out"], 3)
    assert real.execute(uuid, "echo " + "x" * 20_000).output == "x" * 20_000 + "\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        member = tarfile.TarInfo("näme")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"\x00\xff!"))
    real.put_archive(uuid, "/tmp", buffer.getvalue())
    assert real.execute(uuid, "sh -c 'cat /tmp/n* | od -An -tx1'").output.split() == ["00", "ff", "21"]
    archive = real.get_archive(uuid, "/tmp")
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as tar:
        assert any(name.endswith("näme") for name in tar.getnames())
    assert isinstance(real.logs(uuid, tail=5, timestamps=True), str)
    real.stats(uuid)


def test_five_seconds(real: Client, made: Container) -> None:
    began = time.monotonic()
    if real.dialect.name == "k8s":
        assert real.execute(made.uuid, "sleep 6").exit_code is None
    else:
        with pytest.raises(errors.ExecTimeout, match="goes on in the container"):
            real.execute(made.uuid, "sleep 6")
    assert 4 < time.monotonic() - began < 6


def test_what_there_is(real: Client) -> None:
    assert real.availability_zones() == ["nova"]
    profiles = real.device_profiles()
    assert (profiles is not None) == (real.dialect.name == "k8s")
    assert real.version == ("1.41" if real.dialect.name == "k8s" else "1.40")
    assert real.images() is not None
    with pytest.raises(errors.BadRequest, match="Unknown parameters"):
        real.list_containers(bogus=1)
    assert client_for(real.login) is client_for(real.login)


def test_floating_ips(real: Client, made: Container) -> None:
    network = Network(real.login)
    port = real.get_container(made.uuid).fixed_addresses()[0].port
    allocated = network.create_floating_ip()
    try:
        assert (allocated.port_id, bool(allocated.floating_ip_address)) == (None, True)
        assert network.update_floating_ip(allocated.id, port).port_id == port
        assert [one.id for one in network.floating_ips(port_id=port)] == [allocated.id]
        assert network.update_floating_ip(allocated.id, None).port_id is None
    finally:
        network.delete_floating_ip(allocated.id)
    assert network.floating_ips(floating_ip_address=allocated.floating_ip_address) == []
    with pytest.raises(errors.NotFound, match="release the floating IP"):
        network.delete_floating_ip(allocated.id)
    with pytest.raises(errors.BadInput):
        network.delete_floating_ip("")


def test_leases(real: Client) -> None:
    reservations = Reservations(real.login)
    if real.dialect.needs_reservation:
        assert reservations.available
        lease = reservations.leases()[0]
        assert reservations.lease(lease.id).id == lease.id
    if reservations.available:
        with pytest.raises(errors.NotFound):
            reservations.lease("00000000-0000-4000-8000-000000000000")
