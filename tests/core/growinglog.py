"""A log that grows as a test says, answered as each driver would: what the merge is tested against."""

from __future__ import annotations

from collections import deque
from types import SimpleNamespace
from typing import Any

from chi_edge_lab.core.logs.lines import format_ns
from chi_edge_lab.errors import EdgeLabError, InvalidState, ServerError, Unreachable
from chi_edge_lab.zun.dialect import dialect_named

RECORD = 16 * 1024
FAULTS: dict[str, EdgeLabError] = {
    "unreachable": Unreachable("cut in the middle"),
    "server": ServerError("502 Bad Gateway", http_status=502),
    "state": InvalidState("between two states", http_status=409),
}


class GrowingLog:
    """Stands for a client. `expected` is every line that a follower must have given in the end."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect_named(dialect)
        self.records: list[tuple[int, str, str]] = []  # time, text with its newline, stream
        self.before: list[str] = []  # lines of earlier incarnations that could be seen
        self.faults: deque[str] = deque()
        self.clock = 1_790_000_000_000_000_000
        self.status = "Running"
        self.requests: list[int] = []  # tails
        self.largest = 0  # characters of one answer
        self._open = ""  # a line without newline yet
        self._seen = 0  # records as of the last answer

    # -- what happens in the container -----------------------------------------------------------

    def write(self, text: str, *, step: int = 1_000_000, stream: str = "stdout") -> None:
        """The program prints; the clock goes on by `step` nanoseconds a record (0: not at all; it may go back)."""
        self._open += text
        while True:
            newline = self._open.find("\n")
            cut = newline + 1 if 0 <= newline < RECORD else RECORD if len(self._open) > RECORD else 0
            if not cut:
                return
            self.clock += step
            self.records.append((self.clock, self._open[:cut], stream))
            self._open = self._open[cut:]

    def end(self) -> None:
        """The program ends; what it has printed without newline is logged so."""
        if self._open:
            self.clock += 1_000_000
            self.records.append((self.clock, self._open, "stdout"))
            self._open = ""

    def restart(self) -> None:
        """The container ends and starts again: docker keeps its log, a pod begins a new one."""
        self.end()
        if self.dialect.name == "k8s":
            self.before += texts(self.records[: self._seen])
            self.records, self._seen = [], 0
        self.clock += 1_000_000_000

    # -- what is asked -----------------------------------------------------------------------------

    def get_container(self, uuid: str) -> Any:
        return SimpleNamespace(status=self.status)

    def logs(
        self, uuid: str, *, tail: int, timestamps: bool = True, since: str | None = None, **query: Any
    ) -> str:
        assert timestamps
        if query.get("stdout", True):
            self.requests.append(tail)
            if self.faults:
                fault = self.faults.popleft()
                if fault in FAULTS:
                    raise FAULTS[fault]
                return ""  # there is no pod at the moment
        shown = [one for one in self.records if query.get("stdout", True) or one[2] == "stderr"][-tail:]
        if since is not None:
            shown = [one for one in shown if one[0] >= int(since) * 1_000_000_000]
        if query.get("stdout", True):
            self._seen = len(self.records)
        answer = "".join(f"{format_ns(time)} {text}" for time, text, _ in shown)
        self.largest = max(self.largest, len(answer))
        return answer

    @property
    def expected(self) -> list[str]:
        return [*self.before, *texts(self.records)]


def texts(records: list[tuple[int, str, str]]) -> list[str]:
    """The lines that the program printed."""
    lines: list[str] = []
    begun = ""
    for _, text, _ in records:
        if text.endswith("\n"):
            lines.append(begun + text[:-1])
            begun = ""
        elif len(text) == RECORD:
            begun += text
        else:
            lines.append(begun + text)
            begun = ""
    return [*lines, begun] if begun else lines
