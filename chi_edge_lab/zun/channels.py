"""The channel byte that CHI@Edge's websocket proxy leaves in front of each frame.

Kubernetes numbers its streams: 0 stdin, 1 stdout, 2 stderr, 3 status, 4 resize. The fork's proxy adds the
number to what we send and forgets to take it off what it sends us.
"""

from __future__ import annotations

import json
import re

_STATUS = 3
_HIGHEST = 4


class ChannelStripper:
    """Turns frames into bytes. Decides at the first frame whether this proxy leaves the byte there at all."""

    def __init__(self, *, expected: bool) -> None:
        self._strip: bool | None = None if expected else False
        self.status = ""  # what the status channel said, as a sentence; "" so far
        self.exit_code: int | None = None

    def feed(self, frame: bytes) -> bytes:
        """The terminal's bytes of one frame; b"" for an empty, status or unknown one."""
        if not frame:
            return b""
        if self._strip is None:
            # a proxy that has been repaired sends a prompt, which begins with a printable or an escape
            self._strip = frame[0] <= _HIGHEST
        if not self._strip:
            return frame
        channel, data = frame[0], frame[1:]
        if channel in (1, 2):
            return data
        if channel == _STATUS and data:
            self.status, self.exit_code = read_status(data)
        return b""


def read_status(data: bytes) -> tuple[str, int | None]:
    """(sentence, exit code) of a status frame: plain text on the old protocol, a Status object from v4 on."""
    text = " ".join(data.decode("utf-8", "replace").split())
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict):
        if document.get("status") == "Success":
            return "the shell has ended", 0
        text = str(document.get("message") or document.get("reason") or text)
    found = re.search(r"exit code (\d+)", text)
    if found:
        return f"the shell has ended with exit code {found.group(1)}", int(found.group(1))
    if re.search(r"/bin/sh.*(no such file|not found)|(no such file|not found).*/bin/sh", text):
        return "the image has no shell (/bin/sh)", None
    return text[:300], None
