"""How serious a line is, guessed from its text."""

from __future__ import annotations

import re
from typing import Any

from chi_edge_lab.core.logs.ansi import strip_sequences
from chi_edge_lab.core.logs.fields import fields_of

LEVELS = ("trace", "debug", "info", "warning", "error", "critical")
_WORDS = {
    "trace": "trace", "trc": "trace", "finest": "trace", "finer": "trace",
    "debug": "debug", "dbg": "debug", "fine": "debug", "verbose": "debug",
    "info": "info", "inf": "info", "information": "info", "notice": "info",
    "warning": "warning", "warn": "warning", "wrn": "warning",
    "error": "error", "err": "error", "severe": "error",
    "critical": "critical", "crit": "critical", "fatal": "critical", "ftl": "critical", "panic": "critical",
    "emergency": "critical", "emerg": "critical", "alert": "critical",
}  # fmt: skip
_LETTERS = {"T": "trace", "D": "debug", "I": "info", "W": "warning", "E": "error", "F": "critical"}
# pino and bunyan; syslog's 0 to 7 mean the opposite order, so small numbers are not guessed
_NUMBERS = {10: "trace", 20: "debug", 30: "info", 40: "warning", 50: "error", 60: "critical"}
_FIELDS = ("level", "severity", "lvl", "levelname", "log.level", "loglevel", "@level")
_HEAD = 160  # characters at the beginning in which a level is looked for: further on it is talk

_NAMES = "|".join(sorted(_WORDS, key=len, reverse=True))
_KEY = re.compile(rf"\b(?:level|lvl|severity|levelname)[=:]\s*\"?({_NAMES})\b", re.IGNORECASE)
# upper case stands out as a level ("ERROR"), other spellings only where something marks them ("[error]", "error:")
_UPPER = re.compile(rf"(?<![\w./-])({_NAMES.upper()})(?![\w./-])")
_MARKED = re.compile(rf"[\[(<|]\s*({_NAMES})\s*[\])>|]|^\W*({_NAMES})\s?:", re.IGNORECASE)
_KLOG = re.compile(r"([DIWEF])\d{4} \d\d:\d\d:\d\d")  # Kubernetes' own
_EXCEPTION = re.compile(
    r"Traceback \(most recent call last\)|(?:[\w$]+\.)*[A-Z]\w*(?:Error|Exception)\b(?::|$)"
    r"|Exception in thread|Caused by: "
)
_PANIC = re.compile(r"panic: |fatal error: |Segmentation fault|Killed$")


def level_of(text: str) -> str | None:
    """One of LEVELS, or None where nothing shows it."""
    if text[:1] == "{":
        fields = fields_of(text)
        if fields is not None:
            return _of_fields(fields)
    head = text[:_HEAD]
    if "\x1b" in head or "\x9b" in head:
        head = strip_sequences(head)
    for pattern in (_KEY, _UPPER, _MARKED):
        found = pattern.search(head)
        if found:
            return _WORDS[(found[1] or found[found.lastindex or 1]).lower()]
    klog = _KLOG.match(head)
    if klog:
        return _LETTERS[klog[1]]
    if _EXCEPTION.match(head):
        return "error"
    return "critical" if _PANIC.match(head) else None


def _of_fields(fields: dict[str, Any]) -> str | None:
    for name in _FIELDS:
        value = fields.get(name)
        if isinstance(value, str):
            return _WORDS.get(value.strip().lower())
        if isinstance(value, int):
            return _NUMBERS.get(value)
    return None
