"""Keystone's part of the site: users, projects, tokens, application credentials. HTTP is in `identity_api`.

What is asked here of a request and what is answered was compared with Keystone 30.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import secrets
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chi_edge_lab.local import tokens
from chi_edge_lab.local.config import DOMAIN_ID, DOMAIN_NAME, Account, SiteConfig
from chi_edge_lab.local.store import Store

METHODS = ("password", "token", "application_credential")
_MALFORMED = (
    " The server could not comply with the request since it is either malformed or otherwise incorrect."
    " The client is assumed to be in error."
)


class IdentityError(Exception):
    """A refusal as Keystone writes it: HTTP status and message. `extra` goes into the error object."""

    def __init__(self, status: int, message: str, **extra: Any) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.extra = extra


def unauthorized() -> IdentityError:
    """Keystone's one answer to every wrong name, password or project: it does not tell which."""
    return IdentityError(401, "The request you have made requires authentication.")


def malformed(what: str) -> IdentityError:
    """400, with the sentence Keystone adds to it."""
    return IdentityError(400, what + _MALFORMED)


def forbidden(what: str) -> IdentityError:
    """403, with the name of the policy rule or a reason."""
    return IdentityError(403, f"You are not authorized to perform the requested action: {what}.")


@dataclass(frozen=True)
class Token:
    """A valid token: who it stands for, and until when."""

    user_id: str
    user_name: str
    project_id: str | None  # None: unscoped
    project_name: str | None
    roles: tuple[str, ...]  # names; empty when unscoped
    issued_at: float  # seconds since the epoch
    expires_at: float
    methods: tuple[str, ...]
    audit_ids: tuple[str, ...]
    application_credential_id: str | None = None
    raw: str = field(default="", repr=False)  # as the client sends it

    @property
    def is_admin(self) -> bool:
        """Whether Zun's and Neutron's admin rules hold for it."""
        return "admin" in self.roles


@dataclass(frozen=True)
class Credential:
    """An application credential. Its secret is long and random, so a plain hash of it is enough to keep."""

    id: str
    name: str
    description: str | None
    user_id: str
    project_id: str | None
    roles: list[str]  # names
    expires_at: float | None  # seconds since the epoch
    unrestricted: bool | None
    secret_hash: str = field(repr=False)


@dataclass(frozen=True)
class Revocation:
    """A token that was revoked before its end."""

    audit_id: str
    expires_at: float


