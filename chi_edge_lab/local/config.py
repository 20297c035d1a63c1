"""The directory of a local site: who it is, how it was set up, and its secrets.

DIR/            mode 0700
  site.json     profile, engine, port and address range: what must stay the same over restarts (0600)
  secrets.json  users with their passwords and the key that signs tokens (0600)
  settings.json optional: limits and times, see `Settings` (0600)
  runtime.json  while it runs: pid, start time, port, URL (0600; local.process)
  site.sqlite   containers, floating IPs, leases, application credentials
  site.log      log of the site's process, rotated
  engine/<name> files of the engine
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import json
import os
import secrets
import sqlite3
import stat
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import quote

from chi_edge_lab.local.zunapi.limits import Limits

ProfileName = Literal["chi-edge", "zun"]
PROFILES: tuple[ProfileName, ...] = ("chi-edge", "zun")
ENGINES = ("auto", "namespaces", "docker")

REGION = "local"
DOMAIN_ID = "default"
DOMAIN_NAME = "Default"


MAX_FLOATING_IPS = 200
"""A /24 has 254, and some are left for the network's own (gateway)."""


_OWN_DIRECTORY = (
    "Set CHI_EDGE_LAB_HOME to a directory of your own (the commands of `chi-edge-lab site` also take --dir)."
)


class SiteProblem(Exception):
    """The site cannot be set up, started or reached; `str()` is one sentence for a person.

    `hint` is another, of what to do, where there is more to say than that.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True)
class Settings:
    """Limits and times of a site. Written to settings.json by whoever wants other values (tests do)."""

    token_lifetime: float = 4 * 3600.0
    """Seconds a token is good for (Keystone on CHI@Edge and the real one we compare with: some hours)."""

    floating_ips: int = 16
    """Addresses in the public network, of all projects together; at most MAX_FLOATING_IPS."""

    limits: Limits = field(default_factory=Limits)
    """Bounds of the Zun part."""

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read a settings file; the defaults where there is none. Raises SiteProblem."""
        try:
            given = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError) as error:
            raise SiteProblem(f"The settings in {path} cannot be read: {error}.") from error
        if not isinstance(given, dict):
            raise SiteProblem(f"The settings in {path} must be a JSON object.")
        return cls.of(given, where=str(path))

    @classmethod
    def of(cls, given: dict[str, Any], *, where: str) -> Settings:
        """Settings with these values in place of the defaults. Raises SiteProblem."""
        limits = given.get("limits", {})
        if not isinstance(limits, dict):
            raise SiteProblem(f"{where}: limits must be a JSON object.")
        own = _checked(cls, {k: v for k, v in given.items() if k != "limits"}, where)
        settings = cls(**own, limits=Limits(**_checked(Limits, limits, f"{where}: limits")))
        if settings.floating_ips > MAX_FLOATING_IPS:
            raise SiteProblem(f"{where}: floating_ips can be {MAX_FLOATING_IPS} at most.")
        return settings


@dataclass(frozen=True)
class Account:
    """A user with a project of the same name, as secrets.json has them."""

    name: str
    user_id: str
    password: str = field(repr=False)
    project_id: str
    roles: tuple[str, ...] = ("member", "reader")


@dataclass(frozen=True)
class Secrets:
    """What nobody else may read: who may log in, and the key of the tokens."""

    signing_key: bytes = field(repr=False)
    accounts: tuple[Account, ...]

    def account(self, name: str) -> Account:
        """The user of this name. Raises SiteProblem where there is none."""
        for account in self.accounts:
            if account.name == name:
                return account
        names = ", ".join(a.name for a in self.accounts)
        raise SiteProblem(f"The local site has no user {name!r}; it has {names}.")

    @classmethod
    def generate(cls) -> Secrets:
        """Fresh random secrets: the user who works (edge), a stranger (other), an administrator."""

        def account(name: str, *roles: str) -> Account:
            return Account(name, uuid.uuid4().hex, secrets.token_urlsafe(24), uuid.uuid4().hex, roles)

        return cls(
            secrets.token_bytes(32),
            (
                account("edge", "member", "reader"),
                account("other", "member", "reader"),
                account("admin", "admin", "member", "reader"),
            ),
        )

    def dump(self) -> dict[str, Any]:
        """As secrets.json holds it."""
        return {
            "signing_key": self.signing_key.hex(),
            "accounts": [dataclasses.asdict(a) for a in self.accounts],
        }

    @classmethod
    def load(cls, data: dict[str, Any]) -> Secrets:
        """The reverse of `dump`."""
        return cls(
            bytes.fromhex(data["signing_key"]),
            tuple(Account(**{**a, "roles": tuple(a["roles"])}) for a in data["accounts"]),
        )


