"""What a site has, floating IPs, figures of a container, and the bundle for whoever helps."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pytest

from tests.faultysite import FaultySite, Reply

SECRET = "hunter2-in-the-environment"


async def test_images_are_listed_or_a_sentence_says_what_to_do(api: Any, site: str) -> None:
    found = await api("GET", "sites", site, "images")
    assert bool(found["images"]) != bool(found["reason"])
    if found["images"]:
        assert any(str(one["repo"]).startswith("busybox") for one in found["images"])


async def test_networks_and_floating_ips(api: Any, box: Any, site: str) -> None:
    networks = await api("GET", "sites", site, "networks")
    public = next(one for one in networks["networks"] if one["external"])
    assert networks["floating_network"] == public["id"]

    uuid = await box.create(exposed_ports=[8080])
    own = await box.ask("GET", uuid, "networks")
    assert own["networks"][0]["fixed_ips"][0]["ip_address"]

    free = (await api("POST", "sites", site, "floating_ips"))["floating_ip_address"]
    assert (await box.ask("POST", uuid, "floating_ips", body={"address": free})) == {"address": free}
    assert (await box.ask("POST", uuid, "floating_ips")) == {"address": free}  # the one that it has
    bound = await box.ask("GET", uuid, "floating_ips")
    assert [one["floating_ip_address"] for one in bound["floating_ips"]] == [free]

    other = await box.create()
    problem = await box.ask("POST", other, "floating_ips", body={"address": free}, status=409)
    assert "bound to something else" in problem["message"]
    problem = await box.ask("DELETE", other, "floating_ips", free, status=409)
    assert "something else" in problem["message"]

    for _ in range(2):
        await box.ask("DELETE", uuid, "floating_ips", free, status=204)
    assert (await box.ask("GET", uuid, "floating_ips"))["floating_ips"] == []
    listed = await api("GET", "sites", site, "floating_ips")
    assert free in {one["floating_ip_address"] for one in listed["floating_ips"]}
    assert await api("DELETE", "sites", site, "floating_ips", free) == {"released": True}
    assert await api("DELETE", "sites", site, "floating_ips", free) == {"released": False}
    await api("DELETE", "sites", site, "floating_ips", "1.2.3.400", status=400)


async def test_reservations_tell_what_can_be_used(api: Any, site: str) -> None:
    found = await api("GET", "sites", site, "reservations")
    assert found["needed"] == (site == "local")
    if site == "local":
        assert [one["standing"] for one in found["usable"]] == [True]
        assert found["usable"][0]["id"]
    else:
        assert found["usable"] == []
        assert found["reason"] or found["leases"] == []


async def test_device_profiles_zones_and_quotas(api: Any, site: str) -> None:
    profiles = await api("GET", "sites", site, "device_profiles")
    assert bool(profiles["profiles"]) == (site == "local")
    assert bool(profiles["reason"]) == (site != "local")
    assert (await api("GET", "sites", site, "availability_zones"))["zones"] == ["nova"]
    quotas = await api("GET", "sites", site, "quotas")
    assert quotas["quotas"]["containers"]["limit"] == 40
    assert quotas["reason"] == ""


async def test_what_is_for_administrators_is_a_sentence_and_no_error(
    api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty = FaultySite(k8s=True)
    refusal = Reply(403, {"errors": [{"status": 403, "code": "", "title": "Policy doesn't allow it."}]})
    try:
        for name, value in faulty.env().items():
            monkeypatch.setenv(name, value)
        for path in ("/v1/images", "/v1/quotas/0123456789abcdef0123456789abcdef"):
            faulty.say("GET", path, refusal)
        assert "administrators" in (await api("GET", "sites", "default", "images"))["reason"]
        assert await api("GET", "sites", "default", "quotas") == {
            "quotas": {}, "reason": "This site does not tell its quotas to this user."
        }  # fmt: skip
        # neither Neutron nor Blazar in its catalogue
        assert "no network service" in (await api("GET", "sites", "default", "networks"))["reason"]
        assert "no network service" in (await api("GET", "sites", "default", "floating_ips"))["reason"]
        assert "no reservation service" in (await api("GET", "sites", "default", "reservations"))["reason"]
    finally:
        faulty.close()


async def test_stats_and_processes(box: Any, site: str) -> None:
    uuid = await box.create()
    found = await box.ask("GET", uuid, "stats")
    assert found["stats"]["memory_bytes"] if found["stats"] else found["reason"]
    if site == "local":
        problem = await box.ask("GET", uuid, "top", status=409)
        assert problem["message"].startswith("CHI@Edge's driver cannot list processes")
    else:
        assert (await box.ask("GET", uuid, "top"))["titles"]
    await box.ask("GET", uuid, "top", ps_args="; reboot", status=400)


async def test_the_bundle_tells_much_and_no_secret(api: Any, box: Any, site: str) -> None:
    command = ["sh", "-c", f"echo starting with {SECRET}; echo password=abc123; exec sleep 1000"]
    uuid = await box.create(command=command, environment={"THE_KEY": SECRET})
    data = await box.ask("GET", uuid, "diagnostics")
    files = zipfile.ZipFile(io.BytesIO(data))
    assert set(files.namelist()) == {
        "README.txt", "versions.json", "doctor.json", "server.json", "server-limits.json", "capabilities.json",
        "container.json", "actions.json", "log.txt",
    }  # fmt: skip
    assert files.read("log.txt").decode() == "starting with [hidden]\npassword=[hidden]\n"
    text = "".join(files.read(name).decode() for name in files.namelist())
    assert SECRET not in text
    assert json.loads(files.read("container.json"))["environment"] == {"THE_KEY": ""}
    assert json.loads(files.read("server-limits.json"))["execs"] == 20
    assert {one["what"] for one in json.loads(files.read("doctor.json"))} >= {"login", "containers"}
    assert json.loads(files.read("versions.json"))["packages"]["jupyter_server"]

    general = zipfile.ZipFile(io.BytesIO(await api("GET", "sites", site, "diagnostics")))
    assert "container.json" not in general.namelist()
    assert "capabilities.json" in general.namelist()


async def test_a_bundle_of_a_site_that_does_not_answer(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = FaultySite()
    for name, value in faulty.env().items():
        monkeypatch.setenv(name, value)
    faulty.close()
    files = zipfile.ZipFile(io.BytesIO(await api("GET", "sites", "default", "diagnostics")))
    assert "no connection" in files.read("login.txt").decode()
    assert "hunter2" not in "".join(files.read(name).decode() for name in files.namelist())
