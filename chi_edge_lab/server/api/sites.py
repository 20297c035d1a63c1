"""Sites: which there are, which is in use, and how logging in to them goes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from chi_edge_lab import errors, sites
from chi_edge_lab.core import doctor
from chi_edge_lab.server.call import Call
from chi_edge_lab.server.failures import Problem, problem_of
from chi_edge_lab.server.operations import SITE, operation
from chi_edge_lab.server.sites import DEFAULT, LoginState
from chi_edge_lab.sites import Site
from chi_edge_lab.zun import Client


class SiteEntry(BaseModel):
    """A site. `name` is what paths take; it is "default" for one that has no name of its own (OS_* variables)."""

    name: str
    title: str
    kind: str
    source: str
    auth_url: str
    in_use: bool
    login: LoginState


class DefaultSite(BaseModel):
    """What the name "default" means. `chosen`: somebody chose it; otherwise it was found. `problem`: nothing usable."""

    name: str | None = None
    title: str | None = None
    project: str | None = None
    chosen: bool = False
    login: LoginState | None = None
    problem: Problem | None = None


class SiteList(BaseModel):
    """The sites that can be used."""

    sites: list[SiteEntry]
    default: DefaultSite


class SiteDetail(BaseModel):
    """A site that was logged in to. `endpoint` is Zun's address, `notes` what was odd about the credentials."""

    title: str
    kind: str
    source: str
    project: str | None
    project_id: str | None
    user: str | None
    endpoint: str
    version: str
    dialect: str
    notes: list[str]


class Choice(BaseModel):
    """A site by name, and a project of it (none: the credentials' own)."""

    model_config = ConfigDict(extra="forbid")

    site: str = Field(min_length=1, max_length=255)
    project: str | None = Field(None, min_length=1, max_length=255)


class ProjectList(BaseModel):
    """Names of the projects this user may work in; `note` says why there are none."""

    projects: list[str]
    note: str = ""


class Findings(BaseModel):
    """What was found, in the order in which it was looked at."""

    findings: list[doctor.Finding]


@operation("GET", "/sites", "read")
def list_sites(call: Call) -> SiteList:
    """The sites that can be used, and how logging in to them went; nothing is sent to them."""
    default, used = _default(call), None
    listed = call.services.sites.sites()
    if default.problem is None:
        used = call.services.sites.in_use()[0]
        if used.name not in {one.name for one in listed}:
            listed.append(used)
    return SiteList(default=default, sites=[_entry(call, one, used) for one in listed])


@operation("GET", "/sites/default", "read")
def get_default_site(call: Call) -> SiteDetail:
    """Log in to the site in use (where that has not happened) and tell what it is."""
    return _detail(call.services.sites.client(DEFAULT, call.project))


@operation("PUT", "/sites/default", "write")
def choose_site(call: Call, body: Choice) -> DefaultSite:
    """Choose what "default" means, for all who use this server; nothing is sent."""
    call.services.sites.choose(body.site, body.project)
    return _default(call)


@operation("DELETE", "/sites/default", "write", status=200)
def choose_no_site(call: Call) -> DefaultSite:
    """Let "default" be what is found again."""
    call.services.sites.choose_none()
    return _default(call)


@operation("GET", SITE, "read")
def get_site(call: Call) -> SiteDetail:
    """Log in to a site (where that has not happened) and tell what it is."""
    return _detail(call.client())


@operation("POST", SITE + "/login", "write")
def log_in(call: Call) -> SiteDetail:
    """Log in anew, as after credentials were renewed."""
    return _detail(call.services.sites.client(call.site, call.project, again=True))


@operation("GET", SITE + "/projects", "read")
def list_projects(call: Call) -> ProjectList:
    """The projects that can be worked in on this site."""
    try:
        return ProjectList(projects=call.client().login.projects())
    except errors.Forbidden as problem:
        return ProjectList(projects=[], note=f"{problem.message} {problem.hint}".strip())


@operation("GET", SITE + "/doctor", "read")
def examine_site(call: Call) -> Findings:
    """Look at credentials and site as `chi-edge-lab doctor` does; nothing is changed."""
    call.services.sites.check(call.site)
    found = doctor.examine(None if call.site == DEFAULT else call.site, call.project)
    return Findings(findings=found)


@operation("POST", SITE + "/refresh", "read")
async def refresh(call: Call) -> None:
    """Look at the site at once, for all who watch it (every change asked of it through this server does so too)."""


def _entry(call: Call, site: Site, used: Site | None) -> SiteEntry:
    named = site.kind != "environment"
    in_use = used is not None and site.name == used.name
    state = call.services.sites.login_state(site.name if named else DEFAULT)
    if in_use and state.state == "not-tried":
        state = call.services.sites.login_state(DEFAULT)
    return SiteEntry(
        name=site.name if named else DEFAULT, title=site.name, kind=site.kind, source=site.source,
        auth_url=site.auth_url, in_use=in_use, login=state,
    )  # fmt: skip


def _default(call: Call) -> DefaultSite:
    chosen = sites.chosen() is not None
    try:
        site, project = call.services.sites.in_use()
    except errors.EdgeLabError as problem:
        return DefaultSite(chosen=chosen, problem=problem_of(problem))
    entry = _entry(call, site, site)
    return DefaultSite(
        name=entry.name, title=entry.title, project=project, chosen=chosen,
        login=call.services.sites.login_state(DEFAULT),
    )  # fmt: skip


def _detail(client: Client) -> SiteDetail:
    login = client.login
    return SiteDetail(
        title=login.site, kind=login.kind, source=login.source, project=login.project_name,
        project_id=login.project_id, user=login.user_name, endpoint=login.endpoint(), version=client.version,
        dialect=client.dialect.name, notes=list(login.notes),
    )  # fmt: skip
