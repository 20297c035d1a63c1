"""The document that describes all operations."""

from __future__ import annotations

import json

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.openapi import openapi
from chi_edge_lab.server.operations import OPERATIONS, Payload, operation


@operation("GET", "/openapi.json", "read", reply_type="application/json")
async def get_openapi(call: Call) -> Payload:
    """The OpenAPI document of this server."""
    operations = sorted(OPERATIONS, key=lambda one: (one.path, one.method))
    return Payload(json.dumps(openapi(operations)).encode(), "application/json")
