"""Models, the create body, stats, channels and dialects: pure functions, by table."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chi_edge_lab import errors
from chi_edge_lab.sites.redact import redact
from chi_edge_lab.zun import Action, Container, ExecReply, FloatingIP, Lease, Stats, create_request
from chi_edge_lab.zun.channels import ChannelStripper, read_status
from chi_edge_lab.zun.dialect import CAPABILITIES, DOCKER, K8S, dialect_named
from chi_edge_lab.zun.stats import parse_stats
from chi_edge_lab.zun.versions import parsed

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
flat = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=4), scalars, max_size=2)
json_values = flat | st.lists(flat, max_size=2) | st.dictionaries(st.text(max_size=4), flat, max_size=2)
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine


@pytest.mark.parametrize(
    ("field", "raw", "expected"),
    [
        ("status", "Hibernating", "Hibernating"),
        ("status", None, None),
        ("command", None, []),
        ("command", "sh -c 'echo hi'", ["sh", "-c", "echo hi"]),
        ("command", "sh -c 'echo", ["sh -c 'echo"]),
        ("command", ["a", "b"], ["a", "b"]),
        ("environment", None, {}),
        ("environment", {"A": 1, "B": None}, {"A": "1", "B": ""}),
        ("environment", "nonsense", {}),
        ("labels", None, {}),
        ("addresses", None, {}),
        ("addresses", {"net": None}, {"net": []}),
        ("addresses", [1], {}),
        ("ports", None, []),
        ("ports", [80, "22/tcp", "x", None], [80, 22]),
        ("memory", "128", 128),
        ("memory", "512M", 512),
        ("memory", "2g", 2048),
        ("memory", "1048576k", 1024),
        ("memory", "lots", None),
        ("memory", 0, 0),
        ("cpu", "1.5", 1.5),
        ("cpu", "many", None),
        ("interactive", None, None),
        ("created_at", "2026-11-23 12:17:12", datetime(2026, 11, 23, 12, 17, 12, tzinfo=timezone.utc)),
        ("created_at", "2026-11-23T14:17:12+02:00", datetime(2026, 11, 23, 12, 17, 12, tzinfo=timezone.utc)),
        ("created_at", "yesterday", None),
    ],
)
def test_a_container_reads_what_sites_send(field: str, raw: object, expected: object) -> None:
    container = Container.model_validate({"uuid": "u", field: raw, "from_the_future": [1]})
    assert getattr(container, field) == expected
    assert container.uuid == "u"
    assert container.model_extra == {"from_the_future": [1]}


@patient
@given(st.dictionaries(st.sampled_from([*Container.model_fields, "x"]), json_values))
def test_no_json_object_is_too_strange_to_be_a_container(raw: dict[str, object]) -> None:
    container = Container.model_validate(raw)
    assert isinstance(container.environment, dict)
    assert isinstance(container.fixed_addresses(), list)
    container.model_dump_json()


@patient
@given(json_values)
def test_nothing_is_too_strange_for_the_others(raw: object) -> None:
    for model in (Action, FloatingIP, Lease):
        model.model_validate({"id": raw, "events": raw, "tags": raw, "start_time": raw, "reservations": raw})
    parse_stats(raw)


def test_a_container_does_not_show_its_environment() -> None:
    container = Container.model_validate({"uuid": "u", "name": "n", "environment": {"HF_TOKEN": "s3cret"}})
    assert "s3cret" not in repr(container) + str(container) + f"{container}"
    assert "s3cret" not in repr(create_request(image="i", environment={"HF_TOKEN": "s3cret"}))


def test_addresses() -> None:
    raw = {"net": [{"addr": "10.0.0.2", "version": 4, "port": None}, {"addr": None}], "no_network": []}
    container = Container.model_validate({"addresses": raw})
    assert [(one.addr, one.port) for one in container.fixed_addresses()] == [("10.0.0.2", None)]


def test_an_exec_reply_forgets_its_secret_address() -> None:
    reply = ExecReply.model_validate({"output": None, "exit_code": None, "proxy_url": "ws://x/?token=s3cret"})
    assert (reply.output, reply.exit_code) == ("", None)
    assert "s3cret" not in repr(reply)


def test_a_leases_device_reservations() -> None:
    lease = Lease.model_validate(
        {
            "id": "l",
            "reservations": [{"id": "a", "resource_type": "device"}, {"resource_type": "virtual:floatingip"}],
        }
    )
    assert [one.id for one in lease.device_reservations()] == ["a"]


# -- stats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        ({}, None),
        ("nonsense", None),
        ({"cpu": "1234567n", "memory": "20480Ki"}, Stats(cpu_cores=0.001234567, memory_bytes=20971520)),
        ({"cpu": "250m", "memory": "1Gi"}, Stats(cpu_cores=0.25, memory_bytes=1 << 30)),
        ({"cpu": "2", "memory": "12345"}, Stats(cpu_cores=2.0, memory_bytes=12345)),
        ({"cpu": "fast", "memory": None}, Stats()),
        (
            {"CONTAINER": "n", "CPU %": 1.5, "MEM USAGE(MiB)": 2.0, "MEM LIMIT(MiB)": 4, "MEM %": 50,
             "BLOCK I/O(B)": "1/2", "NET I/O(B)": "3/4"},
            Stats(cpu_percent=1.5, memory_bytes=2 << 20, memory_limit_bytes=4 << 20, read_bytes=1,
                  write_bytes=2, rx_bytes=3, tx_bytes=4),
        ),
        ({"CPU %": None, "BLOCK I/O(B)": "x", "NET I/O(B)": "1/2/3"}, Stats()),
    ],
)  # fmt: skip
def test_stats_of_both_drivers(raw: object, expected: Stats | None) -> None:
    assert parse_stats(raw) == expected


# -- create -----------------------------------------------------------------------------------------


def test_a_body_has_only_what_is_set() -> None:
    request = create_request(image="i", device_profiles=[], runtime=None, environment=None, hints={})
    assert request.body((1, 1)) == {"image": "i"}


def test_a_body_of_an_old_version() -> None:
    request = create_request(
        image="i", command=["sh", "-c", "echo a b"], interactive=True, tty=True, memory=64
    )
    assert request.body((1, 19)) == {
        "image": "i", "command": "sh -c 'echo a b'", "interactive": True, "memory": "64"
    }  # fmt: skip
    assert request.body((1, 36))["tty"] is True
    assert create_request(image="i", interactive=True).body((1, 40))["tty"] is True


@pytest.mark.parametrize(
    ("fields", "version", "words"),
    [
        ({"device_profiles": ["pi_gpio"]}, (1, 40), "device_profiles, which needs 1.41"),
        ({"entrypoint": ["x"]}, (1, 39), "entrypoint, which needs 1.40"),
        ({"exposed_ports": {"80/tcp": {}}}, (1, 23), "exposed_ports, which needs 1.24"),
    ],
)
def test_a_field_the_version_lacks(fields: dict[str, object], version: tuple[int, int], words: str) -> None:
    with pytest.raises(errors.NotSupported, match=words):
        create_request(image="i", **fields).body(version)


def test_a_bind_mount_is_encoded_once() -> None:
    request = create_request(image="i", mounts=[{"type": "bind", "source": "hello", "destination": "/x"}])
    assert request.body((1, 40))["mounts"][0]["source"] == "aGVsbG8="
    assert request.body((1, 40))["mounts"][0]["source"] == "aGVsbG8="


@pytest.mark.parametrize(
    "fields", [{}, {"image": 5}, {"image": "i", "comand": ["x"]}, {"image": "i", "memory": "x"}]
)
def test_a_request_that_is_none(fields: dict[str, object]) -> None:
    with pytest.raises(errors.BadInput):
        create_request(**fields)


# -- dialects, channels, versions, secrets ----------------------------------------------------------


def test_every_capability_has_an_answer() -> None:
    for dialect in (K8S, DOCKER):
        for capability in CAPABILITIES:
            assert dialect.supports(capability) is (dialect.reason(capability) == "")
            if not dialect.supports(capability):
                assert dialect.reason(capability).endswith(".")
                with pytest.raises(errors.NotSupported):
                    dialect.require(capability)
        with pytest.raises(ValueError, match="no such capability"):
            dialect.supports("levitate")
        assert dialect_named(dialect.name) is dialect


@pytest.mark.parametrize(
    ("name", "k8s", "docker"),
    [
        ("a-1", True, True),
        ("a", False, False),
        ("", False, False),
        ("My_Name.x", False, True),
        ("-a", False, False),
        ("a-", False, True),
        ("a" * 63, True, True),
        ("a" * 64, False, True),
        ("a" * 256, False, False),
        ("ab\n", False, False),
        ("<img>", False, False),
        ("é1", False, False),
    ],
)
def test_names(name: str, *, k8s: bool, docker: bool) -> None:
    assert (K8S.name_rule.accepts(name), DOCKER.name_rule.accepts(name)) == (k8s, docker)


@pytest.mark.parametrize(
    ("data", "sentence", "code"),
    [
        (b"command terminated with exit code 2", "the shell has ended with exit code 2", 2),
        (b'{"status":"Success"}', "the shell has ended", 0),
        (
            b'{"status":"Failure","message":"command terminated with exit code 1"}',
            "the shell has ended with exit code 1",
            1,
        ),
        (b'exec: "/bin/sh": stat /bin/sh: no such file', "the image has no shell (/bin/sh)", None),
        (b'{"status": ', '{"status":', None),
        (b"\xff\xfe", "\ufffd\ufffd", None),
    ],
)  # fmt: skip
def test_status_frames(data: bytes, sentence: str, code: int | None) -> None:
    assert read_status(data) == (sentence, code)


@patient
@given(st.lists(st.binary(max_size=20)))
def test_any_frames_are_taken(frames: list[bytes]) -> None:
    plain = ChannelStripper(expected=False)
    assert b"".join(plain.feed(frame) for frame in frames) == b"".join(frames)
    k8s = ChannelStripper(expected=True)
    k8s.feed(b"\x01")
    assert b"".join(k8s.feed(b"\x01" + frame) for frame in frames) == b"".join(frames)
    for frame in frames:
        k8s.feed(b"\x03" + frame)


@pytest.mark.parametrize(
    ("text", "version"),
    [("1.41", (1, 41)), ("container 1.40", (1, 40)), ("", None), ("v1", None), ("1.x", None)],
)
def test_versions(text: str, version: tuple[int, int] | None) -> None:
    assert parsed(text) == version


@pytest.mark.parametrize(
    "text",
    [
        "ws://h:6784/?token=SECRET&uuid=1",
        "wss://h/SECRET",
        "password=SECRET",
        "'password': 'SECRET'",
        '"application_credential_secret": "SECRET"',
        "X-Auth-Token: SECRET",
        "Authorization: Bearer SECRET",
        "http://user:SECRET@host/",
        "token gAAAAABSECRETSECRETSECRETSECRET",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJTRUNSRVQ.SECRET",
    ],
)
def test_redaction(text: str) -> None:
    assert "SECRET" not in redact(text)


def test_redaction_leaves_the_rest() -> None:
    text = "Container 41d76866-9400 could not be found at http://host:9517/v1 (token expired)"
    assert redact(text) == text
