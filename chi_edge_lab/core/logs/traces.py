"""Lines that belong to the one before them: stack traces of Python, Java, Go and Node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LONGEST = 1000  # lines of one group: a trace without end must not be held for ever

_CONTINUES = re.compile(
    r"[ \t]+\S"  # anything indented: frames of all four, code of Python's
    r"|Caused by: |Suppressed: |\.\.\. \d+ (?:more|common frames)"  # Java
    r"|(?:During handling of the above exception|The above exception was the direct cause)"  # Python, chained
    r"|goroutine \d+ \[|created by |\[signal |exit status \d"  # Go
)
_PYTHON = "Traceback (most recent call last):"
# the last line of a Python trace is not indented, and the lines of Go's have its functions at the margin
_PYTHON_END = re.compile(
    r"(?:[A-Za-z_][\w.]*\.)?[A-Za-z_]\w*(?:Error|Exception|Interrupt|Exit|Warning|Iteration|Group)\b|[\w.]+: "
)
_GO_START = re.compile(r"panic: |fatal error: |goroutine \d+ \[")
_GO_FRAME = re.compile(r"[\w./*()\-]+\([^)]*\)$|main\.|runtime\.|created by ")


class Grouper:
    """Says of each line whether it belongs to the group of the one before it. Keeps a little state."""

    def __init__(self) -> None:
        self._python = False  # inside of a Python trace, before its last line
        self._go = False
        self._size = 0
        self._blank = False

    def continues(self, text: str) -> bool:
        """Whether this line belongs to the one before it; False: it begins a new group."""
        found = self._continues(text) and 0 < self._size < _LONGEST
        self._size = self._size + 1 if found else 1
        return found

    def _continues(self, text: str) -> bool:
        blank, self._blank = self._blank, not text.strip()
        if text.startswith(_PYTHON):
            chained = self._python or blank
            self._python, self._go = True, False
            return chained and self._size > 1
        if self._blank:
            return self._python or self._go
        if _CONTINUES.match(text):
            self._go = self._go or text.startswith("goroutine ")
            self._python = self._python or "above exception" in text[:60]
            return True
        if self._python:
            self._python = False
            return _PYTHON_END.match(text) is not None
        if self._go and _GO_FRAME.match(text):
            return True
        self._go = _GO_START.match(text) is not None
        return False


def group(texts: Iterable[str]) -> Iterator[list[str]]:
    """The lines in groups: each a line with what belongs to it."""
    grouper, current = Grouper(), []  # type: tuple[Grouper, list[str]]
    for text in texts:
        if current and not grouper.continues(text):
            yield current
            current = []
        elif not current:
            grouper.continues(text)
        current.append(text)
    if current:
        yield current