class Identity:
    """Who may use the site. Thread-safe: what it remembers is in the store."""

    def __init__(self, config: SiteConfig, store: Store) -> None:
        self._config = config
        self._store = store
        self._credentials = store.table(Credential, "application_credentials")
        self._revocations = store.table(Revocation, "revocations")
        self._key = config.secrets.signing_key
        self._users = {a.user_id: a for a in config.secrets.accounts}
        self._projects = {a.project_id: a.name for a in config.secrets.accounts}
        self._forget_expired()

    # -- tokens

    def authenticate(self, raw: str | None) -> Token | None:
        """Who sends this X-Auth-Token; None when it is missing, forged, expired or revoked."""
        claims = tokens.read(self._key, raw) if raw else None
        if claims is None or raw is None or claims["exp"] <= time.time():
            return None
        account = self._users.get(claims["user"])
        project: str | None = claims["project"]
        credential: str | None = claims["credential"]
        if account is None or (project and project not in self._projects):
            return None
        if self._revocations.get(claims["audit"][0]):
            return None
        if credential and not self._credentials.get(credential):
            return None
        return Token(
            user_id=account.user_id,
            user_name=account.name,
            project_id=project,
            project_name=self._projects[project] if project else None,
            roles=tuple(claims["roles"]),
            issued_at=claims["iat"],
            expires_at=claims["exp"],
            methods=tuple(claims["methods"]),
            audit_ids=tuple(claims["audit"]),
            application_credential_id=credential,
            raw=raw,
        )

    def issue(self, auth: object) -> Token:
        """Answer POST /v3/auth/tokens, given its "auth" object. Raises IdentityError."""
        auth = _object(auth, "auth", "request body")
        identity = _object(auth.get("identity"), "identity", "auth")
        methods = identity.get("methods")
        if not isinstance(methods, list) or not all(isinstance(m, str) for m in methods):
            raise IdentityError(400, "Invalid input for field 'identity': 'methods' is a required property")
        for method in methods:
            if method not in METHODS:
                raise IdentityError(
                    401,
                    "Attempted to authenticate with an unsupported method.",
                    identity={"methods": list(METHODS)},
                )
            _object(identity.get(method), method, "identity")
        scope = auth.get("scope")
        if methods == ["password"]:
            return self._by_password(identity["password"], scope)
        if methods == ["application_credential"]:
            return self._by_application_credential(identity["application_credential"], scope)
        if methods == ["token"]:
            return self._by_token(identity["token"], scope)
        raise unauthorized()  # combinations (multi-factor) are not configured for any user

    def revoke(self, token: Token) -> None:
        """Make a token useless before its end, also after a restart."""
        self._revocations.put(Revocation(token.audit_ids[0], token.expires_at))

    def _by_password(self, method: dict[str, Any], scope: object) -> Token:
        user = _object(method.get("user"), "user", "None")
        account = self._find_user(user)
        password = user.get("password")
        # compared also when there is no such user, so that the time taken does not tell
        right = account.password if account else secrets.token_urlsafe(24)
        matches = isinstance(password, str) and _same(password, right)
        if account is None or not matches:
            raise unauthorized()
        return self._scoped(account, scope, ("password",))

    def _by_token(self, method: dict[str, Any], scope: object) -> Token:
        raw = method.get("id")
        old = self.authenticate(raw) if isinstance(raw, str) else None
        if old is None:
            raise IdentityError(404, "Failed to validate token")
        if old.application_credential_id:
            raise forbidden("Using a delegated token to create another token is not allowed.")
        methods = tuple(dict.fromkeys(("token", *old.methods)))
        # a token made from a token ends with it, as in Keystone
        return self._scoped(
            self._users[old.user_id], scope, methods, end=old.expires_at, parents=old.audit_ids[-1:]
        )

    def _by_application_credential(self, method: dict[str, Any], scope: object) -> Token:
        record = self._find_credential(method)
        given = method.get("secret")
        if not isinstance(given, str) or not _same(_digest(given), record.secret_hash):
            raise unauthorized()
        if scope is not None and scope != "unscoped":
            raise IdentityError(
                401,
                "Error authenticating with application credential: "
                "Application credentials cannot request a scope.",
                identity={},
            )
        end = record.expires_at
        if end is not None and end <= time.time():
            raise unauthorized()
        return self._token(
            self._users[record.user_id], record.project_id, record.roles, ("application_credential",),
            end=end, credential=record.id,
        )  # fmt: skip

    def _scoped(
        self,
        account: Account,
        scope: object,
        methods: tuple[str, ...],
        *,
        end: float | None = None,
        parents: tuple[str, ...] = (),
    ) -> Token:
        if scope is None or scope == "unscoped":
            return self._token(account, None, (), methods, end=end, parents=parents)
        scope = _object(scope, "scope", "auth")
        if "project" not in scope:
            raise unauthorized()  # nobody has a role on a domain or the system
        project = _object(scope["project"], "project", "scope")
        if project.get("id") != account.project_id and not (
            project.get("name") == account.name and _is_domain(project, "project")
        ):
            raise unauthorized()
        return self._token(account, account.project_id, account.roles, methods, end=end, parents=parents)

    def _token(
        self,
        account: Account,
        project_id: str | None,
        roles: Iterable[str],
        methods: tuple[str, ...],
        *,
        end: float | None = None,
        parents: tuple[str, ...] = (),
        credential: str | None = None,
    ) -> Token:
        now = time.time()
        expires = now + self._config.settings.token_lifetime
        expires = min(expires, end) if end is not None else expires
        audit = (base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode(), *parents)
        claims = {
            "user": account.user_id, "project": project_id, "roles": list(roles), "methods": list(methods),
            "iat": now, "exp": expires, "audit": list(audit), "credential": credential,
        }  # fmt: skip
        token = self.authenticate(tokens.sign(self._key, claims))
        if token is None:  # the credential or token it is made from has ended this instant
            raise unauthorized()
        return token

    def _forget_expired(self) -> None:
        now = time.time()
        for revocation in self._revocations.find():
            if revocation.expires_at <= now:
                self._revocations.delete(audit_id=revocation.audit_id)

    # -- users and projects

    def _find_user(self, user: dict[str, Any]) -> Account | None:
        if "id" in user:
            return self._users.get(str(user["id"]))
        if "name" not in user:
            raise malformed("Expecting to find id or name in user.")
        known = _is_domain(user, "user")
        return next((a for a in self._users.values() if known and a.name == user["name"]), None)

    def projects_of(self, user_id: str) -> list[tuple[str, str]]:
        """(id, name) of the projects of a user."""
        account = self._users[user_id]
        return [(account.project_id, account.name)]

    def projects(self) -> dict[str, str]:
        """Names by id of all projects."""
        return dict(self._projects)

    def user_name(self, user_id: str) -> str | None:
        """Name of a user, None where there is none of this id."""
        account = self._users.get(user_id)
        return account.name if account else None

    # -- application credentials

    def credentials(self, user_id: str) -> list[Credential]:
        """The application credentials of a user."""
        return self._credentials.find(user_id=user_id)

    def credential(self, user_id: str, id: str) -> Credential:
        """One of them. Raises IdentityError 404."""
        credential = self._credentials.get(id)
        if credential is None or credential.user_id != user_id:
            raise _no_credential(id)
        return credential

    def create_credential(self, token: Token, body: dict[str, Any]) -> tuple[Credential, str]:
        """Make one for the user and project of a token: the credential, and its secret (shown this once).

        Raises IdentityError.
        """
        _may_manage(token)
        name = body.get("name")
        if not isinstance(name, str) or not name:
            raise IdentityError(
                400,
                "Invalid input for field/attribute application_credential. Value: {}. "
                "'name' is a required property",
            )
        if body.get("access_rules"):
            # to leave them out would make a credential that can do more than was asked for
            raise malformed("The local site has no access rules for application credentials.")
        secret = body.get("secret") or secrets.token_urlsafe(64)
        if not isinstance(secret, str):
            raise malformed("Invalid input for field/attribute secret.")
        credential = Credential(
            id=uuid.uuid4().hex,
            name=name,
            description=body.get("description"),
            user_id=token.user_id,
            project_id=token.project_id,
            roles=self._role_names(body.get("roles"), token),
            expires_at=_end(body.get("expires_at")),
            unrestricted=body.get("unrestricted"),
            secret_hash=_digest(secret),
        )
        with self._store.transaction():
            if self._credentials.count(user_id=token.user_id, name=name):
                raise IdentityError(
                    409,
                    "Conflict occurred attempting to store application_credential - "
                    f"Duplicate entry found with name {name}.",
                )
            self._credentials.insert(credential)
        return credential, secret

    def delete_credential(self, token: Token, id: str) -> None:
        """Delete one; its tokens end with it. Raises IdentityError."""
        _may_manage(token)
        self.credential(token.user_id, id)
        self._credentials.delete(id=id)

    def _find_credential(self, method: dict[str, Any]) -> Credential:
        if "id" in method:
            credential = self._credentials.get(str(method["id"]))
            if credential is None:
                raise _no_credential(str(method["id"]))
            return credential
        account = self._find_user(_object(method.get("user"), "user", "application_credential"))
        found = (
            self._credentials.find(user_id=account.user_id, name=str(method.get("name"))) if account else []
        )
        if not found:
            raise unauthorized()
        return found[0]

    def _role_names(self, given: object, token: Token) -> list[str]:
        if not given:  # also an empty list, which is what `openstack application credential create` sends
            return list(token.roles)
        names = {self._config.id_of("role", name): name for name in token.roles}
        names.update({name: name for name in token.roles})
        asked = (
            [r.get("id") or r.get("name") for r in given if isinstance(r, dict)]
            if isinstance(given, list)
            else []
        )
        if not asked or any(a not in names for a in asked):
            raise IdentityError(
                400,
                "Invalid application credential: "
                "Cannot create an application credential with unassigned role",
            )
        return [names[str(a)] for a in asked]


