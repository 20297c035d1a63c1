"""Telling the site that containers have ended: at once, or when there is somebody to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..base import NotRunning
from . import client
from .home import Home
from .watcher import Watcher

_SETTLE = 10.0  # seconds: a shim's connection closes a moment before it is gone


class Ends:
    """Each end of a run is told once, also over restarts of the site: the directory has a note of it."""

    def __init__(self, find: Callable[[str], Home]) -> None:
        self._find = find
        self._callback: Callable[[str], None] | None = None
        self._watcher = Watcher(self._report)

    @property
    def callback(self) -> Callable[[str], None] | None:
        return self._callback

    def tell(self, callback: Callable[[str], None] | None, homes: Iterable[Home]) -> None:
        """Use this from now on, and first for those of `homes` that ended while there was none."""
        self._callback = callback
        if callback is not None:
            for home in homes:
                if _unreported(home) is not None:
                    self._watcher.post(home.id)

    def watch(self, home: Home) -> None:
        """Tell when this running container ends."""
        try:
            connection = client.connect(home)
        except NotRunning:
            self._watcher.post(home.id)
            return
        try:
            client.send(connection, {"op": "watch"})
        except NotRunning:
            connection.close()
            self._watcher.post(home.id)
            return
        self._watcher.add(home.id, connection)

    def _report(self, identifier: str) -> None:
        home, callback = self._find(identifier), self._callback
        try:
            home.wait_for_end(_SETTLE)
            run = _unreported(home)
            if run is None or callback is None:
                return
            (home.path / "reported").write_text(run, encoding="ascii")
        except FileNotFoundError:
            return  # removed just now, by someone who knows
        callback(identifier)

    def close(self) -> None:
        self._watcher.close()


def _unreported(home: Home) -> str | None:
    """The latest run, if it has ended and nobody was told."""
    run = home.run()
    if run is None or home.ended(run) is None:
        return None
    try:
        reported = (home.path / "reported").read_text(encoding="ascii")
    except FileNotFoundError:
        reported = ""
    return None if reported == run["run"] else str(run["run"])
