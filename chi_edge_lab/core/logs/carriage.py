"""Progress bars: lines in which a lone carriage return goes back to the beginning."""

from __future__ import annotations

import re

_LONGEST = 4096  # columns: beyond them nothing is drawn over, and the last part is the line
_ERASE = re.compile(r"\x1b\[[012]?K")


def fold_carriage_returns(text: str) -> str:
    """The line as a terminal would show it in the end: what comes after a carriage return is written over what was
    there, and what is longer stays ("100%\\r7%" is "7%0%").

    Sequences count as characters; parts with `ESC [ K` (erase the line, as tqdm and pip write) replace it whole.
    """
    text = text.rstrip("\r")
    if "\r" not in text:
        return text
    shown = ""
    for part in text.split("\r"):
        if not part:
            continue
        if _ERASE.search(part) or len(part) >= len(shown) or len(shown) > _LONGEST:
            shown = part
        else:
            shown = part + shown[len(part) :]
    return shown
