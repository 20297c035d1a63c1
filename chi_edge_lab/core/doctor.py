"""`chi-edge-lab doctor`: what was found, what works, and what to do next, one line each.

It logs in as everything else does and asks the site harmless questions; it changes nothing there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from chi_edge_lab import __version__, errors, sites
from chi_edge_lab.sites import Login, clouds
from chi_edge_lab.zun import Client, Network, Reservations, client_for
from chi_edge_lab.zun.dial import reach

State = Literal["ok", "warn", "bad"]
_SIGNS: dict[State, str] = {"ok": "ok  ", "warn": "warn", "bad": "BAD "}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `sentence` is what was seen, `next_step` what to do ("" for nothing)."""

    what: str
    state: State
    sentence: str
    next_step: str = ""


def examine(site: str | None = None, project: str | None = None) -> list[Finding]:
    """Look at this machine's credentials and at `site` (None: the one that would be used).

    Never raises for what it finds: that is a finding. Ends early where nothing further can be asked.
    """
    return list(_examine(site, project))


def main(argv: list[str] | None = None) -> int:
    """Print the findings, or with --json a list of objects; 1 where something does not work."""
    parser = argparse.ArgumentParser(
        prog="chi-edge-lab doctor", description="What was found, what works and what to do next."
    )
    parser.add_argument("--site", help="a site's name; default: the one that would be used")
    parser.add_argument("--project", help="a project's name; default: that of the credentials")
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    options = parser.parse_args(argv)
    findings: list[Finding] = []
    for finding in _examine(options.site, options.project):
        findings.append(finding)
        if not options.json:
            sys.stdout.write(_line(finding))
            sys.stdout.flush()
    if options.json:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=1) + "\n")
    return 1 if any(finding.state == "bad" for finding in findings) else 0


def _line(finding: Finding) -> str:
    text = f"{_SIGNS[finding.state]} {finding.what + ':':14} {finding.sentence}\n"
    return text + (f"     {'':14} -> {finding.next_step}\n" if finding.next_step else "")


def _examine(site: str | None, project: str | None) -> Iterator[Finding]:
    yield Finding("package", "ok", f"chi-edge-lab {__version__} on Python {platform.python_version()}.")
    yield _sites()
    for sentence in clouds.broken_files():
        yield Finding("clouds.yaml", "warn", sentence, clouds.CORRECT)
    if os.environ.get("OS_CLOUD") and os.environ.get("OS_AUTH_URL") and site is None:
        yield Finding(
            "credentials",
            "warn",
            "Both OS_CLOUD and OS_AUTH_URL are set; OS_CLOUD is used.",
            "Unset the one that you do not mean.",
        )
    try:
        login = sites.login(site, project)
        who = f"{login.user_name or 'a user'} in project {login.project_name or login.project_id or '(none)'}"
    except errors.EdgeLabError as problem:
        yield _bad("login", problem)
        return
    yield Finding("login", "ok", f"{login.site}: {who}; credentials from {login.source}.")
    for note in login.notes:
        yield Finding("credentials", "warn", note, "Remove it to be rid of this line.")
    try:
        client = client_for(login)
        version = f"Zun at {login.endpoint()}, API {client.version}; its driver is {client.dialect.name}"
    except errors.EdgeLabError as problem:
        yield _bad("container API", problem)
        return
    behaves = "behaves as CHI@Edge does" if client.dialect.name == "k8s" else "behaves as upstream Zun does"
    yield Finding("container API", "ok", f"{version} ({behaves}).")
    for what, look in _LOOKS:
        try:
            yield look(client, login)
        except errors.EdgeLabError as problem:  # noqa: PERF203 - one failure must not hide the next
            yield _bad(what, problem)


def _bad(what: str, problem: errors.EdgeLabError) -> Finding:
    sentence = problem.message + (f" (request {problem.request_id})" if problem.request_id else "")
    return Finding(what, "bad", sentence, problem.hint)


def _sites() -> Finding:
    try:
        names = [site.name for site in sites.list_sites()]
    except errors.EdgeLabError as problem:
        return _bad("sites", problem)
    return Finding("sites", "ok", f"{', '.join(names)}.")


def _containers(client: Client, _login: Login) -> Finding:
    containers = client.list_containers()
    statuses: dict[str, int] = {}
    for container in containers:
        status = container.status or "?"
        statuses[status] = statuses.get(status, 0) + 1
    each = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    return Finding("containers", "ok", f"{len(containers)} in this project{': ' + each if each else ''}.")


def _quota(client: Client, _login: Login) -> Finding:
    try:
        quotas = client.quotas()
    except (errors.Forbidden, errors.NotFound, errors.BadRequest):
        return Finding("quota", "ok", "The site does not tell its quotas to this user.")
    entry = quotas.get("containers") or {}
    limit, used = entry.get("limit"), entry.get("in_use")
    if not isinstance(limit, int) or limit < 0:
        return Finding("quota", "ok", "No limit on the number of containers.")
    if isinstance(used, int) and used >= limit:
        return Finding(
            "quota",
            "warn",
            f"All {limit} containers of the quota are in use.",
            "Delete one before you create.",
        )
    return Finding("quota", "ok", f"{used if used is not None else '?'} of {limit} containers in use.")


def _terminals(client: Client, _login: Login) -> Finding:
    running = [one for one in client.list_containers(status="Running") if one.interactive]
    if not running:
        return Finding("terminals", "ok", "Not tried: no container is running that could have one.")
    where = client.terminal_address(running[0].uuid)
    reach(where)
    return Finding("terminals", "ok", f"The terminal proxy at {where} can be reached.")


def _reservations(client: Client, login: Login) -> Finding:
    if not client.dialect.needs_reservation:
        return Finding("reservation", "ok", "None is needed here.")
    if login.reservation_id:
        return Finding("reservation", "ok", f"The site lends a standing one: {login.reservation_id}.")
    usable = Reservations(login).device_reservations()
    if usable:
        return Finding("reservation", "ok", f"Usable now: {', '.join(one.id for one in usable)}.")
    return Finding(
        "reservation",
        "warn",
        "There is no active lease of a device, and a container cannot be created without one.",
        "Make a lease of an edge device (in the portal, or with python-chi), then wait until it is ACTIVE.",
    )


def _floating_ips(_client: Client, login: Login) -> Finding:
    if not login.has_service("network"):
        return Finding("floating IPs", "ok", "The site has no network service, so there are none.")
    addresses = Network(login).floating_ips()
    free = sum(1 for one in addresses if not one.port_id)
    return Finding("floating IPs", "ok", f"{len(addresses)} in this project, {free} free.")


_LOOKS: tuple[tuple[str, Callable[[Client, Login], Finding]], ...] = (
    ("containers", _containers),
    ("quota", _quota),
    ("terminals", _terminals),
    ("reservation", _reservations),
    ("floating IPs", _floating_ips),
)
