"""Uploads and downloads of files and folders: whole or not at all, checked by sha256 on both sides, in
bounded memory.

Zun answers 200 to uploads that wrote nothing, gives an empty tar for a file that exists, and takes no archive
over about 95 MiB. So everything travels in small parts through a temporary directory beside the destination,
is checked there, and only then renamed.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from chi_edge_lab.core import downloading, localtree, paths, uploading
from chi_edge_lab.core.progress import Cancel, OnProgress, Reporter
from chi_edge_lab.core.result import TransferResult
from chi_edge_lab.core.uploading import discard, new_token

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

__all__ = ["TransferResult", "discard", "download", "new_token", "upload", "upload_bytes"]


def upload(
    client: Client,
    uuid: str,
    source: str | os.PathLike[str],
    dest: str,
    *,
    token: str | None = None,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> TransferResult:
    """Upload a local file or folder into the existing directory `dest`, under its own name.

    A file that is there is replaced, a folder is merged into one that is there. Permissions are kept (never
    setuid), the owner is the container's user. Links in a folder are kept where they lead to a place in it,
    else the upload is refused with their names. Raises BadInput, TransferError (with a sentence; the
    destination is as it was), NoShell, Cancelled and the client's errors. Ctrl-C leaves the destination as it
    was. `token` (from `new_token`) names the temporary directory, for a caller who wants to `discard` it should this
    process be killed.
    """
    began = time.monotonic()
    reporter = Reporter(on_progress, cancel)
    reporter.report("checking", "looking at the source")
    tree = localtree.scan(source)
    return uploading.upload(client, uuid, tree, dest, reporter, began, token)


def upload_bytes(
    client: Client,
    uuid: str,
    data: bytes,
    dest: str,
    name: str,
    *,
    mode: int = 0o644,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> TransferResult:
    """Write `data` as the file `name` in the existing directory `dest`; the rest as `upload`."""
    raw = paths.checked_name(name)
    item = localtree.Item(raw, "file", mode & 0o777, int(time.time()), size=len(data), data=data)
    tree = localtree.Source(raw, False, [item])
    return uploading.upload(client, uuid, tree, dest, Reporter(on_progress, cancel), time.monotonic())


def download(
    client: Client,
    uuid: str,
    source: str,
    dest: str | os.PathLike[str],
    *,
    content_only: bool = False,
    on_progress: OnProgress | None = None,
    cancel: Cancel | None = None,
) -> TransferResult:
    """Download a file or folder into the local directory `dest`, which is made where it is missing.

    A file becomes `dest/<name>` and replaces one that is there; a folder becomes `dest/<name>`, or with
    `content_only` what is in it goes straight into `dest`; both merge. Nothing is written outside `dest`,
    whatever the container sends. Links in a folder are kept where they lead to a place in it, else the
    download is refused with their names. Raises as `upload`.
    """
    return downloading.download(
        client, uuid, source, dest, Reporter(on_progress, cancel), time.monotonic(), content_only=content_only
    )
