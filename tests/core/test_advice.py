"""What is said to do about a container in Error."""

from __future__ import annotations

import pytest

from chi_edge_lab.core import wait

NODES = "0/1 nodes are available: 1 {}. preemption: 0/1 nodes are available."


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (NODES.format("node(s) didn't match Pod's node affinity/selector"), "'lease-1'"),
        (NODES.format("node(s) had taints") + " (Unschedulable)", "not that of its lease"),
        ("container 1 has no reservaton ID set.", "active now"),
        (NODES.format("Insufficient smarter-devices/video0") + " (Unschedulable)", "device_profiles"),
        ("containers with unready status: [web] (ContainersNotReady)", "(nosuch --x) ended or could not"),
        ("exec /bin/sh: exec format error", "arm64"),
        ('exec: "nosuch": executable file not found in $PATH', "(nosuch --x) is not in the image"),
        ("exec /run.sh: no such file or directory", "is not in the image"),
        ("Disk quota exceeded", ""),
    ],
)
def test_advice(said: str, expected: str) -> None:
    hint = wait.advice(said, reservation="lease-1", image="web:1", command=["nosuch", "--x"])
    assert expected in hint
    assert bool(hint) == bool(expected)
    assert bool(wait.advice(said)) == bool(expected)
