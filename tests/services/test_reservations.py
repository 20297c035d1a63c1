"""Leases as Blazar has them, with device reservations."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session

from chi_edge_lab.local.config import SiteConfig
from chi_edge_lab.local.reservations import DEVICES, Reservations
from chi_edge_lab.local.store import Store
from chi_edge_lab.local.web import Refusal
from tests.localsite import LocalSite
from tests.services.test_identity import plugin


def date(seconds: float) -> str:
    """A moment from now, with seconds."""
    moment = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def body(end: float = 3600, start: str = "now", **changes: Any) -> dict[str, Any]:
    """A lease for one device."""
    device = {"resource_type": "device", "min": 1, "max": 1, "resource_properties": "", **changes}
    return {
        "name": "mine",
        "start_date": start,
        "end_date": date(end),
        "reservations": [device],
        "events": [],
    }


@pytest.fixture
def blazar(site: LocalSite) -> Adapter:
    return Adapter(Session(auth=plugin(site)), service_type="reservation", region_name="local")


def test_there_is_a_standing_reservation(site: LocalSite, blazar: Adapter) -> None:
    lease = blazar.get("/leases").json()["leases"][0]
    assert (lease["name"], lease["status"]) == ("standing", "ACTIVE")
    assert lease["reservations"][0]["id"] == site.env["CHI_EDGE_LAB_RESERVATION_ID"]
    assert lease["reservations"][0]["resource_type"] == "device"
    with pytest.raises(exceptions.Forbidden):
        blazar.delete(f"/leases/{lease['id']}")


def test_a_lease_is_made_looked_at_prolonged_and_deleted(blazar: Adapter) -> None:
    made = blazar.post("/leases", json=body(resource_properties='["==", "$machine_name", "local"]'))
    assert made.status_code == 201
    lease = made.json()["lease"]
    assert lease["status"] == "ACTIVE"
    assert [e["status"] for e in lease["events"]] == ["DONE", "UNDONE"]
    path = f"/leases/{lease['id']}"
    assert blazar.get(path).json()["lease"] == lease
    later = blazar.put(path, json={"name": "longer", "end_date": date(7200)}).json()["lease"]
    assert later["name"] == "longer"
    assert later["end_date"] > lease["end_date"]
    assert blazar.delete(path).status_code == 204
    with pytest.raises(exceptions.NotFound) as missing:
        blazar.get(path)
    assert missing.value.response.json()["error_code"] == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {**body(), "name": ""},
        {**body(), "reservations": []},
        {**body(), "reservations": "device"},
        {**body(), "end_date": "soon"},
        {**body(), "end_date": date(-60)},
        {**body(), "start_date": date(-3600)},
        {**body(), "start_date": date(7200)},
        body(resource_type="physical:host"),
        body(min=0, max=0),
        body(min=2, max=1),
        body(min="many"),
        body(min=DEVICES + 1, max=DEVICES + 1),
        body(resource_properties='["==", "$machine_name", "raspberrypi4-64"]'),
        body(resource_properties="{"),
        body(resource_properties='["~", "$name", "x"]'),
    ],
)
def test_a_lease_that_cannot_be_is_refused(blazar: Adapter, wrong: dict[str, Any]) -> None:
    with pytest.raises(exceptions.BadRequest) as refused:
        blazar.post("/leases", json=wrong)
    assert refused.value.response.json()["error_message"]


@pytest.fixture
def reservations(tmp_path: Path) -> Reservations:
    return Reservations(SiteConfig.open(tmp_path / "site"), Store(":memory:"))


def test_only_a_reservation_of_an_active_lease_of_the_project_is_usable(reservations: Reservations) -> None:
    project = reservations._config.secrets.account("edge").project_id
    standing = reservations.standing(project)
    assert standing
    assert reservations.is_usable(standing, project) == (True, "")
    lease = reservations.create("user", project, body())
    inside = lease.reservation_list()[0].id
    assert reservations.is_usable(inside, project) == (True, "")
    assert reservations.is_usable(lease.id, project)[1].endswith(
        "is the id of a lease, not of a reservation in it"
    )
    other = reservations._config.secrets.account("other").project_id
    assert not reservations.is_usable(inside, other)[0]
    assert not reservations.is_usable(standing, other)[0]
    later = reservations.create("user", project, body(7200, start=date(3600)))
    assert reservations.is_usable(later.reservation_list()[0].id, project)[1].endswith("has not started yet")
    reservations.delete(project, lease.id)
    assert not reservations.is_usable(inside, project)[0]


def test_the_devices_are_limited(reservations: Reservations) -> None:
    project = reservations._config.secrets.account("edge").project_id
    reservations.create("user", project, body(min=DEVICES, max=DEVICES))
    with pytest.raises(Refusal, match="Not enough resources"):
        reservations.create("user", project, body())
    reservations.create("user", project, body(9000, start=date(7200)))


def test_the_end_of_a_lease_is_told_once(reservations: Reservations) -> None:
    project = reservations._config.secrets.account("edge").project_id

    async def scene() -> list[list[str]]:
        told: list[list[str]] = []
        watch = asyncio.create_task(reservations.watch(told.append))
        await asyncio.sleep(0)
        lease = reservations.create("user", project, body(1.2))
        reservations.create("user", project, body(3600))
        for _ in range(50):
            await asyncio.sleep(0.05)
            if told:
                break
        await asyncio.sleep(0.1)
        watch.cancel()
        assert told == [[lease.reservation_list()[0].id]]
        assert reservations.lease(project, lease.id).status == "TERMINATED"
        return told

    assert asyncio.run(scene())


def test_a_lease_that_ended_while_the_site_was_down_is_seen_to(reservations: Reservations) -> None:
    project = reservations._config.secrets.account("edge").project_id
    lease = reservations.create("user", project, body())
    reservations._leases.update(lease.id, end=lease.start + 0.001)

    async def scene() -> list[list[str]]:
        told: list[list[str]] = []
        watch = asyncio.create_task(reservations.watch(told.append))
        await asyncio.sleep(0.05)
        watch.cancel()
        return told

    assert asyncio.run(scene()) == [[lease.reservation_list()[0].id]]
