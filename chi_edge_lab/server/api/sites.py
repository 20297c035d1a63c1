"""Sites: which there are, how the login to each does, which is in use."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab import sites
from chi_edge_lab.core import doctor
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import Problem, problem_of
from chi_edge_lab.server.operations import SITE, operation
from chi_edge_lab.server.sites import DEFAULT, LoginState


class LoginReport(BaseModel):
    """How the login to a site does; `user` and `project` are names."""

    state: Literal["not-tried", "ok", "failed"]
    user: str | None = None
    project: str | None = None
    problem: Problem | None = None


class SiteEntry(BaseModel):
    """A site that can be named. `name` is what routes take; `used` says whether `default` means it by choice."""

    name: str
    kind: str
    source: str
    auth_url: str
    used: bool
    login: LoginReport


class SiteList(BaseModel):
    """The sites that can be named, and how the one in use (`default`) does."""

    sites: list[SiteEntry]
    default: LoginReport


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
    """Names of the projects that one may log in to."""

    projects: list[str]


class FindingEntry(BaseModel):
    """One thing that the doctor looked at."""

    what: str
    state: Literal["ok", "warn", "bad"]
    sentence: str
    next_step: str


class Findings(BaseModel):
    """What the doctor found."""

    findings: list[FindingEntry]


def report(state: LoginState | None) -> LoginReport:
    """How a login does."""
    if state is None:
        return LoginReport(state="not-tried")
    if state.error is not None:
        return LoginReport(state="failed", problem=problem_of(state.error))
    return LoginReport(state="ok", user=state.user, project=state.project)


@operation("GET", "/sites", "read")
def list_sites(call: Call) -> SiteList:
    """The sites that can be named; nothing is sent to them."""
    known = call.services.sites
    used = known.chosen[0] if known.chosen else None
    return SiteList(
        sites=[
            SiteEntry(
                name=one.name, kind=one.kind, source=one.source, auth_url=one.auth_url, used=one.name == used,
                login=report(known.state(one.name)),
            )
            for one in sites.list_sites()
        ],
        default=report(known.state(DEFAULT)),
    )  # fmt: skip


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
    call.client().login.relogin()
    return report(call.services.sites.state(call.site))


@operation("PUT", "/choice", "write")
def choose_site(call: Call, body: Choice) -> LoginReport:
    """Say which site and project `default` means, for this server; logs in to it."""
    call.services.sites.choose(None if body.site == DEFAULT else body.site, body.project)
    call.services.sites.client(DEFAULT, None)
    return report(call.services.sites.state(DEFAULT))


@operation("DELETE", "/choice", "write")
def forget_choice(call: Call) -> None:
    """Let `default` mean the site that is found again."""
    call.services.sites.choose(None, None)


@operation("GET", SITE + "/projects", "read")
def list_projects(call: Call) -> ProjectList:
    """The projects that one may log in to on this site."""
    return ProjectList(projects=call.client().login.projects())


@operation("GET", SITE + "/doctor", "read")
def examine(call: Call) -> Findings:
    """What works on this site and what does not, with what to do next."""
    found = doctor.examine(None if call.site == DEFAULT else call.site, call.project)
    return Findings(
        findings=[
            FindingEntry(what=one.what, state=one.state, sentence=one.sentence, next_step=one.next_step)
            for one in found
        ]
    )


@operation("POST", SITE + "/refresh", "read")
async def refresh(call: Call) -> None:
    """Look at the site at once, for all who watch it (every change asked of it through this server does so too)."""
