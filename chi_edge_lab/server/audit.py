"""What people did, told to jupyter_events: create, delete, exec, terminal, upload, download."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chi_edge_lab.server.call import Call


class Audit:
    """Emits events; without an event logger it does nothing. Thread-safe."""

    def __init__(self, event_logger: Any) -> None:
        self._logger = event_logger

    def emit(self, event: str, call: Call, data: dict[str, Any]) -> None:
        """Tell that `call`'s user did `event`, with `data` besides the site, project and container."""
