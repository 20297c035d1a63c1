"""The event socket: one for each browser tab, for everything that moves."""

from __future__ import annotations

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.base.websocket import WebSocketMixin
from tornado import websocket

from chi_edge_lab.server.handler import RESOURCE
from chi_edge_lab.server.operations import route


class EventSocket(WebSocketMixin, websocket.WebSocketHandler, JupyterHandler):
    """Subscriptions in, messages out."""

    auth_resource = RESOURCE


route("/events", EventSocket)
