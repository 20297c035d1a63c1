"""How long importing takes, over an interpreter that imports nothing."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.row import Row, median_ms

TIMES = 15


def seconds_of(statement: str) -> float:
    return median_ms(lambda: subprocess.run([sys.executable, "-c", statement], check=True), TIMES)


def rows() -> list[Row]:
    nothing = seconds_of("pass")
    # what python-chi imports before its first container call
    peer = (
        seconds_of("import openstack, keystoneauth1.session, zunclient.client, zunclient.v1.client") - nothing
    )
    named = "zunclient + openstacksdk"
    return [
        Row("import chi_edge_lab", seconds_of("import chi_edge_lab") - nothing, peer, named, "ms", 150),
        Row(
            "from chi_edge_lab import container",
            seconds_of("from chi_edge_lab import container") - nothing,
            peer,
            named,
            "ms",
            None,
        ),
    ]
