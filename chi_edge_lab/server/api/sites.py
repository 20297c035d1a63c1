"""Sites: which there are, how the login to each does, which is in use."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab import errors
from chi_edge_lab.core import doctor
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import Problem, problem_of
from chi_edge_lab.server.operations import SITE, operation
from chi_edge_lab.server.sites import DEFAULT, LoginState
from chi_edge_lab.sites import Site


class LoginReport(BaseModel):
    """How the login to a site does; `user` and `project` are names."""

    state: Literal["not-tried", "ok", "failed"]
    user: str | None = None
    project: str | None = None
    problem: Problem | None = None


class SiteEntry(BaseModel):
    """A site. `name` is what routes take; it is "default" for one that has no name of its own (`title` tells it then).

    `used` says whether `default` means it.
    """

    name: str
    title: str
    kind: str
    source: str
    auth_url: str
    used: bool
    login: LoginReport


class DefaultSite(BaseModel):
    """What `default` means. `chosen`: somebody chose it, else it was found. `problem`: nothing usable was."""

    name: str | None = None
    title: str | None = None
    project: str | None = None
    chosen: bool = False
    login: LoginReport
    problem: Problem | None = None


class SiteList(BaseModel):
    """The sites that can be used, and which of them `default` is."""

    sites: list[SiteEntry]
    default: DefaultSite


class SiteDetail(BaseModel):
    """A site after login. `notes` are sentences about credentials that were left out."""

    name: str
    kind: str
    source: str
    endpoint: str
    version: str
    dialect: str
    user: str | None
    project: str | None
    project_id: str | None
    notes: list[str]
    standing_reservation: str | None


class Choice(BaseModel):
    """The site, and the project (a name; null: the credentials' own), that `default` is to mean."""

    model_config = ConfigDict(extra="forbid")

    site: str = Field(min_length=1, max_length=255)
    project: str | None = Field(None, max_length=255)


class ProjectList(BaseModel):
    """Names of the projects that one may log in to. `reason` says why none is told."""

    projects: list[str]
    reason: str = ""


class Findings(BaseModel):
    """What the doctor found."""

    findings: list[doctor.Finding]


def report(state: LoginState | None) -> LoginReport:
    """How a login does."""
    if state is None:
        return LoginReport(state="not-tried")
    if state.error is not None:
        return LoginReport(state="failed", problem=problem_of(state.error))
    return LoginReport(state="ok", user=state.user, project=state.project)


@operation("GET", "/sites", "read")
def list_sites(call: Call) -> SiteList:
    """The sites that can be used, and how logging in to them went; nothing is sent to them."""
    default = default_of(call)
    listed = call.services.sites.sites()
    used = None
    if default.problem is None:
        used = call.services.sites.in_use()[0]
        if used.name not in {one.name for one in listed}:
            listed.append(used)  # what the OS_* variables lead to
    return SiteList(default=default, sites=[entry_of(call, one, used) for one in listed])


def entry_of(call: Call, site: Site, used: Site | None) -> SiteEntry:
    """A site as it is listed."""
    name = DEFAULT if site.kind == "environment" else site.name
    is_used = used is not None and site.name == used.name
    known = call.services.sites
    state = known.state(name) or (known.state(DEFAULT) if is_used else None)
    return SiteEntry(
        name=name, title=site.name, kind=site.kind, source=site.source, auth_url=site.auth_url, used=is_used,
        login=report(state),
    )  # fmt: skip


def default_of(call: Call) -> DefaultSite:
    """What `default` means; sends nothing."""
    known = call.services.sites
    chosen, login = known.chosen is not None, report(known.state(DEFAULT))
    try:
        site, project = known.in_use()
    except errors.EdgeLabError as problem:
        return DefaultSite(chosen=chosen, login=login, problem=problem_of(problem))
    entry = entry_of(call, site, site)
    return DefaultSite(name=entry.name, title=entry.title, project=project, chosen=chosen, login=login)


@operation("GET", SITE, "read")
def get_site(call: Call) -> SiteDetail:
    """One site: logs in and tells what it is."""
    client = call.client()
    login = client.login
    return SiteDetail(
        name=login.site, kind=login.kind, source=login.source, endpoint=login.endpoint(), version=client.version,
        dialect=client.dialect.name, user=login.user_name, project=login.project_name, project_id=login.project_id,
        notes=list(login.notes), standing_reservation=login.reservation_id,
    )  # fmt: skip


@operation("POST", SITE + "/login", "write")
def log_in(call: Call) -> LoginReport:
    """Log in anew: after credentials were changed, or a token has expired."""
    call.services.sites.client(call.site, call.project, again=True)
    return report(call.services.sites.state(call.site, call.project))


@operation("PUT", "/choice", "write")
def choose_site(call: Call, body: Choice) -> DefaultSite:
    """Say which site and project `default` means, for all who use this server; nothing is sent."""
    call.services.sites.choose(None if body.site == DEFAULT else body.site, body.project)
    return default_of(call)


@operation("DELETE", "/choice", "write")
def forget_choice(call: Call) -> None:
    """Let `default` mean the site that is found again."""
    call.services.sites.choose(None, None)


@operation("GET", SITE + "/projects", "read")
def list_projects(call: Call) -> ProjectList:
    """The projects that one may log in to on this site."""
    try:
        return ProjectList(projects=call.client().login.projects())
    except errors.Forbidden as problem:
        return ProjectList(projects=[], reason=f"{problem.message} {problem.hint}".strip())


@operation("GET", SITE + "/doctor", "read")
def examine(call: Call) -> Findings:
    """What works on this site and what does not, with what to do next."""
    call.services.sites.check(call.site)
    return Findings(findings=doctor.examine(None if call.site == DEFAULT else call.site, call.project))


@operation("POST", SITE + "/refresh", "read")
async def refresh(call: Call) -> None:
    """Look at the site at once, for all who watch it (every change asked of it through this server does so too)."""
