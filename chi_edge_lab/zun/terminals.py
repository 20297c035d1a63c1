"""Opening terminals: ask Zun for the secret address, connect to it at once."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from chi_edge_lab import errors
from chi_edge_lab.zun.dial import address_of, connect
from chi_edge_lab.zun.paths import container_path, placed
from chi_edge_lab.zun.socket import Dropped, Socket
from chi_edge_lab.zun.transport import SLOW, Transport

K8S_BYTES_PER_SECOND = 256 * 1024  # slow enough for the proxy to pass each on to an edge device

# a container's attach token is replaced by the next attach: asking and connecting is one step
_turns: weakref.WeakValueDictionary[tuple[str, str], _Turn] = weakref.WeakValueDictionary()
_turns_lock = threading.Lock()


class _Turn:
    """A lock that lives as long as somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Terminals:
    """The terminals of one site's containers. Thread-safe."""

    def __init__(self, http: Transport) -> None:
        self._http = http

    def attach(self, uuid: str, *, k8s: bool) -> Socket:
        """Attach to a container, once more where the proxy lets go of us at once."""

        def dial() -> Socket:
            return connect(
                self._attach_url(uuid),
                self._http.login.session,
                channels=k8s,
                resizer=None if k8s else self._resizer(uuid, "resize"),
                ends_with_exit=k8s,
                bytes_per_second=K8S_BYTES_PER_SECOND if k8s else None,
                label=f"container {uuid!r}",
            )

        with self._turn(uuid):
            try:
                return dial()
            except Dropped:
                # another process may have asked in between and so replaced our token
                return dial()

    def address(self, uuid: str) -> str:
        """scheme://host:port of the terminal proxy."""
        with self._turn(uuid):
            return address_of(self._attach_url(uuid), f"container {uuid!r}")

    def execute(self, uuid: str, command: str) -> Socket:
        """Run a command with a terminal of its own (docker sites)."""
        doing = f"open a terminal in container {uuid!r}"
        query: dict[str, Any] = {"command": command, "run": False, "interactive": True}
        path = container_path(uuid, "execute")
        reply = self._http.call("POST", path, doing, timeout=SLOW, secret=True, **placed(query))
        if not isinstance(reply, Mapping) or not isinstance(reply.get("proxy_url"), str):
            raise errors.ServerError(f"Could not {doing}: the site named no address for it.")
        return connect(
            reply["proxy_url"],
            self._http.login.session,
            channels=False,
            resizer=self._resizer(uuid, "execute_resize", exec_id=reply.get("exec_id")),
            ends_with_exit=True,
            bytes_per_second=None,
            label=f"container {uuid!r}",
        )

    def _attach_url(self, uuid: str) -> str:
        doing = f"open a terminal in container {uuid!r}"
        url = self._http.call("GET", container_path(uuid, "attach"), doing, timeout=SLOW, secret=True)
        return url if isinstance(url, str) else ""

    def _resizer(self, uuid: str, action: str, **query: Any) -> Callable[[int, int], None]:
        def resize(rows: int, cols: int) -> None:
            doing = f"resize the terminal of container {uuid!r}"
            size = {**query, "w": cols, "h": rows}
            self._http.call("POST", container_path(uuid, action), doing, query=size, timeout=SLOW)

        return resize

    def _turn(self, uuid: str) -> _Turn:
        with _turns_lock:
            return _turns.setdefault((self._http.endpoint_override, uuid), _Turn())
