"""Creating, waiting, starting, stopping, deleting, on real local sites of both profiles."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from chi_edge_lab.core import actions, create, lifecycle, snapshot, wait
from chi_edge_lab.core.progress import Progress
from chi_edge_lab.errors import (
    BadInput,
    Cancelled,
    ContainerFailed,
    ContainerGone,
    NotFound,
    NotSupported,
    WaitTimeout,
)
from chi_edge_lab.zun import Client
from tests.boxes import IDLE, unique

New = Callable[..., str]


def test_create_tells_its_stages_and_ends_running(client: Client) -> None:
    seen: list[Progress] = []
    ids: list[str] = []
    name = unique()
    made = create.create(
        client,
        name=name,
        image="busybox",
        command=IDLE,
        exposed_ports=[80],
        environment={"A": 1},
        on_progress=seen.append,
        on_created=lambda one: ids.append(one.uuid),
        timeout=60,
    )
    assert (made.name, made.status, made.environment["A"]) == (name, "Running", "1")
    assert ids == [made.uuid]
    stages = [progress.stage for progress in seen]
    assert stages[0] == "requested"
    assert stages[-1] == "running"
    assert stages == sorted(stages, key=list(create.STAGES).index)
    assert all(progress.done is None for progress in seen), "no percentage is made up"
    if client.dialect.needs_reservation:
        assert "standing reservation" in seen[0].message
    moment = actions.created_at(client, made)
    assert moment is not None
    assert abs(moment.timestamp() - time.time()) < 120
    assert actions.history(client, made.uuid)[0].action == "create"
    assert lifecycle.delete(client, made.uuid) is True
    assert lifecycle.delete(client, made.uuid) is False, "a second delete is fine"
    with pytest.raises(NotFound):
        client.get_container(made.uuid)


def test_missing_reservation_is_refused_before_any_request(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not client.dialect.needs_reservation:
        pytest.skip("this site needs none")
    monkeypatch.setattr(client.login, "reservation_id", None)
    before = {one.uuid for one in client.list_containers()}
    with pytest.raises(BadInput, match="needs a reservation"):
        create.create(client, name=unique(), image="busybox")
    assert {one.uuid for one in client.list_containers()} == before


def test_unknown_image_fails_with_its_name(client: Client) -> None:
    ids: list[str] = []
    with pytest.raises(ContainerFailed, match="no-such-image"):
        create.create(
            client,
            name=unique(),
            image="no-such-image:1",
            on_created=lambda one: ids.append(one.uuid),
            timeout=60,
        )
    for uuid in ids:
        lifecycle.delete(client, uuid)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"image": ""},
        {"exposed_ports": ["99999/tcp"]},
        {"exposed_ports": ["80/icmp"]},
        {"command": "echo 'x"},
        {"environment": {"A": None}},
        {"unknown_field": 1},
        {"exposed_ports": [80], "security_groups": ["x"]},
        {"reservation_id": ""},
        {"reservation_id": 5},
    ],
)
def test_bad_input_creates_nothing(client: Client, fields: dict[str, object]) -> None:
    before = {one.uuid for one in client.list_containers()}
    arguments: dict[str, object] = {"name": unique(), "image": "busybox", **fields}
    with pytest.raises(BadInput):
        create.create(client, **arguments)  # type: ignore[arg-type]
    assert {one.uuid for one in client.list_containers()} == before


def test_stop_and_start_wait_for_their_end_and_may_be_repeated(client: Client, new_container: New) -> None:
    uuid = new_container()
    assert lifecycle.stop(client, uuid, grace=2).status == "Stopped"
    assert lifecycle.stop(client, uuid).status == "Stopped"
    assert lifecycle.start(client, uuid).status == "Running"
    assert lifecycle.start(client, uuid).status == "Running"
    assert lifecycle.restart(client, uuid, grace=2).status == "Running"


def test_pause_kill_and_snapshot_work_or_are_refused_without_a_request(
    client: Client, new_container: New
) -> None:
    uuid = new_container()
    if client.dialect.name == "docker":
        assert lifecycle.pause(client, uuid).status == "Paused"
        assert lifecycle.delete(client, uuid) is True, "paused containers can be deleted"
        other = new_container()
        lifecycle.kill(client, other)
        assert client.get_container(other).status == "Stopped"
        return
    for refused in (
        lambda: lifecycle.pause(client, uuid),
        lambda: lifecycle.unpause(client, uuid),
        lambda: lifecycle.kill(client, uuid),
        lambda: snapshot.snapshot(client, uuid, "image"),
    ):
        with pytest.raises(NotSupported, match="CHI@Edge"):
            refused()
    assert client.get_container(uuid).task_state is None


def test_rename(client: Client, new_container: New) -> None:
    uuid, name = new_container(), unique("renamed")
    assert lifecycle.rename(client, uuid, name).name == name
    with pytest.raises(BadInput):
        lifecycle.rename(client, uuid, "a/b")


def test_change_is_seen_within_half_a_second(client: Client, new_container: New) -> None:
    uuid = new_container()
    stopped_at: list[float] = []

    def stop() -> None:
        time.sleep(2)  # the poll has become slow by now
        client.stop(uuid, timeout=1)
        while client.get_container(uuid).status != "Stopped":
            time.sleep(0.01)
        stopped_at.append(time.monotonic())

    thread = threading.Thread(target=stop)
    thread.start()
    wait.wait(client, uuid, "stopped", timeout=30)  # any case of a status will do
    seen_at = time.monotonic()
    thread.join()
    assert seen_at - stopped_at[0] < 0.5


def test_wait_that_takes_too_long_says_what_state_it_is_in(client: Client, new_container: New) -> None:
    uuid = new_container()
    with pytest.raises(WaitTimeout, match="it is Running") as caught:
        wait.wait(client, uuid, "Stopped", timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert client.get_container(uuid).status == "Running"


def test_wait_ends_when_the_container_is_deleted_by_somebody_else(client: Client, new_container: New) -> None:
    uuid = new_container()
    threading.Timer(0.3, lambda: lifecycle.delete(client, uuid)).start()
    with pytest.raises((ContainerGone, ContainerFailed)):
        wait.wait(client, uuid, "Paused", timeout=30)
    wait.wait(client, uuid, "Deleted", timeout=30)


def test_wait_is_cancelled_with_a_sentence(client: Client, new_container: New) -> None:
    uuid = new_container()
    began = time.monotonic()
    with pytest.raises(Cancelled, match="it is Running"):
        wait.wait(client, uuid, "Stopped", cancel=lambda: time.monotonic() - began > 0.3)
    with pytest.raises(BadInput, match="Runing"):
        wait.wait(client, uuid, "Runing")


def test_container_in_error_raises_with_the_sites_reason(client: Client) -> None:
    ids: list[str] = []
    with pytest.raises(ContainerFailed):
        create.create(
            client,
            name=unique(),
            image="no-such-image",
            on_created=lambda one: ids.append(one.uuid),
            timeout=60,
        )
    if not ids:
        pytest.skip("the site refuses it at once")
    with pytest.raises(ContainerFailed) as caught:
        wait.wait(client, ids[0], timeout=10)
    assert caught.value.status_reason
    assert caught.value.status_reason in str(caught.value)
    assert wait.wait(client, ids[0], "Error", timeout=10).status == "Error"
    lifecycle.delete(client, ids[0])


def test_delete_while_it_is_created_waits_and_succeeds(client: Client) -> None:
    made = create.create(
        client, name=unique(), image="busybox", command=IDLE, wait_until_running=False, start=False
    )
    assert lifecycle.delete(client, made.uuid) is True


def test_created_and_not_started(client: Client) -> None:
    made = create.create(client, name=unique(), image="busybox", command=IDLE, start=False, timeout=60)
    # the k8s driver starts whatever it creates
    assert made.status == ("Running" if client.dialect.name == "k8s" else "Created")
    lifecycle.delete(client, made.uuid)
