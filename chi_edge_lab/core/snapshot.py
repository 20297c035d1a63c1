"""A container's file system as a new image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chi_edge_lab.errors import BadInput

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+|/)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


def snapshot(client: Client, uuid: str, repository: str, tag: str = "latest") -> str:
    """Commit the container to the image `repository:tag` and return the image's uuid (it becomes usable a
    little later).

    Raises NotSupported before any request on a site whose driver cannot (CHI@Edge), BadInput for names no
    image can have.
    """
    client.dialect.require("commit")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > 200:
        raise BadInput(
            f"{repository!r} cannot be the name of an image.",
            hint="Use lower-case letters and digits, with '.', '_', '-' or '/' between them.",
        )
    if not _TAG.fullmatch(tag):
        raise BadInput(
            f"{tag!r} cannot be the tag of an image.", hint="Use letters, digits, '_', '.' and '-'."
        )
    return client.commit(uuid, repository, tag=tag)
