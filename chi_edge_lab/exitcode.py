"""The exit code of a command, fit for notebooks written for any python-chi."""

from __future__ import annotations


class ExitCode(str):
    """The exit code of a command as python-chi gives it, a str ("0", "None" when the command still runs),
    that also equals its number.

    So `code == "0"`, `code == 0` and `int(code)` all work, whichever a notebook was written for.
    """

    __slots__ = ()

    @property
    def number(self) -> int | None:
        """The exit code, None when the command still runs."""
        return int(self) if self.lstrip("-").isdigit() else None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, int) and not isinstance(other, bool):
            return self.number == other
        return str.__eq__(self, other) if isinstance(other, str) else False

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__
