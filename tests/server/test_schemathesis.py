"""Every operation of the document, asked with what fits it and what does not: no 5xx, no hang, no other answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, checks

from chi_edge_lab import sites
from chi_edge_lab.core import create
from chi_edge_lab.server.openapi import openapi
from chi_edge_lab.server.operations import CONTAINER, Operation
from chi_edge_lab.zun import client_for
from tests.labserver import LabServer
from tests.server.asking import OPERATIONS, UUID, fitting
from tests.server.conftest import PROFILES

# without the security scheme: what comes without the token is test_rights' matter, here it would be half of all
DOCUMENT = {name: part for name, part in openapi(OPERATIONS).items() if name != "security"}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
REQUEST_SECONDS = 15.0  # longer is a hang
SECONDS_EACH = min(1.2, 30 / len(OPERATIONS))  # for one operation and kind of input; more is not tried
EXAMPLES = 15
SLEEP = ["sh", "-c", "trap : TERM; while :; do sleep 1; done"]
# what stops a container is asked of a second one, and what deletes it of a third: the others meet one that runs
STOPPING = ("/start", "/stop", "/kill", "/pause", "/unpause", "/restart", "/rebuild")
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@dataclasses.dataclass
class Running:
    """A Jupyter server, and containers by site and by what is done to them."""

    lab: LabServer
    containers: dict[tuple[str, str], str]


@pytest.fixture(scope="module")
def running(edge_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    home = {"CHI_EDGE_LAB_HOME": str(edge_home)}
    found = Running(LabServer(tmp_path_factory.mktemp("lab"), env=home), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHI_EDGE_LAB_HOME", str(edge_home))
        for site in PROFILES:
            client = client_for(sites.login(site))
            for use in ("used", "stopped", "deleted"):
                found.containers[site, use] = create.create(
                    client,
                    name=f"schemathesis-{use}",
                    image="busybox",
                    command=SLEEP,
                    wait_until_running=True,
                ).uuid
    yield found
    found.lab.stop()


def paths(one: Operation, running: Running) -> st.SearchStrategy[dict[str, str]]:
    """Values for the names in the operation's path: mostly of things that are there."""
    use = "stopped" if one.path.endswith(STOPPING) else "used"
    if (one.method, one.path) == ("DELETE", CONTAINER):
        use = "deleted"

    def of_site(site: str) -> st.SearchStrategy[dict[str, str]]:
        others = [name for name in one.path_names if name not in {"site", "uuid"}]
        names = {name: st.sampled_from(fitting(name)) for name in others}
        if "site" in one.path_names:
            names["site"] = st.just(site)
        if "uuid" in one.path_names:
            names["uuid"] = st.sampled_from([running.containers.get((site, use), UUID)] * 5 + [UUID])
        return st.fixed_dictionaries(names)

    return st.sampled_from([*PROFILES, *PROFILES, "default", "nowhere", "é;'"]).flatmap(of_site)


# what takes nothing can be asked nothing that does not fit
TRIED = [
    (one, mode)
    for one in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or one.path_names or one.query or one.body
]


@pytest.mark.parametrize(
    ("one", "mode"), TRIED, ids=[f"{one.method} {one.path} {mode.value}" for one, mode in TRIED]
)
def test_it_answers_as_the_document_says(one: Operation, mode: GenerationMode, running: Running) -> None:
    headers = {"Authorization": f"token {running.lab.token}"}
    until = time.monotonic() + SECONDS_EACH
    failed: list[bool] = []

    @given(data=st.data())
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(data: st.DataObject) -> None:
        case: Case = data.draw(SCHEMA[one.path][one.method].as_strategy(mode))
        case.path_parameters = data.draw(paths(one, running))
        if time.monotonic() > until and not failed:  # what has failed is tried again whenever it may be
            return
        try:
            response: Any = case.call(
                f"{running.lab.url}chi-edge-lab/api",
                headers=headers,
                timeout=REQUEST_SECONDS,
                allow_redirects=False,
            )
            case.validate_response(response, checks=CHECKS, headers=headers)
        except BaseException:
            failed.append(True)
            raise

    ask()


def test_it_is_well_and_has_nothing_left_to_do(running: Running) -> None:
    until = time.monotonic() + REQUEST_SECONDS
    while running.lab.api("GET", "status")["calls"]:
        assert time.monotonic() < until, "requests are still in work"
        time.sleep(0.05)
    assert "Traceback" not in running.lab.log
    assert "unforeseen" not in running.lab.log
