"""The one place that speaks Zun (HTTP and websocket) and knows its dialects."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# loaded when first used: zunclient and keystoneauth take a third of a second
_HOMES = {
    "Action": "models",
    "ActionEvent": "models",
    "Address": "models",
    "Archive": "models",
    "Client": "client",
    "Container": "models",
    "CreateRequest": "create",
    "Dialect": "dialect",
    "ExecReply": "models",
    "FloatingIP": "models",
    "Image": "models",
    "Lease": "models",
    "Network": "network",
    "Reservation": "models",
    "Reservations": "reservations",
    "Socket": "socket",
    "Stats": "stats",
    "client_for": "client",
    "create_request": "create",
}

if TYPE_CHECKING:
    from chi_edge_lab.zun.client import Client as Client
    from chi_edge_lab.zun.client import client_for as client_for
    from chi_edge_lab.zun.create import CreateRequest as CreateRequest
    from chi_edge_lab.zun.create import create_request as create_request
    from chi_edge_lab.zun.dialect import Dialect as Dialect
    from chi_edge_lab.zun.models import Action as Action
    from chi_edge_lab.zun.models import ActionEvent as ActionEvent
    from chi_edge_lab.zun.models import Address as Address
    from chi_edge_lab.zun.models import Archive as Archive
    from chi_edge_lab.zun.models import Container as Container
    from chi_edge_lab.zun.models import ExecReply as ExecReply
    from chi_edge_lab.zun.models import FloatingIP as FloatingIP
    from chi_edge_lab.zun.models import Image as Image
    from chi_edge_lab.zun.models import Lease as Lease
    from chi_edge_lab.zun.models import Reservation as Reservation
    from chi_edge_lab.zun.network import Network as Network
    from chi_edge_lab.zun.reservations import Reservations as Reservations
    from chi_edge_lab.zun.socket import Socket as Socket
    from chi_edge_lab.zun.stats import Stats as Stats


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
