"""What people did, told to jupyter_events: create, delete, exec, terminal, upload, download.

The schemas in `events/` say what is told of each; nothing else leaves, whatever a caller passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from chi_edge_lab.sites.redact import redact

if TYPE_CHECKING:
    from chi_edge_lab.server.call import Call

log = logging.getLogger(__name__)

Event = Literal["container-create", "container-delete", "exec", "terminal-open", "upload", "download"]
SCHEMAS = Path(__file__).parent / "events"
_TEXT = 4096  # characters of one value that are told; a command may be as large as a request's body
_WORDS = 1000  # of a command; the line of them is shortened again
_HIDDEN = "[hidden]"


def schema_id(event: str) -> str:
    """The id under which an event's schema is registered."""
    return f"urn:chi-edge-lab:event:{event}:v1"


class Audit:
    """Emits events; without an event logger it does nothing. Thread-safe; what it audits never fails because of it."""

    def __init__(self, event_logger: Any) -> None:
        self._logger = event_logger
        self._loop: asyncio.AbstractEventLoop | None = None  # where jupyter_events runs its listeners
        self._lock = threading.Lock()
        self._complained: set[str] = set()
        self._properties: dict[str, frozenset[str]] = {}
        for path in sorted(SCHEMAS.glob("*.yaml")):
            schema = yaml.safe_load(path.read_text(encoding="utf-8"))
            self._properties[path.stem] = frozenset(schema["properties"])
            if event_logger is not None and schema["$id"] not in event_logger.schemas:
                event_logger.register_event_schema(schema)

        with contextlib.suppress(
            RuntimeError
        ):  # made before the loop runs, as a server of its own process does
            self.start()

    def start(self) -> None:
        """On the loop: from now on events are told there."""
        self._loop = asyncio.get_running_loop()

    def emit(self, event: Event | str, call: Call, data: Mapping[str, Any]) -> None:
        """Tell that `call`'s user did `event`, with `data` besides the user, site, project and container."""
        if self._logger is None:
            return
        try:
            known = self._properties[event]
            told = {name: _plain(name, value) for name, value in _facts(call, data).items() if name in known}
            if self._loop is None or self._on_loop():
                self._tell(event, told)
            else:
                self._loop.call_soon_threadsafe(self._tell, event, told)
        except Exception as problem:  # noqa: BLE001 - the person's work must not fail because it cannot be told
            self._complain(event, problem)

    def _on_loop(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def _tell(self, event: str, told: dict[str, Any]) -> None:
        try:
            self._logger.emit(schema_id=schema_id(event), data=told)
        except Exception as problem:  # noqa: BLE001 - a listener or handler of somebody else's
            self._complain(event, problem)

    def _complain(self, event: str, problem: Exception) -> None:
        with self._lock:
            if event in self._complained:
                return
            self._complained.add(event)
        log.warning(
            "The event %s could not be told (%s: %s); this is said once.",
            event, type(problem).__name__, redact(str(problem).partition("\n")[0]),
        )  # fmt: skip


def _facts(call: Call, data: Mapping[str, Any]) -> dict[str, Any]:
    sites = call.services.sites
    state = sites.state(call.site, call.project)  # says which site "default" is
    facts = {
        "user": call.user,
        "site": state.site if state is not None else call.site,
        "project": call.project,
        "uuid": call.uuid,
        **data,
    }
    return {"name": sites.name_of(facts["uuid"]), **facts}


def _plain(name: str, value: Any) -> Any:
    """A value as it may be written down: short, without secrets, and text that any encoding takes."""
    if name == "command":
        value = _without_secrets(value)
    return redact(_encodable(value[:_TEXT])) if isinstance(value, str) else value


def _without_secrets(command: str | Sequence[str] | None) -> str:
    """A command as one line, without the value of such an option as --password."""
    words = list(command or ())[:_WORDS] if not isinstance(command, str) else [command]
    if isinstance(command, str):
        with contextlib.suppress(ValueError):  # a quote that does not end
            words = shlex.split(command[: 2 * _TEXT])
    return shlex.join(
        _HIDDEN if _asks_for_a_secret(before) else one
        for before, one in zip(["", *words], words, strict=False)
    )


def _encodable(text: str) -> str:
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate that stands for no byte
        return text.encode("ascii", "backslashreplace").decode("ascii")


def _asks_for_a_secret(word: str) -> bool:
    """Whether a word is an option such as --password, whose value is the next word."""
    return word.startswith("-") and redact(f"{word}=x") != f"{word}=x"