@dataclass
class SiteConfig:
    """One site: its directory and all that stays the same over restarts."""

    directory: Path
    site_id: str  # hex of a uuid; ids of services, networks and roles are derived from it
    profile: ProfileName
    engine: str  # "auto" until a first start has chosen one
    port: int  # TCP port on 127.0.0.1; 0 until a first start has bound one
    floating_range: ipaddress.IPv4Network  # a /24 of 127.0.0.0/8 of its own
    secrets: Secrets = field(repr=False)
    settings: Settings = field(default_factory=Settings)

    @classmethod
    def open(cls, directory: Path, profile: ProfileName | None = None) -> SiteConfig:
        """Read the configuration of a directory, making both where they are missing (profile: chi-edge).

        Raises SiteProblem when the directory cannot be used, or belongs to a site of another profile.
        """
        make_private(directory)
        record = _read(directory / "site.json")
        new = record is None
        if record is None:
            record = {
                "site_id": uuid.uuid4().hex,
                "profile": profile or PROFILES[0],
                "engine": "auto",
                "port": 0,
                "floating_range": f"127.{secrets.randbelow(253) + 2}.{secrets.randbelow(256)}.0/24",
            }
        if profile and record["profile"] != profile:
            raise SiteProblem(
                f"{directory} holds a site of the {record['profile']} profile, not of {profile}: "
                "use another --dir for the other profile."
            )
        hidden = _read(directory / "secrets.json")
        try:
            config = cls(
                directory=directory,
                site_id=record["site_id"],
                profile=cast("ProfileName", record["profile"]),
                engine=record["engine"],
                port=int(record["port"]),
                floating_range=ipaddress.IPv4Network(record["floating_range"]),
                secrets=Secrets.load(hidden) if hidden else Secrets.generate(),
                settings=Settings.load(directory / "settings.json"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SiteProblem(
                f"The configuration in {directory} is damaged ({type(error).__name__}: {error}): "
                "remove that directory to begin anew; its containers are lost."
            ) from error
        if hidden is None:
            write_private(directory / "secrets.json", config.secrets.dump())
        if new:  # only then: another process may have written it since it was read
            config.save()
        return config

    def save(self) -> None:
        """Write site.json."""
        write_private(
            self.directory / "site.json",
            {
                "site_id": self.site_id,
                "profile": self.profile,
                "engine": self.engine,
                "port": self.port,
                "floating_range": str(self.floating_range),
            },
        )

    def id_of(self, *names: str) -> str:
        """A uuid (hex) for something of this site that has a name and no record, the same at each start."""
        return uuid.uuid5(uuid.UUID(self.site_id), "/".join(names)).hex

    def uuid_of(self, *names: str) -> str:
        """As `id_of`, with dashes (Neutron's and Blazar's way of writing)."""
        return str(uuid.uuid5(uuid.UUID(self.site_id), "/".join(names)))

    def count_containers(self) -> int:
        """How many containers the site has, as its own database says; it need not run."""
        database = self.directory / "site.sqlite"
        if not database.exists():
            return 0
        try:
            with contextlib.closing(
                sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)
            ) as connection:
                row = connection.execute("SELECT COUNT(*) FROM containers").fetchone()
        except sqlite3.Error:  # not a database, or without that table yet: it has none then
            return 0
        return int(row[0])

    def standing_reservation(self, project_id: str) -> str | None:
        """The id of the reservation that a project always has; None in a profile that needs none."""
        return self.uuid_of("reservation", project_id) if self.profile == "chi-edge" else None

    @property
    def url(self) -> str:
        """Where the site answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def auth_url(self) -> str:
        """OS_AUTH_URL of the site."""
        return f"{self.url}/identity/v3"


def default_directory(profile: str) -> Path:
    """$CHI_EDGE_LAB_HOME/local/<profile>, by default below ~/.local/share/chi-edge-lab."""
    home = os.environ.get("CHI_EDGE_LAB_HOME")
    base = Path(home).expanduser() if home else Path.home() / ".local" / "share" / "chi-edge-lab"
    return base.absolute() / "local" / profile


def make_private(directory: Path) -> None:
    """Make the directory (mode 0700) or check that it is ours. Raises SiteProblem."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = directory.stat()
        if info.st_uid != os.geteuid():
            raise SiteProblem(f"{directory} belongs to another user.", hint=_OWN_DIRECTORY)
        if stat.S_IMODE(info.st_mode) != 0o700:
            directory.chmod(0o700)
    except OSError as error:
        raise SiteProblem(
            f"{directory} cannot be used for the site's files: {error.strerror}.", hint=_OWN_DIRECTORY
        ) from error


def write_private(path: Path, data: dict[str, Any]) -> None:
    """Write JSON to a file that only its owner may read, whole or not at all."""
    # mkstemp makes it 0600 from the start: no moment in which others can open it
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _checked(kind: type[Settings | Limits], given: dict[str, Any], where: str) -> dict[str, Any]:
    """Values for fields of a dataclass of numbers, of the types of its defaults. Raises SiteProblem."""
    known: dict[str, Any] = {f.name: f.default for f in dataclasses.fields(kind) if f.name != "limits"}
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise SiteProblem(f"{where}: there is no setting {name!r}; there are {', '.join(sorted(known))}.")
        numbers = value if isinstance(known[name], tuple) and isinstance(value, list) else [value]
        if any(isinstance(n, bool) or not isinstance(n, (int, float)) or n < 0 for n in numbers):
            raise SiteProblem(f"{where}: {name} must be a number that is not negative, not {value!r}.")
        if isinstance(known[name], tuple) != isinstance(value, list):
            raise SiteProblem(
                f"{where}: {name} must be {'a list' if isinstance(known[name], tuple) else 'a number'}."
            )
        values[name] = type(known[name])(value)
    return values


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, None where there is no such file. Raises SiteProblem."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SiteProblem(f"{path} cannot be read: {error}.") from error
    if not isinstance(data, dict):
        raise SiteProblem(f"{path} is damaged: it does not hold a JSON object.")
    return data
