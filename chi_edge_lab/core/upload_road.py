"""How parts of an upload get into its temporary directory in the container: archives, or execs where there
is no way for those.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chi_edge_lab.core import archive, bulk, paths, shell
from chi_edge_lab.core.localtree import Source
from chi_edge_lab.core.progress import Reporter
from chi_edge_lab.errors import (
    BadRequest,
    NotFound,
    OverQuota,
    ServerError,
    SiteError,
    TransferError,
    Unreachable,
)

if TYPE_CHECKING:
    from chi_edge_lab.zun import Client

PART = 4 << 20  # bytes of content in one tar: five times that is held while it travels
EXEC_LIMIT = 2 << 20  # bytes that may go through exec where archives do not work
_EXEC_PIECE = 60_000  # bytes in one exec, before base64
_RETRY_AFTER = (0.5, 1.0)  # seconds, for one part where the site did not answer
_NO_BASE64 = 90

# $1: file, $2: base64 of what is appended to it
_APPEND_PIECE = f"""command -v base64 >/dev/null||exit {_NO_BASE64}
printf %s "$2"|base64 -d >>"$1" 2>&1"""


@dataclass
class Road:
    """What was found out about the container's side of an upload, and the parts on their way there.

    `temporary` is the private directory (its real path), `place` the same as archive calls are told it. `tar`
    is "gnu" or "busybox" for the container's own ("" where it has none), which counts only where the site
    uses it.
    """

    client: Client
    uuid: str
    source: Source
    reporter: Reporter
    folder: bytes  # the real path of the destination's folder
    token: str
    uid: int
    gid: int
    tar: str
    has_sums: bool
    place: str = ""
    link: bytes = b""  # a link that stands for `temporary`, where its path is not plain
    sums: dict[bytes, str] = field(default_factory=dict)
    by_exec: bool = False
    _sent: int = 0
    _proven: bool = False
    _batch: list[archive.Member] = field(default_factory=list)
    _batch_size: int = 0

    @property
    def target(self) -> bytes:
        """Where the upload ends up."""
        return paths.join(self.folder, self.source.name)

    @property
    def temporary(self) -> bytes:
        """The private directory."""
        return paths.join(self.folder, self.token.encode())

    def add(self, member: archive.Member) -> None:
        """Send `member` with the next part; its path is relative to the temporary directory."""
        if self._batch and self._batch_size + len(member.data) > PART:
            self.flush()
        self._batch.append(member)
        self._batch_size += len(member.data) + 512

    def flush(self) -> None:
        """Send what was added. Raises TransferError when the site does not take it, or takes it and writes
        nothing.
        """
        if not self._batch:
            return
        self.reporter.check("")
        members, self._batch, self._batch_size = self._batch, [], 0
        if self.by_exec:
            self._put_by_exec(members)
        else:
            self._put(members)
        self._sent += sum(len(member.data) for member in members if not member.path.startswith(b"x/"))
        done = min(self._sent, self.source.size)
        self.reporter.report("sending", "sending", done=done, total=self.source.size)

    def _put(self, members: list[archive.Member]) -> None:
        proof = [] if self._proven else [archive.Member(b"first", "file", 0o600)]
        endless = self.client.dialect.archive_runs_tar and self.tar == "busybox"
        data = archive.build(members + proof, uid=self.uid, gid=self.gid, endless=endless)
        try:
            self._put_archive(data)
        except (ServerError, BadRequest, NotFound) as error:
            # Docker refuses archives for some mounts, and Zun answers 500
            if self._proven or self.source.size > EXEC_LIMIT:
                raise _refused(error) from error
            self._go_by_exec(members)
        except (Unreachable, OverQuota) as error:
            raise _refused(error) from error
        else:
            if proof:
                self._prove(members)

    def _put_archive(self, data: bytes) -> None:
        """One part, several times where the site did not answer: it has the same names again, so that does
        no harm.
        """
        for pause in _RETRY_AFTER:
            try:
                self.client.put_archive(self.uuid, self.place, data)
            except (Unreachable, ServerError):  # noqa: PERF203 - a retry is a loop around a try
                if not self._proven and self.source.size <= EXEC_LIMIT:
                    raise
                self.reporter.sleep(pause, "")
            else:
                return
        self.client.put_archive(self.uuid, self.place, data)

    def _prove(self, members: list[archive.Member]) -> None:
        """See that the first part is there: CHI@Edge says yes whatever `tar` said."""
        reply = shell.run(self.client, self.uuid, '[ -f "$1/first" ]', self.temporary)
        if reply.code == 0:
            self._proven = True
            return
        if self.source.size > EXEC_LIMIT:
            raise TransferError(
                "The site says that it wrote the upload, and there is nothing of it in the container.",
                hint="The disk of the container may be full, its tar may not work, or the folder may be a mount "
                "that the site's archives do not reach (upload to another folder then, and move it).",
            )
        self._go_by_exec(members)

    def _go_by_exec(self, members: list[archive.Member]) -> None:
        self._proven = self.by_exec = True
        self._put_by_exec(members)

    def _put_by_exec(self, members: list[archive.Member]) -> None:
        """The same without archives: each folder and piece of a file is an exec."""
        for member in members:
            place, mode = paths.join(self.temporary, member.path), f"{member.mode:o}"
            if member.kind == "directory":
                self._run('mkdir -p -- "$1" 2>&1&&chmod $2 "$1" 2>&1', place, mode)
            else:
                self._run('{ mkdir -p -- "${1%/*}"&&: >"$1"&&chmod $2 "$1";} 2>&1', place, mode)
            for start in range(0, len(member.data), _EXEC_PIECE):
                self.reporter.check("")
                piece = base64.b64encode(member.data[start : start + _EXEC_PIECE]).decode()
                self._run(_APPEND_PIECE, place, piece)

    def _run(self, script: str, *arguments: str | bytes) -> None:
        reply = bulk.run(self.client, self.uuid, script, *arguments)
        if reply.code == _NO_BASE64:
            raise TransferError("The image has neither tar nor base64, so nothing can be uploaded into it.")
        if reply.code != 0:
            said = reply.text or f"exit code {reply.code}"
            raise TransferError(
                f"The upload could not be written in the container: {said}; nothing was changed."
            )


def _refused(error: SiteError) -> TransferError:
    return TransferError(
        f"The site did not take a part of the upload: {error.message}",
        hint="The destination is as it was. It may lie on a mount that the site's archives do not reach.",
        request_id=error.request_id,
    )
