"""Neutron as openstacksdk uses it, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import openstack
import pytest
from keystoneauth1.session import Session
from openstack import exceptions

from chi_edge_lab.local.config import Settings, SiteConfig
from chi_edge_lab.local.network import Network, NetworkError
from chi_edge_lab.local.store import Store
from tests.localsite import LocalSite
from tests.services.test_identity import plugin

# openstacksdk warns of its own next versions, also of what only it does itself
pytestmark = [
    pytest.mark.filterwarnings(f"ignore::{kind}")
    for kind in ("DeprecationWarning", "PendingDeprecationWarning")
]

PROJECT = "p" * 32


@pytest.fixture
def connection(site: LocalSite) -> Iterator[openstack.connection.Connection]:
    login = Session(auth=plugin(site))
    with openstack.connection.Connection(session=login, region_name="local") as cloud:
        yield cloud


def test_the_sdk_finds_the_networks(connection: openstack.connection.Connection) -> None:
    networks = {n.name: n for n in connection.network.networks()}
    assert set(networks) == {"public", "containernet1"}
    assert networks["public"].is_router_external
    assert [n.name for n in connection.network.networks(is_router_external=True)] == ["public"]
    assert connection.network.find_network("public", ignore_missing=False).id == networks["public"].id
    with pytest.raises(exceptions.NotFoundException):
        connection.network.find_network("nowhere", ignore_missing=False)
    subnet = connection.network.get_subnet(networks["public"].subnet_ids[0])
    assert subnet.cidr.startswith("127.")
    assert [g.name for g in connection.network.security_groups()] == ["default"]
    assert connection.network.find_extension("router", ignore_missing=False).name


def test_the_sdk_takes_and_gives_back_a_floating_ip(connection: openstack.connection.Connection) -> None:
    public = connection.network.find_network("public", ignore_missing=False)
    made = connection.network.create_ip(floating_network_id=public.id, description="of a test")
    try:
        assert made.floating_ip_address.startswith("127.")
        assert (made.status, made.port_id, made.description) == ("DOWN", None, "of a test")
        assert [f.id for f in connection.network.ips(floating_ip_address=made.floating_ip_address)] == [
            made.id
        ]
        assert [f.id for f in connection.network.ips(status="ACTIVE")] == []
        assert connection.network.update_ip(made, description="changed").description == "changed"
        assert connection.network.update_ip(made, port_id=None).status == "DOWN"
        with pytest.raises(exceptions.NotFoundException, match="Port nowhere could not be found"):
            connection.network.update_ip(made, port_id="nowhere")
    finally:
        connection.network.delete_ip(made, ignore_missing=False)
    with pytest.raises(exceptions.NotFoundException, match="could not be found"):
        connection.network.get_ip(made.id)


def test_a_floating_ip_needs_an_external_network(connection: openstack.connection.Connection) -> None:
    private = connection.network.find_network("containernet1", ignore_missing=False)
    with pytest.raises(exceptions.BadRequestException, match="is not a valid external network"):
        connection.network.create_ip(floating_network_id=private.id)
    with pytest.raises(exceptions.NotFoundException, match="Network nowhere could not be found"):
        connection.network.create_ip(floating_network_id="nowhere")
    with pytest.raises(exceptions.BadRequestException, match="floating_network_id"):
        connection.network.create_ip()


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """The service itself, with three addresses."""
    config = SiteConfig.open(tmp_path / "site")
    config.settings = replace(Settings(), floating_ips=3)
    return Network(config, Store(":memory:"))


def test_a_port_has_one_floating_ip(network: Network) -> None:
    port = network.create_port("container", PROJECT, network.free_address())
    first = network.create_floating_ip(PROJECT, port_id=port, description="")
    second = network.create_floating_ip(PROJECT, port_id=None, description="")
    assert network.attachments() == {"container": [first.address]}
    with pytest.raises(NetworkError, match="already has a floating IP") as refused:
        network.attach(PROJECT, second.id, port)
    assert (refused.value.status, refused.value.kind) == (409, "FloatingIPPortAlreadyAssociated")
    network.attach(PROJECT, first.id, port)  # again: it is its own
    network.attach(PROJECT, first.id, None)
    network.attach(PROJECT, second.id, port)
    assert network.attachments() == {"container": [second.address]}


def test_a_floating_ip_outlives_the_port(network: Network) -> None:
    port = network.create_port("container", PROJECT, network.free_address())
    floating = network.create_floating_ip(PROJECT, port_id=port, description="")
    network.delete_port(port)
    network.delete_port(port)
    assert network.floating_ip(PROJECT, floating.id).port_id is None
    assert network.attachments() == {}


def test_an_empty_pool_says_so(network: Network) -> None:
    made = [network.create_floating_ip(PROJECT, port_id=None, description="") for _ in range(3)]
    assert len({f.address for f in made}) == 3
    with pytest.raises(NetworkError, match="No more IP addresses available on network") as refused:
        network.create_floating_ip("another", port_id=None, description="")
    assert (refused.value.status, refused.value.kind) == (409, "IpAddressGenerationFailure")
    network.delete_floating_ip(PROJECT, made[1].id)
    assert network.create_floating_ip("another", port_id=None, description="").address == made[1].address


def test_another_projects_things_are_not_there(network: Network) -> None:
    port = network.create_port("container", PROJECT, network.free_address())
    floating = network.create_floating_ip(PROJECT, port_id=None, description="")
    mine = network.create_floating_ip("another", port_id=None, description="")
    for call in (
        lambda: network.port("another", port),
        lambda: network.floating_ip("another", floating.id),
        lambda: network.attach("another", floating.id, None),
        lambda: network.attach("another", mine.id, port),
        lambda: network.describe("another", floating.id, "x"),
        lambda: network.delete_floating_ip("another", floating.id),
        lambda: network.create_floating_ip("another", port_id=port, description=""),
    ):
        with pytest.raises(NetworkError) as refused:
            call()
        assert refused.value.status == 404
    assert network.ports("another") == []
    assert [f.id for f in network.floating_ips("another")] == [mine.id]


def test_changes_are_told(network: Network) -> None:
    told = []
    network.on_change = lambda: told.append(1)
    port = network.create_port("container", PROJECT, network.free_address())
    network.update_port(port, "10.0.0.9")
    floating = network.create_floating_ip(PROJECT, port_id=port, description="")
    network.attach(PROJECT, floating.id, None)
    network.delete_floating_ip(PROJECT, floating.id)
    network.delete_port(port)
    assert len(told) == 6


def test_containers_get_addresses_of_their_own(network: Network) -> None:
    addresses = set()
    for number in range(300):
        address = network.free_address()
        assert address not in addresses
        addresses.add(address)
        network.create_port(str(number), PROJECT, address)
