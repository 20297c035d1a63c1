"""What requests may hold: Zun's JSON schemas, per microversion, and its way of saying what is wrong.

The bounds are the defaults of Zun's configuration. Numbers may be strings there, so `minimum` and `maximum` are
applied to the number a string spells, as Zun's own validator does.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jsonschema

from chi_edge_lab.local.zunapi.errors import SchemaValidationError

Schema = dict[str, Any]

_TRUE = [True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"]
_FALSE = [False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"]
_BOOLEAN: Schema = {"type": ["boolean", "string"], "enum": [True, "True", "true", False, "False", "false"]}
_BOOLEAN_EXTENDED: Schema = {"type": ["boolean", "string"], "enum": _TRUE + _FALSE}
_NAME: Schema = {
    "type": ["string", "null"],
    "minLength": 2,
    "maxLength": 255,
    "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_.-]+$",
}
_SHORT: Schema = {"type": ["string"], "minLength": 1, "maxLength": 255}
_CPU: Schema = {
    "type": ["number", "string", "null"],
    "pattern": r"^[0-9]*(\.([0-9]+))?$",
    "minLength": 1,
    "minimum": 0.1,
    "maximum": 16.0,
}
_MEMORY: Schema = {
    "type": ["string", "integer", "null"],
    "minimum": 4,
    "maximum": 8192,
    "pattern": "^[0-9]+$",
}
_STRING_OR_NULL: Schema = {"type": ["string", "null"]}
_OBJECT_OR_NULL: Schema = {"type": ["object", "null"]}
_LIST_OR_NULL: Schema = {"type": ["array", "null"]}
_HOST: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-._]*$"}
_NON_NEGATIVE: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 0}
_POSITIVE: Schema = {"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 1}
_WORDS: Schema = {"type": ["string"], "pattern": "[a-zA-Z- ,+]*"}

_CONTAINER: dict[str, Schema] = {
    "name": _NAME,
    "image": {"type": "string", "minLength": 2, "maxLength": 255, "pattern": "[a-zA-Z0-9][a-zA-Z0-9_.-]"},
    "command": _STRING_OR_NULL,
    "cpu": _CPU,
    "cpu_policy": {"type": "string", "enum": ["dedicated", "shared"]},
    "memory": _MEMORY,
    "workdir": _STRING_OR_NULL,
    "auto_remove": {"type": ["boolean", "null"]},
    "image_pull_policy": {
        "type": ["string", "null"],
        "enum": ["never", "always", "ifnotpresent", "Never", "Always", "IfNotPresent", None],
    },
    "labels": _OBJECT_OR_NULL,
    "environment": {"type": ["object", "null"], "patternProperties": {".+": {"type": ["string"]}}},
    "restart_policy": {
        "type": ["object", "null"],
        "properties": {
            "Name": {"type": ["string"], "enum": ["no", "always", "on-failure", "unless-stopped"]},
            "MaximumRetryCount": {"type": ["integer", "string", "null"], "minimum": 0, "pattern": "^[0-9]+$"},
        },
        "additionalProperties": False,
        "required": ["Name"],
    },
    "interactive": _BOOLEAN,
    "tty": _BOOLEAN,
    "image_driver": {"type": ["string", "null"], "enum": ["docker", "glance", None, "None"]},
    "security_groups": {
        "type": ["array", "null"],
        "items": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    "hints": _OBJECT_OR_NULL,
    "mounts": {
        "type": ["array", "null"],
        "items": {
            "type": "object",
            "properties": {
                "type": {"type": ["string"]},
                "source": {"type": ["string"]},
                "destination": {"type": ["string"]},
                "size": {"type": ["string", "integer"]},
            },
            "additionalProperties": False,
            "anyOf": [{"required": ["source", "destination"]}, {"required": ["size", "destination"]}],
        },
    },
    "nets": {
        "type": ["array", "null"],
        "items": {
            "type": "object",
            "properties": {
                "network": _SHORT,
                "v4-fixed-ip": {"type": ["string"], "format": "ipv4"},
                "v6-fixed-ip": {"type": ["string"], "format": "ipv6"},
                "port": _SHORT,
            },
            "additionalProperties": False,
            "oneOf": [{"required": ["network"]}, {"required": ["port"]}],
        },
    },
    "runtime": _STRING_OR_NULL,
    "hostname": _HOST,
    "disk": {"type": ["string", "integer", "null"], "minimum": 1, "maximum": 160, "pattern": "^[0-9]+$"},
    "availability_zone": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
    "auto_heal": _BOOLEAN,
    "privileged": _BOOLEAN,
    "healthcheck": _OBJECT_OR_NULL,
    "exposed_ports": _OBJECT_OR_NULL,
    "registry": {
        "type": ["string"],
        "minLength": 2,
        "maxLength": 255,
        "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_.-]+$",
    },
}


def _signals() -> list[str]:
    names: list[str] = ["None"]
    for one in signal.Signals:
        bare = one.name.removeprefix("SIG")
        names += [one.name, bare, one.name.lower(), bare.lower(), str(int(one))]
    return names


def _closed(required: tuple[str, ...] = (), /, **properties: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | {"required": list(required)} if required else schema


CREATE_QUERY = _closed(run=_BOOLEAN_EXTENDED)
RENAME_QUERY = _closed(name=_NAME)
UPDATE = _closed(cpu=_CPU, memory=_MEMORY, name=_NAME, auto_heal=_BOOLEAN)
DELETE_QUERY = _closed(force=_BOOLEAN_EXTENDED, all_projects=_BOOLEAN_EXTENDED, stop=_BOOLEAN_EXTENDED)
STOP_QUERY = _closed(timeout=_NON_NEGATIVE)
LOGS_QUERY = _closed(
    stdout=_BOOLEAN_EXTENDED,
    stderr=_BOOLEAN_EXTENDED,
    timestamps=_BOOLEAN_EXTENDED,
    tail={"type": ["string", "integer", "null"]},
    since={
        "type": ["string", "integer", "null"],
        "pattern": "(^[0-9]*$)|([0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{1,3})",
    },
)
TOP_QUERY = _closed(ps_args=_WORDS)
RESIZE_QUERY = _closed(h=_POSITIVE, w=_POSITIVE)
EXECUTE_QUERY = _closed(run=_BOOLEAN, interactive=_BOOLEAN, command={"type": ["string"], "minLength": 1})
EXECUTE_RESIZE_QUERY = _closed(
    exec_id={"type": "string", "maxLength": 64, "minLength": 64, "pattern": "^[a-f0-9]*$"},
    h=_POSITIVE,
    w=_POSITIVE,
)
KILL = _closed(signal={"type": ["string", "null"], "enum": _signals()})
COMMIT_QUERY = _closed(("repository",), repository=_WORDS, tag=_WORDS)
SECURITY_GROUP = _closed(name={"type": "string", "minLength": 1, "maxLength": 255})
NETWORK_DETACH_QUERY = _closed(network=_SHORT, port=_SHORT) | {
    "oneOf": [{"required": ["network"]}, {"required": ["port"]}]
}
NETWORK_ATTACH_QUERY = _closed(
    network=_SHORT,
    fixed_ip={"type": ["string"], "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    port=_SHORT,
) | {"not": {"required": ["port", "network"]}}
IMAGE_CREATE = _closed(
    ("repo", "host"),
    repo={"type": "string", "minLength": 2, "maxLength": 255, "pattern": "[a-zA-Z0-9][a-zA-Z0-9_.-]"},
    host={"type": "string", "minLength": 2, "maxLength": 255, "pattern": "[a-zA-Z0-9][a-zA-Z0-9_.-]"},
)
IMAGE_SEARCH_QUERY = _closed(
    image_driver={"type": ["string", "null"], "enum": ["docker", "glance", None, "None"]},
    exact_match=_BOOLEAN_EXTENDED,
)
NETWORK_CREATE = {
    "type": "object",
    "properties": {"neutron_net_id": _STRING_OR_NULL, "name": _STRING_OR_NULL},
    "required": ["name", "neutron_net_id"],
}
CAPSULE_CREATE: Schema = {"type": "object", "required": ["template"]}
_REGISTRY_NAME: Schema = {**_NAME, "type": ["string"]}
_REGISTRY_TEXT: Schema = {"type": ["string"], "minLength": 1}
_REGISTRY: dict[str, Schema] = {
    "name": _REGISTRY_NAME,
    "domain": _REGISTRY_TEXT,
    "username": _REGISTRY_TEXT,
    "password": _REGISTRY_TEXT,
}
REGISTRY_CREATE = _closed(("registry",), registry=_closed(("domain",), **_REGISTRY))
REGISTRY_UPDATE = _closed(("registry",), registry=_closed(**_REGISTRY))
_LIMIT: Schema = {"type": ["string", "integer"], "minimum": -1, "pattern": "^-?[0-9]+$"}
QUOTA_UPDATE = _closed(containers=_LIMIT, memory=_LIMIT, cpu=_LIMIT, disk=_LIMIT)


@lru_cache(maxsize=64)
def create_schema(version: tuple[int, int]) -> tuple[Schema]:
    """The schema of a create body at this microversion (in a tuple, to be cached)."""
    properties = dict(_CONTAINER)
    if version < (1, 20):
        return (_closed(("image",), **properties),)
    properties["command"] = _LIST_OR_NULL
    if version >= (1, 39):
        properties["host"] = _HOST
    if version >= (1, 40):
        properties["entrypoint"] = _LIST_OR_NULL
    if version >= (1, 41):
        properties["device_profiles"] = _LIST_OR_NULL
    schema = _closed(**properties)
    schema["allOf"] = [{"required": ["image"]}, {"not": {"required": ["security_groups", "exposed_ports"]}}]
    return (schema,)


def check(schema: Schema, instance: Mapping[str, Any], *, query: bool = False) -> None:
    """Raise SchemaValidationError with Zun's words when the instance does not fit."""
    try:
        _Validator(schema, format_checker=jsonschema.FormatChecker()).validate(instance)
    except jsonschema.ValidationError as error:
        if not error.path:
            raise SchemaValidationError(error.message) from None
        where = error.path.pop()  # Zun pops it too, so the text below says "On instance:" without a path
        what = "query parameters " if query else "field "
        tail = " " if query else ""
        raise SchemaValidationError(
            f"Invalid input for {what}'{where}'.{tail}Value: '{error.instance}'. {error}"
        ) from None


def _number(instance: Any) -> float | None:
    if isinstance(instance, (int, float)):
        return instance
    for kind in (int, float):
        try:
            return kind(instance)
        except (TypeError, ValueError):  # noqa: PERF203
            continue
    return None


def _bound(name: str) -> Any:
    original = jsonschema.Draft4Validator.VALIDATORS[name]

    def check_bound(validator: Any, bound: Any, instance: Any, schema: Any) -> Iterator[Any]:
        number = _number(instance)
        if number is not None:
            yield from original(validator, bound, number, schema) or ()

    return check_bound


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft4Validator, {"minimum": _bound("minimum"), "maximum": _bound("maximum")}
)


def boolean(value: object, names: str, *, default: bool = False) -> bool:
    """A flag of a query or body, as oslo's strict bool_from_string reads it. Raises InvalidValue naming `names`."""
    from chi_edge_lab.local.zunapi.errors import InvalidValue

    if value is None:
        return default
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in {"1", "t", "true", "on", "y", "yes"}:
        return True
    if word in {"0", "f", "false", "off", "n", "no"}:
        return False
    raise InvalidValue(f"Valid {names} values are: 1, t, true, on, y, yes, 0, f, false, off, n, no")
