"""Measures, prints a table and writes benchmarks/results.json. Exit code 1 when a target is missed."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks import fanout, imports, life, listing, logs, terminal
from benchmarks.row import Row
from tests.localsite import local_site


def docker_answers() -> bool:
    import docker

    try:
        docker.from_env(timeout=5).ping()
    except docker.errors.DockerException:
        return False
    return True


def show(rows: list[Row]) -> None:
    print(f"{'what':54}{'ours':>9}{'peer':>10}{'ratio':>8}  {'unit':5}{'target':>7}  peer")
    for row in rows:
        peer = f"{row.peer:.1f}" if row.peer is not None else "-"
        ratio = f"{row.ratio:.1f}" if row.ratio else "-"
        target = f"{row.target:g}" if row.target is not None else "-"
        missed = "" if row.met else "  MISSED"
        print(
            f"{row.name:54}{row.ours:9.1f}{peer:>10}{ratio:>8}  {row.unit:5}{target:>7}  {row.peer_name}{missed}"
        )


def main() -> int:
    # the Python interface logs in as any script does: by the variables of the site
    os.environ.update(local_site("chi-edge").env)
    docker = docker_answers()
    if not docker:
        print("Docker does not answer: the docker engine's figures are missing.", file=sys.stderr)
    rows = [
        *imports.rows(), *life.rows(docker), *logs.rows(), *listing.rows(), *terminal.rows(), *fanout.rows(),
    ]  # fmt: skip
    show(rows)
    system = f"Linux {platform.release()}, Python {platform.python_version()}"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {system}"
    print(machine)
    results = [{**asdict(row), "ratio": row.ratio, "machine": machine} for row in rows]
    (Path(__file__).parent / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0 if all(row.met for row in rows) else 1


sys.exit(main())
