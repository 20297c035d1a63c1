"""Regular expressions of people, which may never end: tried in a process that can be killed.

`re` cannot be stopped and holds Python's lock while it matches, so that one pattern in a thread would stop the whole
server. The `regex` package has a time limit, but is one more compiled dependency with other rules in some corners. A
process with nothing in it but `re` starts in some hundredths of a second and reads the ring's own files.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from array import array
from pathlib import Path

from chi_edge_lab.core.logs.ansi import PATTERN
from chi_edge_lab.core.logs.segment import Segment
from chi_edge_lab.errors import BadInput

REGEX_SECONDS = 3.0  # for one search
_AT_ONCE = threading.BoundedSemaphore(2)  # each may use a whole core
_SCRIPT = Path(__file__).with_name("matching.py")


def search_pattern(
    segments: list[Segment], pattern: str, *, case: bool, seconds: float
) -> dict[int, list[int]]:
    """Matching lines by segment (its first number); segments for which there was no time are missing.

    Raises:
        errors.BadInput: it is no regular expression, or one too large to be compiled.
    """
    task = {
        "pattern": pattern,
        "case": case,
        "ansi": PATTERN,
        "seconds": seconds,
        "files": [[str(segment.text_path), segment.text_size, segment.has_sequences] for segment in segments],
    }
    # -I -S: no site-packages and nobody's PYTHONPATH
    command = [sys.executable, "-I", "-S", str(_SCRIPT)]
    with _AT_ONCE:
        try:
            done = subprocess.run(
                command, input=json.dumps(task).encode(), capture_output=True, timeout=seconds, check=False
            )
            answer, said = done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            answer, said = late.output or b"", b""
    if answer[:1] == b"!":
        problem = answer[1:].decode("utf-8", "replace")
        raise BadInput(f"This is not a regular expression: {problem}.", hint="Search for it as plain text?")
    if not answer and said:
        raise BadInput("This regular expression needs more memory than a search may have.")
    return _parse(answer[1:], segments)


def _parse(answer: bytes, segments: list[Segment]) -> dict[int, list[int]]:
    """For each segment: how many lines, and their numbers, four bytes each."""
    found: dict[int, list[int]] = {}
    at = 0
    for segment in segments:
        count = int.from_bytes(answer[at : at + 4], sys.byteorder)
        end = at + 4 + 4 * count
        if len(answer) < at + 4 or len(answer) < end:
            break
        lines = array("I")
        lines.frombytes(answer[at + 4 : end])
        found[segment.first] = lines.tolist()
        at = end
    return found
