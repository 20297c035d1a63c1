"""Every documented signature of `chi.container`, of both its generations, binds here with its defaults."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from chi_edge_lab import container
from chi_edge_lab.container import Container
from chi_edge_lab.exitcode import ExitCode

# name -> [(parameter, default or REQUIRED)], first the seed's reference (1.0), then 1.2.6
REQUIRED = inspect.Parameter.empty
SEED: dict[str, list[tuple[str, Any]]] = {
    "Container": [
        ("name", REQUIRED), ("image_ref", REQUIRED), ("exposed_ports", REQUIRED), ("reservation_id", None),
        ("start", True),
        ("start_timeout", 0), ("runtime", None), ("command", None), ("workdir", None), ("environment", None),
        ("device_profiles", None),
    ],
    "Container.submit": [("wait_for_active", True), ("wait_timeout", None), ("show", "widget"), ("idempotent", False)],
    "Container.delete": [],
    "Container.wait": [("status", "Running"), ("timeout", None)],
    "Container.show": [("type", "text"), ("wait_for_active", False)],
    "Container.execute": [("command", REQUIRED)],
    "Container.upload": [("source", REQUIRED), ("remote_dest", REQUIRED)],
    "Container.download": [("remote_source", REQUIRED), ("dest", REQUIRED)],
    "Container.associate_floating_ip": [("fip", None)],
    "Container.detach_floating_ip": [("fip", REQUIRED)],
    "Container.logs": [("stdout", True), ("stderr", True)],
    "create_container": [
        ("name", REQUIRED), ("image", None), ("exposed_ports", None), ("reservation_id", None), ("start", True),
        ("start_timeout", None), ("platform_version", 2),
    ],
    "list_containers": [],
    "get_container": [("name", REQUIRED)],
    "snapshot_container": [("container_ref", REQUIRED), ("repository", REQUIRED), ("tag", "latest")],
    "destroy_container": [("container_ref", REQUIRED)],
    "get_logs": [("container_ref", REQUIRED), ("stdout", True), ("stderr", True)],
    "execute": [("container_ref", REQUIRED), ("command", REQUIRED)],
    "upload": [("container_ref", REQUIRED), ("source", REQUIRED), ("dest", REQUIRED)],
    "download": [("container_ref", REQUIRED), ("source", REQUIRED), ("dest", REQUIRED)],
    "wait_for_active": [("container_ref", REQUIRED), ("timeout", 120)],
    "associate_floating_ip": [("container_ref", REQUIRED), ("floating_ip_address", None)],
}  # fmt: skip
NEWER: dict[str, list[tuple[str, Any]]] = {
    "Container.submit": [
        ("wait_for_active", True),
        ("wait_timeout", 300),
        ("show", "widget"),
        ("idempotent", False),
    ],
    "Container.wait": [("status", "Running"), ("show", "widget"), ("timeout", 300)],
}
CASES = [*SEED.items(), *NEWER.items()]


def found(name: str) -> Any:
    target: Any = container
    for part in name.split("."):
        target = getattr(target, part)
    return target


@pytest.mark.parametrize(("name", "parameters"), CASES, ids=[f"{name}-{len(p)}" for name, p in CASES])
def test_documented_call_binds_by_position_and_by_name(name: str, parameters: list[tuple[str, Any]]) -> None:
    signature = inspect.signature(found(name))
    self = [object()] if "." in name else []
    values = [f"value of {parameter}" for parameter, _ in parameters]
    bound = signature.bind(*self, *values)
    by_name = signature.bind(*self, **dict(zip([p for p, _ in parameters], values, strict=True)))
    if name != "Container.wait":  # its second position means two things, which its own tests settle
        assert bound.arguments == by_name.arguments
    required = [parameter for parameter, default in parameters if default is REQUIRED]
    signature.bind(*self, **dict.fromkeys(required, "x"))


@pytest.mark.parametrize(("name", "parameters"), SEED.items(), ids=list(SEED))
def test_defaults_are_the_documented_ones(name: str, parameters: list[tuple[str, Any]]) -> None:
    declared = inspect.signature(found(name)).parameters
    for parameter, default in parameters:
        if (name, parameter) == ("Container", "exposed_ports"):
            assert declared[parameter].default is None  # 1.2.6 made it optional
        else:
            assert declared[parameter].default == default, parameter


def test_attributes_and_constants_are_there() -> None:
    made = Container("name", "image", ["80"])
    for attribute in (
        "name", "image_ref", "exposed_ports", "reservation_id", "start", "start_timeout", "runtime", "id", "uuid",
        "created_at", "status", "command", "workdir", "environment", "device_profiles", "addresses",
    ):  # fmt: skip
        getattr(made, attribute)
    assert isinstance(Container.zun_container, property)
    assert (made.id, made.uuid, made.status, made.created_at, made.addresses) == (None, None, None, None, {})
    assert (container.DEFAULT_IMAGE_DRIVER, container.DEFAULT_NETWORK) == ("docker", "containernet1")
    assert callable(Container.from_zun_container)


def test_defaults_are_not_shared_between_containers() -> None:
    first, second = Container("a", "b"), Container("c", "d")
    first.environment["X"] = "1"
    first.device_profiles.append("camera")
    assert (second.environment, second.device_profiles) == ({}, [])


@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        ((), {}, (None, None)),
        ((60,), {}, (None, 60)),
        ((None,), {}, (None, None)),
        (("widget",), {}, ("widget", None)),
        (("text", 60), {}, ("text", 60)),
        ((None, 60), {}, (None, 60)),
        ((), {"timeout": 5}, (None, 5)),
        ((), {"show": "text", "timeout": 5}, ("text", 5)),
        (("widget",), {"timeout": 5}, ("widget", 5)),
    ],
)
def test_wait_tells_the_generations_apart(arguments: Any, keywords: Any, expected: Any) -> None:
    assert container._wait_arguments(arguments, keywords.get("show"), keywords.get("timeout")) == expected


def test_exit_code_suits_notebooks_of_any_kind() -> None:
    zero, three, running = ExitCode("0"), ExitCode("3"), ExitCode("None")
    assert zero == "0"
    assert zero == 0
    assert int(three) == 3
    assert three != 0
    assert three != "0"
    assert {zero: 1}["0"] == 1
    assert ExitCode("-1") == -1
    assert running == "None"
    assert running != 0
    assert running.number is None
    assert f"{three}" == "3"
    assert isinstance(zero, str)
