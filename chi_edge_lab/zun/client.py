"""The one place that speaks Zun: python-zunclient's HTTP client, typed models, typed errors."""

from __future__ import annotations

import base64
import binascii
import functools
import re
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

from chi_edge_lab import errors
from chi_edge_lab.sites.session import Login
from chi_edge_lab.zun.create import CreateRequest
from chi_edge_lab.zun.dialect import Dialect
from chi_edge_lab.zun.errors import Answer, unreadable
from chi_edge_lab.zun.models import Action, Archive, Container, ContainerNetwork, ExecReply, Image
from chi_edge_lab.zun.paths import container_path, placed
from chi_edge_lab.zun.socket import Socket
from chi_edge_lab.zun.stats import Stats, parse_stats
from chi_edge_lab.zun.terminals import Terminals
from chi_edge_lab.zun.transport import ARCHIVE, QUICK, SLOW, Transport
from chi_edge_lab.zun.versions import dialect_of, spelled, version_of

Model = TypeVar("Model", bound=BaseModel)

_PAGE = 1000  # Zun's own maximum
_PAGES = 1000
_TIMED_OUT = re.compile(r"timeout on executing command", re.IGNORECASE)


class Client:
    """A site's Zun as one project sees it. Thread-safe.

    Every method raises errors.SiteError (or one of its kinds) for the site's refusal or silence and
    errors.Unauthorized once the login cannot be renewed; methods named after a capability that the dialect
    lacks raise errors.NotSupported before anything is sent. `timeout` (seconds without a byte) overrides the
    time limit of every call.
    """

    def __init__(self, login: Login, *, timeout: float | None = None, dialect: Dialect | None = None) -> None:
        self.login = login
        self.timeout = timeout
        self._version = version_of(login)
        self._http = Transport(login, self._version, timeout=timeout)
        self._terminals = Terminals(self._http)
        self._dialect = dialect

    def __repr__(self) -> str:
        return f"<Client of {self.login.site}, Zun {self.version}>"

    @property
    def version(self) -> str:
        """The API version spoken with the site, such as "1.41"."""
        return spelled(self._version)

    @property
    def spoken(self) -> tuple[int, int]:
        """The same as numbers: (1, 41)."""
        return self._version

    @functools.cached_property
    def dialect(self) -> Dialect:
        """What the site's driver can do; asked of the site at the first use."""
        return self._dialect or dialect_of(self.login, self._version)

    @functools.cached_property
    def zun(self) -> Any:
        """python-zunclient's client (`containers`, `images`, ...) over the same connection and version."""
        from chi_edge_lab.zun.zunclient import wrapped

        return wrapped(self._http)

    # -- containers -----------------------------------------------------------------------------

    def list_containers(self, **filters: Any) -> list[Container]:
        """All containers of the project; `filters` are Zun's (name, status, image, all_projects, ...)."""
        return [Container.model_validate(item) for item in self.container_items(**filters)]

    def container_items(self, **filters: Any) -> Iterator[Mapping[str, Any]]:
        """The same as the site sent them, unchecked and not to be changed: those of the last list may come again."""
        return self._pages("/containers", "containers", filters, repeated=True)

    def get_container(self, ref: str) -> Container:
        """One container by uuid or name.

        Raises:
            errors.NotFound: there is none. errors.Conflict: several have that name.
        """
        doing = f"show container {ref!r}"
        return self._model(Container, self._http.call("GET", container_path(ref), doing, timeout=SLOW), doing)

    def create_container(self, request: CreateRequest, *, run: bool = False) -> Container:
        """Create; Zun answers while it is still Creating.

        `run` starts it as soon as it is there (CHI@Edge does so in any case; elsewhere it stays Created).

        Raises:
            errors.NotSupported: the site's version lacks a field that is set.
        """
        doing = f"create container {request.name or request.image!r}"
        body = request.body(self._version)
        query = {"run": run or None}
        reply = self._http.call(
            "POST", "/containers", doing, query=query, body=body, timeout=SLOW, secret=True
        )
        return self._model(Container, reply, doing)

    def delete_container(self, uuid: str, *, stop: bool = False, force: bool = False) -> None:
        """Delete; `stop` stops a running one first, `force` is for admins on most sites."""
        query = {"stop": stop or None, "force": force or None}
        self._http.call(
            "DELETE", container_path(uuid), f"delete container {uuid!r}", query=query, timeout=SLOW
        )

    def start(self, uuid: str) -> None:
        """Ask for a start; the status changes later."""
        self._do(uuid, "start")

    def stop(self, uuid: str, timeout: int = 10) -> None:
        """Ask for a stop: SIGTERM, then SIGKILL after `timeout` seconds."""
        self._do(uuid, "stop", timeout=int(timeout))

    def restart(self, uuid: str, timeout: int = 10) -> None:
        """Ask for a stop and a start."""
        self._do(uuid, "reboot", "restart", timeout=int(timeout))

    def rebuild(self, uuid: str, image: str | None = None) -> None:
        """Ask for the container to be made anew, with another image if one is given."""
        self.dialect.require("rebuild")
        self._do(uuid, "rebuild", image=image)

    def pause(self, uuid: str) -> None:
        """Freeze all processes."""
        self.dialect.require("pause")
        self._do(uuid, "pause")

    def unpause(self, uuid: str) -> None:
        """Let them go on."""
        self.dialect.require("unpause")
        self._do(uuid, "unpause")

    def kill(self, uuid: str, signal: str = "SIGKILL") -> None:
        """Send a signal to the main process."""
        self.dialect.require("kill")
        self._do(uuid, "kill", signal=signal)

    def rename(self, uuid: str, name: str) -> Container:
        """Give another name; the container as it is afterwards."""
        return self._patch(uuid, f"rename container {uuid!r}", {"name": name})

    def update(self, uuid: str, *, cpu: float | None = None, memory: int | None = None) -> Container:
        """Change the limits of CPU (cores) and memory (MiB)."""
        self.dialect.require("update")
        body = {"cpu": cpu, "memory": None if memory is None else str(int(memory))}
        return self._patch(
            uuid, f"change container {uuid!r}", {k: v for k, v in body.items() if v is not None}
        )

    # -- inside a container ---------------------------------------------------------------------

    def logs(
        self,
        uuid: str,
        *,
        stdout: bool = True,
        stderr: bool = True,
        timestamps: bool = False,
        tail: int | None = None,
        since: str | int | None = None,
        limit: int | None = None,
    ) -> str:
        """The log, or its last `tail` lines; "" where there is none (yet). Ask for a tail: it has no limit.

        `since` is seconds since 1970 or "YYYY-MM-DD HH:MM:SS,mmm" and works on docker sites only. `limit` is the
        largest answer in bytes that is read (None: any).

        Raises:
            errors.ReplyTooLong: the answer is larger than `limit`.
        """
        if since is not None:
            self.dialect.require("log_since")
        if not stdout and not stderr:
            stdout = stderr = True  # as python-zunclient: the site answers 500 to neither
        query = {"stdout": stdout, "stderr": stderr, "timestamps": timestamps, "tail": tail, "since": since}
        doing = f"read the log of container {uuid!r}"
        text = self._http.call(
            "GET", container_path(uuid, "logs"), doing, query=query, timeout=SLOW, limit=limit
        )
        return "" if text is None else str(text)

    def execute(self, uuid: str, command: str) -> ExecReply:
        """Run a command (words, no shell) and wait for it; sites wait five seconds.

        Raises:
            errors.ExecTimeout: the site gave up (docker; the k8s driver answers with exit_code None). The
                command goes on in the container.
        """
        doing = f"run a command in container {uuid!r}"
        query: dict[str, Any] = {"command": command, "run": True, "interactive": False}
        try:
            reply = self._http.call(
                "POST", container_path(uuid, "execute"), doing, timeout=SLOW, **placed(query)
            )
        except errors.Conflict as problem:
            if not _TIMED_OUT.search(problem.message):
                raise
            raise errors.ExecTimeout(
                "The site stopped waiting for the command, which goes on in the container.",
                hint=f"Sites wait {self.dialect.exec_seconds:.0f} s; run longer commands detached.",
                request_id=problem.request_id,
            ) from None
        return self._model(ExecReply, reply, doing)

    def open_attach(self, uuid: str) -> Socket:
        """Attach: on CHI@Edge a new shell with a terminal, on docker sites the main process.

        Raises:
            errors.BadRequest: the container was made without `interactive`.
            errors.Unreachable: the site's terminal proxy cannot be reached.
        """
        return self._terminals.attach(uuid, k8s=self.dialect.channel_bytes)

    def terminal_address(self, uuid: str) -> str:
        """Where the site's terminal proxy is, such as "wss://host:6784", without what opens a terminal.

        A terminal that somebody is about to open with an address asked for earlier does not open any more.
        """
        return self._terminals.address(uuid)

    def open_exec(self, uuid: str, command: str) -> Socket:
        """Run a command with a terminal of its own.

        Raises:
            errors.NotSupported: CHI@Edge, which has attach for that.
        """
        self.dialect.require("exec_terminal")
        return self._terminals.execute(uuid, command)

    def top(self, uuid: str, ps_args: str | None = None) -> dict[str, list[Any]]:
        """Processes as {"Titles": [...], "Processes": [[...], ...]}; pids are the host's."""
        self.dialect.require("top")
        doing = f"list the processes of container {uuid!r}"
        reply = self._http.call(
            "GET", container_path(uuid, "top"), doing, query={"ps_args": ps_args}, timeout=SLOW
        )
        return self._object(reply, doing)

    def stats(self, uuid: str) -> Stats | None:
        """One sample of use; None where the site has none yet. Takes a second on docker sites."""
        doing = f"measure container {uuid!r}"
        return parse_stats(self._http.call("GET", container_path(uuid, "stats"), doing, timeout=SLOW))

    def get_archive(self, uuid: str, path: str) -> Archive:
        """A tar of `path`. Beware: a 500 may mean "not there", and CHI@Edge's tar of a file may be empty."""
        doing = f"read {path!r} in container {uuid!r}"
        reply = self._http.call(
            "GET",
            container_path(uuid, "get_archive"),
            doing,
            query={"path": path},
            timeout=ARCHIVE,
            secret=True,
        )
        answer = self._object(reply, doing)
        try:
            data = base64.b64decode(answer.get("data") or "", validate=False)
        except (ValueError, TypeError, binascii.Error):
            raise errors.ServerError(f"Could not {doing}: the site's archive is damaged.") from None
        stat = answer.get("stat")
        return Archive(data=data, stat=dict(stat) if isinstance(stat, Mapping) else {})

    def put_archive(self, uuid: str, path: str, data: bytes) -> None:
        """Unpack a tar in the directory `path`. Beware: CHI@Edge says yes also when nothing was written."""
        doing = f"write to {path!r} in container {uuid!r}"
        body = {"data": base64.b64encode(data).decode("ascii")}
        self._http.call(
            "POST",
            container_path(uuid, "put_archive"),
            doing,
            query={"path": path},
            body=body,
            timeout=ARCHIVE,
            secret=True,
        )

    def commit(self, uuid: str, repository: str, tag: str = "latest") -> str:
        """Make an image of the container; returns the image's id. It becomes usable later."""
        self.dialect.require("commit")
        doing = f"make an image of container {uuid!r}"
        query = {"repository": repository, "tag": tag}
        reply = self._http.call("POST", container_path(uuid, "commit"), doing, query=query, timeout=ARCHIVE)
        return str(self._object(reply, doing).get("uuid") or "")

    # -- what was done, and what there is -------------------------------------------------------

    def actions(self, uuid: str) -> list[Action]:
        """What was done to the container, newest first as Zun lists it, without events."""
        doing = f"list what was done to container {uuid!r}"
        reply = self._object(self._http.call("GET", container_path(uuid, "container_actions"), doing), doing)
        return [Action.model_validate(item) for item in reply.get("containerActions") or []]

    def action(self, uuid: str, request_id: str) -> Action:
        """One action with its events."""
        doing = f"show what was done to container {uuid!r}"
        path = f"{container_path(uuid, 'container_actions')}/{quote(request_id, safe='')}"
        reply = self._object(self._http.call("GET", path, doing), doing)
        inner = reply.get("containerAction")
        return Action.model_validate(inner if isinstance(inner, Mapping) else reply)

    def networks_of(self, uuid: str) -> list[ContainerNetwork]:
        """The networks a container is on."""
        doing = f"list the networks of container {uuid!r}"
        reply = self._object(self._http.call("GET", container_path(uuid, "network_list"), doing), doing)
        return [ContainerNetwork.model_validate(item) for item in reply.get("networks") or []]

    def images(self) -> list[Image]:
        """Images on the site's hosts; for admins only on most sites (errors.Forbidden)."""
        return [Image.model_validate(item) for item in self._pages("/images", "images", {})]

    def availability_zones(self) -> list[str]:
        """Names of the availability zones."""
        doing = "list the availability zones"
        reply = self._object(self._http.call("GET", "/availability_zones", doing), doing)
        zones = reply.get("availability_zones") or []
        return [str(zone.get("availability_zone")) for zone in zones if isinstance(zone, Mapping)]

    def quotas(self) -> dict[str, Any]:
        """The project's limits and use: {"containers": {"limit": 40, "in_use": 2}, ...}; -1 is no limit."""
        doing = "read the quotas"
        project = quote(self.login.project_id or "", safe="")
        reply = self._object(
            self._http.call("GET", f"/quotas/{project}", doing, query={"usages": True}), doing
        )
        return {
            name: value if isinstance(value, Mapping) else {"limit": value, "in_use": None}
            for name, value in reply.items()
        }

    def device_profiles(self) -> dict[str, Any] | None:
        """Device profiles by name with the resources each asks for; None where the site has none to tell."""
        if not self.dialect.supports("device_profiles"):
            return None
        reply = self._http.call(
            "GET", "/drivers/k8s/device_profiles", "list the device profiles", timeout=QUICK
        )
        return dict(reply) if isinstance(reply, Mapping) else None

    # -- inside ---------------------------------------------------------------------------------

    def _do(self, uuid: str, action: str, verb: str | None = None, **query: Any) -> None:
        doing = f"{verb or action} container {uuid!r}"
        self._http.call("POST", container_path(uuid, action), doing, query=query, timeout=SLOW)

    def _patch(self, uuid: str, doing: str, body: dict[str, Any]) -> Container:
        return self._model(
            Container, self._http.call("PATCH", container_path(uuid), doing, body=body, timeout=SLOW), doing
        )

    def _pages(
        self, path: str, key: str, filters: Mapping[str, Any], *, repeated: bool = False
    ) -> Iterator[Mapping[str, Any]]:
        """All items of a paged listing, each once, also when one disappears between two pages."""
        doing = f"list the {key}"
        seen: set[str] = set()
        markers: list[str] = []
        for _ in range(_PAGES):
            query = {**{name: value for name, value in filters.items() if value is not False}, "limit": _PAGE}
            if markers:
                query["marker"] = markers[-1]
            try:
                reply = self._object(
                    self._http.call("GET", path, doing, query=query, repeated=repeated), doing
                )
            except (errors.NotFound, errors.BadRequest):
                if not markers:
                    raise
                markers.pop()  # the marker itself was deleted meanwhile: take up at the one before it
                continue
            items = [item for item in reply.get(key) or [] if isinstance(item, Mapping)]
            fresh = [item for item in items if str(item.get("uuid")) not in seen]
            for item in fresh:
                seen.add(str(item.get("uuid")))
                yield item
            if not reply.get("next") or not fresh:
                return
            markers += [str(item.get("uuid")) for item in fresh]

    def _model(self, model: type[Model], reply: Any, doing: str) -> Model:
        return model.model_validate(self._object(reply, doing))

    def _object(self, reply: Any, doing: str) -> dict[str, Any]:
        if isinstance(reply, dict):
            return reply
        raise unreadable(Answer(200, {}, b"" if reply is None else b"[]"), doing)


_clients: weakref.WeakKeyDictionary[Login, Client] = weakref.WeakKeyDictionary()
_clients_lock = threading.Lock()


def client_for(login: Login) -> Client:
    """The client of a login; the same one each time. Asks the site for its version at the first time.

    Raises:
        errors.SiteError, errors.LoginError: the site cannot be asked.
    """
    with _clients_lock:
        known = _clients.get(login)
    if known is not None:
        return known
    fresh = Client(login)
    with _clients_lock:
        return _clients.setdefault(login, fresh)
