"""Lines that are JSON objects, as structured loggers write them."""

from __future__ import annotations

import json
import math
from typing import Any

from chi_edge_lab.core.logs.ansi import strip_sequences

_LONGEST = 64 * 1024  # characters; a larger object is data, and unfolding it would cost more than it shows
_MESSAGE = ("message", "msg", "event", "log", "text", "@message", "MESSAGE")


def fields_of(text: str) -> dict[str, Any] | None:
    """The line's fields where it is one JSON object, else None. Numbers that JSON cannot say (NaN) become None."""
    text = text.strip()
    if not text.startswith("{"):
        text = strip_sequences(text).strip()
    if not (text.startswith("{") and text.endswith("}")) or len(text) > _LONGEST:
        return None
    try:
        found = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def message_of(fields: dict[str, Any]) -> str:
    """The field that holds the message, "" where there is none."""
    return next((value for name in _MESSAGE if isinstance(value := fields.get(name), str)), "")


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
