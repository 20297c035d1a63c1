"""Transfers: begin, list, look at, resume, cancel. Their bytes are in `transfers.streams`."""

from __future__ import annotations

from chi_edge_lab.server.call import Call
from chi_edge_lab.server.operations import CONTAINER, operation
from chi_edge_lab.server.transfers.models import TransferBody, TransferDetail, TransferList, TransferStatus


@operation("POST", CONTAINER + "/transfers", "write", status=201)
async def create_transfer(call: Call, body: TransferBody) -> TransferDetail:
    """Begin an upload, whose bytes are sent then, or a download, whose bytes are fetched when it is ready."""
    return (await call.services.transfers.create(call, body)).detail()


@operation("GET", "/transfers", "read")
async def list_transfers(call: Call) -> TransferList:
    """All transfers of this server."""
    return TransferList(transfers=[one.status() for one in call.services.transfers.all()])


@operation("GET", "/transfers/{id}", "read")
async def get_transfer(call: Call, id: str) -> TransferDetail:
    """One transfer, with the bytes received of each file."""
    return call.services.transfers.get(id).detail()


@operation("POST", "/transfers/{id}/resume", "write")
async def resume_transfer(call: Call, id: str) -> TransferStatus:
    """Try a failed transfer again; of an upload all bytes must be here."""
    return (await call.services.transfers.resume(id)).status()


@operation("DELETE", "/transfers/{id}", "write")
async def delete_transfer(call: Call, id: str) -> None:
    """Cancel a transfer at any moment, and forget it; nothing of it stays on either side."""
    await call.services.transfers.forget(id)
