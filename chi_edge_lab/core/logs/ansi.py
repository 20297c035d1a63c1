"""Terminal control sequences in log lines: kept for the view, which knows colours; stripped for text."""

from __future__ import annotations

import re

# One sequence, inside of one line: a colour or cursor move (CSI), a title, link or clipboard write (OSC), a device
# string (DCS, SOS, PM, APC), a character set, a single command. Unterminated ones end with the line. 8-bit C1 controls
# introduce the same; in a text they are U+0080 to U+009F.
PATTERN = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"  # OSC
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c\n]*(?:\x1b\\|\x9c)?"  # DCS, SOS, PM, APC
    r"|\x1b[ -/]*[0-~]?"  # the rest: ESC c, ESC ( B, ESC 7, ...
    r"|[\x80-\x9f]"  # single C1 controls
)
_SEQUENCE = re.compile(PATTERN)
_C1 = re.compile(rb"\xc2[\x80-\x9f]")
# backspace and other controls but tab, newline and carriage return, which other parsers understand
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def has_sequences(data: bytes) -> bool:
    """Whether UTF-8 text may hold any: a quick look before the slow work."""
    return b"\x1b" in data or (b"\xc2" in data and _C1.search(data) is not None)


def strip_sequences(text: str) -> str:
    """The text without terminal sequences."""
    return _SEQUENCE.sub("", text)


def plain(text: str) -> str:
    """The text without terminal sequences and control characters (tabs, newlines and carriage returns stay)."""
    return _CONTROLS.sub("", _SEQUENCE.sub("", text))
