"""Credentials and where they came from, before anything is sent: found, completed, contradictions removed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from chi_edge_lab import errors
from chi_edge_lab.sites.redact import redact
from chi_edge_lab.sites.refusals import host_of, is_loopback

Kind = Literal["local", "cloud", "environment", "hub", "python-chi"]

_SCOPE = (
    "project_id", "project_name", "project_domain_id", "project_domain_name",
    "tenant_id", "tenant_name", "domain_id", "domain_name", "system_scope",
)  # fmt: skip
_USER = ("username", "user_id", "user_domain_id", "user_domain_name", "password")
# what makes a set of OS_* variables an attempt to log in (a region alone is not)
_TELLING = frozenset(
    {"auth_url", "auth_type", "username", "user_id", "password", "token", "access_token",
     "application_credential_id", "application_credential_name", "application_credential_secret"}
)  # fmt: skip
_NOT_AUTH = frozenset(
    {"auth_type", "region_name", "interface", "endpoint_type", "cacert", "insecure", "cert", "key", "cloud",
     "identity_api_version", "default_domain", "default_domain_id", "default_domain_name",
     "client_config_file", "client_secure_file"}
)  # fmt: skip
_OLD_NAMES = {
    "tenant_name": "project_name", "tenant_id": "project_id", "auth_token": "token",
    "endpoint_type": "interface",
}  # fmt: skip
_SHORT_TYPES = {"password": "v3password", "token": "v3token"}


@dataclass(frozen=True)
class Settings:
    """How to log in to one site. `notes` are sentences about what was left out or assumed."""

    site: str
    kind: Kind
    source: str
    auth_type: str
    auth: Mapping[str, str] = field(repr=False)
    region_name: str | None = None
    interface: str = "public"
    verify: bool | str = True
    cert: str | tuple[str, str] | None = None
    reservation_id: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def auth_url(self) -> str:
        """Keystone's address."""
        return self.auth.get("auth_url", "")

    def fingerprint(self) -> str:
        """A digest that differs where anything differs; shows nothing of the credentials."""
        parts = (
            self.site,
            self.auth_type,
            sorted(self.auth.items()),
            self.region_name,
            self.interface,
            self.verify,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def for_project(self, project: str | None) -> Settings:
        """The same login, scoped to another project (a name).

        Raises:
            errors.BadCredentials: an application credential, which belongs to one project.
        """
        if project is None or project in {self.auth.get("project_name"), self.auth.get("project_id")}:
            return self
        if "applicationcredential" in self.auth_type:
            raise errors.BadCredentials(
                f"An application credential belongs to one project; {project!r} cannot be used with it.",
                hint=f"Make an application credential in {project}, or log in with a password.",
            )
        domain = {
            key: self.auth[key] for key in ("project_domain_id", "project_domain_name") if key in self.auth
        }
        auth = {key: value for key, value in self.auth.items() if key not in _SCOPE}
        auth |= domain or {"project_domain_id": "default"}
        return replace(self, auth=auth | {"project_name": project})


def from_environment(environ: Mapping[str, str] | None = None) -> Settings | None:
    """What the OS_* variables say; None where they hold no credentials at all.

    Raises:
        errors.BadCredentials: they are half set, or name a CA file that is not there.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for key, value in environ.items():
        if key.startswith("OS_") and value:
            name = key[3:].lower()
            values.setdefault(_OLD_NAMES.get(name, name), value)
    if not _TELLING & values.keys():
        return None
    auth = {key: value for key, value in values.items() if key not in _NOT_AUTH}
    verify: bool | str = values.get("cacert", True)
    if values.get("insecure", "").lower() in {"1", "true", "yes", "on"}:
        verify = False
    cert: str | tuple[str, str] | None = values.get("cert")
    if cert and values.get("key"):
        cert = (values["cert"], values["key"])
    settings = Settings(
        site=values.get("region_name", "") or "OS_* variables",
        kind="environment",
        source="OS_* variables",
        auth_type=values.get("auth_type", ""),
        auth=auth,
        region_name=values.get("region_name"),
        interface=plain_interface(values.get("interface")),
        verify=verify,
        cert=cert,
        reservation_id=_lent_reservation(environ, values.get("auth_url", "")),
    )
    return complete(settings, spell=lambda name: "OS_" + name.upper())


def _lent_reservation(environ: Mapping[str, str], auth_url: str) -> str | None:
    """The standing reservation that `chi-edge-lab site env` exports; not sent to a cloud that is logged in to later."""
    return (environ.get("CHI_EDGE_LAB_RESERVATION_ID") or None) if is_loopback(auth_url) else None


def plain_interface(value: str | None) -> str:
    """`public` for "publicURL", None and the like."""
    return (value or "public").removesuffix("URL") or "public"


def complete(settings: Settings, spell: Any = str) -> Settings:
    """Choose the authentication type, drop what contradicts it, fill in the default domain, check for gaps.

    `spell` turns an option's name into what the person wrote (`OS_PASSWORD`, `password`).

    Raises:
        errors.BadCredentials: something needed is missing, or the address is none.
    """
    auth = {key: str(value) for key, value in settings.auth.items() if value not in (None, "")}
    auth_type = _auth_type(settings.auth_type, auth)
    dropped: list[str] = []
    notes = list(settings.notes)
    if auth_type == "v3applicationcredential":
        dropped = _pop(auth, _SCOPE)
        if dropped:
            notes.append(
                f"{_listed(dropped, spell)} left out: an application credential has its project in itself."
            )
        stale = _pop(auth, _USER) if "application_credential_id" in auth else _pop(auth, ("password",))
        if stale:
            notes.append(
                f"{_listed(stale, spell)} left out: an application credential needs no user beside it."
            )
    elif auth_type in {"v3token", "v3oidcaccesstoken"}:
        stale = _pop(auth, _USER)
        if stale:
            notes.append(f"{_listed(stale, spell)} left out: a token needs no user beside it.")
    if "username" in auth and not {"user_domain_id", "user_domain_name"} & auth.keys():
        auth["user_domain_id"] = "default"
    if "project_name" in auth and not {"project_domain_id", "project_domain_name"} & auth.keys():
        auth["project_domain_id"] = "default"
    _check_gaps(settings, auth_type, auth, spell)
    if host_of(auth["auth_url"]) is None:
        raise errors.BadCredentials(
            f"The {spell('auth_url')} of {settings.source} is not a URL: {redact(auth['auth_url'])[:100]!r}.",
            hint="It looks like https://chi.edge.chameleoncloud.org:5000/v3.",
        )
    if isinstance(settings.verify, str) and not Path(settings.verify).exists():
        raise errors.BadCredentials(
            f"The CA file of {settings.source} is not there: {settings.verify}.",
            hint="Correct OS_CACERT (or cacert in clouds.yaml), or remove it.",
        )
    return replace(settings, auth_type=auth_type, auth=auth, notes=tuple(notes))


def _auth_type(given: str, auth: Mapping[str, str]) -> str:
    has_credential = {"application_credential_id", "application_credential_name"} & auth.keys()
    if has_credential and (not given or (given in {"password", "v3password"} and "password" not in auth)):
        return "v3applicationcredential"
    if not given:
        if "token" in auth and "password" not in auth:
            given = "token"
        elif "access_token" in auth and "password" not in auth:
            given = "v3oidcaccesstoken"
        else:
            given = "password"
    # the plain types ask Keystone which versions it has, one request more at every login
    if auth.get("auth_url", "").rstrip("/").endswith("/v3"):
        return _SHORT_TYPES.get(given, given)
    return given


def _check_gaps(settings: Settings, auth_type: str, auth: Mapping[str, str], spell: Any) -> None:
    needs: list[tuple[str, ...]] = [("auth_url",)]
    if auth_type == "v3applicationcredential":
        needs += [
            ("application_credential_id", "application_credential_name"),
            ("application_credential_secret",),
        ]
        if "application_credential_id" not in auth:
            needs.append(("username", "user_id"))
    elif auth_type in {"password", "v3password"}:
        needs += [("username", "user_id"), ("password",)]
    elif auth_type in {"token", "v3token"}:
        needs.append(("token",))
    elif auth_type == "v3oidcaccesstoken":
        needs += [("identity_provider",), ("protocol",)]
        if settings.kind != "hub":
            needs.append(("access_token",))
    missing = [" or ".join(spell(name) for name in names) for names in needs if not auth.keys() & set(names)]
    if missing:
        raise errors.BadCredentials(
            f"The credentials in {settings.source} are half set: {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing.",
            hint="Complete them (source the whole openrc file), or take them away to use another site.",
        )


def _pop(auth: dict[str, str], names: tuple[str, ...]) -> list[str]:
    return [name for name in names if auth.pop(name, None) is not None]


def _listed(names: list[str], spell: Any) -> str:
    return ", ".join(spell(name) for name in names)
