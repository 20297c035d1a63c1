"""The services with real containers between them: reachable, kept over a crash, gone with their lease."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from tests.localsite import LocalSite, clean_environment
from tests.services.conftest import OwnSite
from tests.services.test_identity import plugin
from tests.services.test_reservations import date

SECONDS = 20.0


def until(what: Callable[[], Any]) -> Any:
    """Wait until it is true, and return it."""
    end = time.monotonic() + SECONDS
    while not (found := what()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
    return found


class Zun:
    """Raw calls to the site's Zun."""

    def __init__(self, site: LocalSite) -> None:
        self.reservation = site.env.get("CHI_EDGE_LAB_RESERVATION_ID")
        login = Session(auth=plugin(site))
        headers = {"OpenStack-API-Version": "container 1.40"}
        self.api = Adapter(login, service_type="container", region_name="local", additional_headers=headers)
        self.neutron = Adapter(login, service_type="network", region_name="local")
        self.blazar = Adapter(login, service_type="reservation", region_name="local")

    def run(self, name: str, command: list[str], **more: Any) -> str:
        """Start a container and wait until it runs; its uuid."""
        hints = {"reservation": more.pop("reservation", self.reservation)}
        body = {"name": name, "image": "busybox", "command": command, "hints": hints, **more}
        uuid = str(self.api.post("/containers?run=true", json=body).json()["uuid"])
        until(lambda: self.status(uuid) == "Running")
        return uuid

    def status(self, uuid: str) -> str | None:
        """Its status; None when it is gone."""
        answer = self.api.get(f"/containers/{uuid}", raise_exc=False)
        return answer.json()["status"] if answer.status_code == 200 else None

    def execute(self, uuid: str, command: str) -> str:
        """Output of a command."""
        answer = self.api.post(f"/containers/{uuid}/execute", params={"command": command, "run": "true"})
        return str(answer.json()["output"])

    def delete(self, uuid: str) -> None:
        """Delete it and see it gone."""
        self.api.delete(f"/containers/{uuid}", params={"stop": "true"})
        until(lambda: self.status(uuid) is None)


@pytest.fixture
def zun(site: LocalSite) -> Zun:
    return Zun(site)


def test_a_floating_ip_reaches_an_exposed_port(zun: Zun) -> None:
    serve = "mkdir /www && echo hello from inside >/www/index.html && exec httpd -f -p 8000 -h /www"
    uuid = zun.run("web", ["sh", "-c", serve], exposed_ports={"8000/tcp": {}})
    shown = zun.api.get(f"/containers/{uuid}").json()
    (net, (where,)) = next(iter(shown["addresses"].items()))
    port = zun.neutron.get(f"/v2.0/ports/{where['port']}").json()["port"]
    assert (port["network_id"], port["device_id"]) == (net, uuid)
    assert port["fixed_ips"][0]["ip_address"] == where["addr"]
    public = zun.neutron.get("/v2.0/networks?name=public").json()["networks"][0]["id"]
    made = zun.neutron.post("/v2.0/floatingips", json={"floatingip": {"floating_network_id": public}})
    floating = made.json()["floatingip"]
    path = f"/v2.0/floatingips/{floating['id']}"
    wrong = {"floatingip": {"port_id": port["id"], "fixed_ip_address": "10.0.0.1"}}
    assert zun.neutron.put(path, json=wrong, raise_exc=False).status_code == 400
    changed = zun.neutron.put(path, json={"floatingip": {"port_id": port["id"], "fixed_ip_address": None}})
    assert changed.json()["floatingip"]["status"] == "ACTIVE"
    assert changed.json()["floatingip"]["fixed_ip_address"] == where["addr"]

    def answer() -> bytes | None:
        connection = http.client.HTTPConnection(floating["floating_ip_address"], 8000, timeout=2)
        try:
            connection.request("GET", "/index.html")
            return connection.getresponse().read()
        except OSError:
            return None
        finally:
            connection.close()

    assert until(answer) == b"hello from inside\n"
    zun.delete(uuid)
    until(lambda: answer() is None)
    left = zun.neutron.get(path).json()["floatingip"]
    assert (left["status"], left["port_id"]) == ("DOWN", None)
    assert zun.neutron.get(f"/v2.0/ports?device_id={uuid}").json()["ports"] == []
    zun.neutron.delete(path)


def test_the_end_of_a_lease_takes_its_containers(zun: Zun) -> None:
    device = {"resource_type": "device", "min": 1, "max": 1, "resource_properties": ""}
    body = {
        "name": "short",
        "start_date": "now",
        "end_date": date(3600),
        "reservations": [device],
        "events": [],
    }
    lease = zun.blazar.post("/leases", json=body).json()["lease"]
    uuid = zun.run("leased", ["sleep", "1000"], reservation=lease["reservations"][0]["id"])
    zun.blazar.put(f"/leases/{lease['id']}", json={"end_date": date(1.5)})
    until(lambda: zun.status(uuid) in ("Deleted", None))
    assert zun.blazar.get(f"/leases/{lease['id']}").json()["lease"]["status"] == "TERMINATED"


class Own(LocalSite):
    """A local site as the clients above want it, in the directory of a test."""

    def __init__(self, own: OwnSite) -> None:
        self.directory = own.directory
        self.env = own.json("env")


def test_containers_live_through_kill_9_of_the_site(own: OwnSite) -> None:
    first = own.start()
    zun = Zun(Own(own))
    uuid = zun.run("survivor", ["sh", "-c", "echo kept >/note; exec sleep 1000"])
    assert own.json("status")["containers"] == 1
    os.kill(int(first["pid"]), signal.SIGKILL)
    until(lambda: own.run("status").returncode == 1)
    second = own.start()
    assert second["port"] == first["port"]
    assert zun.status(uuid) == "Running"
    assert zun.execute(uuid, "cat /note") == "kept\n"
    own.run("stop")
    other = "docker" if second["engine"] == "namespaces" else "namespaces"
    refused = own.run("start", "--engine", other)
    assert refused.returncode == 1
    assert f"has 1 container(s) in the {second['engine']} engine: delete them" in refused.stderr
    assert own.json("destroy")["containers"] == 1


def test_the_unmodified_openstack_command_line(site: LocalSite, tmp_path: Path) -> None:
    def openstack(*arguments: str) -> Any:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("openstack")), *arguments, "-f", "json"],
            env={**clean_environment(), **site.env},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert openstack("token", "issue")["project_id"]
    assert {s["Type"] for s in openstack("catalog", "list")} >= {"identity", "container", "network"}
    made = openstack("floating", "ip", "create", "public")
    shown = openstack("floating", "ip", "list")
    assert made["floating_ip_address"] in {row["Floating IP Address"] for row in shown}
    assert openstack("application", "credential", "create", "of-openstack")["Secret"]
    for command in (
        ("floating", "ip", "delete", made["floating_ip_address"]),
        ("application", "credential", "delete", "of-openstack"),
    ):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("openstack")), *command],
            env={**clean_environment(), **site.env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
