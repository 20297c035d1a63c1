"""What our websockets share: the services, and a bound on a client's messages.

Jupyter's mixin checks the Origin and pings; who may, each socket asks before it upgrades.
"""

from __future__ import annotations

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import websocket

from chi_edge_lab.server.handler import RESOURCE
from chi_edge_lab.server.services import Services


class EdgeSocket(WebSocketMixin, websocket.WebSocketHandler, JupyterHandler):
    """Base of our websockets."""

    auth_resource = RESOURCE
    largest_message: int  # bytes of a client's message; a larger one closes the socket

    @property
    def services(self) -> Services:
        """What serves the socket."""
        found: Services = self.settings["chi_edge_lab_services"]
        return found

    @property
    def max_message_size(self) -> int:
        """Tornado's name of it."""
        return self.largest_message