def _object(value: object, name: str, parent: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise malformed(f"Expecting to find {name} in {parent}.")
    return value


def _is_domain(thing: dict[str, Any], what: str) -> bool:
    """Whether a user or project is named in the one domain there is. Raises IdentityError without one."""
    domain = _object(thing.get("domain"), "domain", what)
    if "id" in domain:
        return bool(domain["id"] == DOMAIN_ID)
    # Keystone's database compares names without regard to case; OS_*_DOMAIN_NAME=default is common
    return str(domain.get("name", "")).casefold() == DOMAIN_NAME.casefold()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _no_credential(id: str) -> IdentityError:
    return IdentityError(404, f"Could not find Application Credential: {id}.")


def _may_manage(token: Token) -> None:
    if token.application_credential_id:
        raise forbidden(
            "Using method 'application_credential' is not allowed for managing additional "
            "application credentials."
        )


def _end(given: object) -> float | None:
    """Seconds since the epoch of an `expires_at`. Raises IdentityError."""
    if given is None:
        return None
    try:
        moment = dt.datetime.fromisoformat(str(given).removesuffix("Z"))
    except ValueError:
        raise malformed("Timestamp not in expected format.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.timezone.utc)
    if moment.timestamp() <= time.time():
        raise malformed("The 'expires_at' must not be before now.")
    return moment.timestamp()
