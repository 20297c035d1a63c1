"""How Kubernetes says things: device profiles, what it finds wrong with a Deployment, its API's errors."""

from __future__ import annotations

import json
import re

from chi_edge_lab.local.zunapi.model import Container

DEVICE_PROFILES: dict[str, dict[str, int]] = {
    "pi_camera": {"smarter-devices/video0": 1, "smarter-devices/vchiq": 1, "smarter-devices/vcsm-cma": 1},
    "pi_gpio": {"smarter-devices/gpiomem": 1, "smarter-devices/i2c-1": 1},
    "pi_libcamera": {"smarter-devices/video0": 1, "smarter-devices/media0": 1},
    "ttyacm0": {"smarter-devices/ttyACM0": 1},
    "video0": {"smarter-devices/video0": 1},
}
"""Profiles of a CHI@Edge-like site. This machine has none of those devices, so asking for one is Unschedulable."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
    "and end with an alphanumeric character"
)


def faults_of(row: Container) -> list[str]:
    """What the Kubernetes API server says is wrong with the Deployment."""
    where = "spec.template.spec"
    faults = []
    if not _LABEL.fullmatch(row.name):
        faults.append(f'{where}.containers[0].name: Invalid value: "{row.name}": {_LABEL_RULE}')
    if len(row.name) > 63:
        faults.append(
            f'{where}.containers[0].name: Invalid value: "{row.name}": must be no more than 63 characters'
        )
    if row.hostname is not None and not _LABEL.fullmatch(row.hostname):
        faults.append(f'{where}.hostname: Invalid value: "{row.hostname}": {_LABEL_RULE}')
    for value in (row.labels or {}).values():
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
            faults.append(f"metadata.labels: Invalid value: {json.dumps(value)}: {_LABEL_VALUE_RULE}")  # noqa: PERF401
    policy = (row.restart_policy or {}).get("Name")
    if policy in {"no", "on-failure", "unless-stopped"}:
        name = "Never" if policy == "no" else "OnFailure"
        faults.append(f'{where}.restartPolicy: Unsupported value: "{name}": supported values: "Always"')
    if row.healthcheck:
        faults.append(f"{where}.containers[0].livenessProbe.exec: Invalid value: must be an object")
    faults += [
        f"{where}.containers[0].ports[0].containerPort: Invalid value: {number}: must be between 1 and 65535, inclusive"
        for number, _ in row.port_list()
        if not 1 <= number <= 65535
    ]
    return faults


def api_error(status: int, reason: str, message: str) -> str:
    """An exception of the Kubernetes client, as text: what ends up in status_reason."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": status,
    }
    phrase = "Unprocessable Entity" if status == 422 else "Not Found"
    return f"({status})\nReason: {phrase}\nHTTP response body: {json.dumps(body)}\n"
