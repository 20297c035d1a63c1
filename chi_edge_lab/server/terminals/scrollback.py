"""The end of what a terminal has shown, by absolute place."""

from __future__ import annotations


class Scrollback:
    """Keeps the last `limit` bytes (up to twice as many between clean-ups). `start` and `end` are places in all that
    was ever shown.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._dropped = 0

    @property
    def start(self) -> int:
        """The place of the first byte that is kept."""
        return self._dropped

    @property
    def end(self) -> int:
        """The place after the last byte."""
        return self._dropped + len(self._data)

    def add(self, data: bytes) -> None:
        """Append."""
        self._data += data
        if len(self._data) > 2 * self._limit:  # seldom, as it moves what is kept
            excess = len(self._data) - self._limit
            del self._data[:excess]
            self._dropped += excess

    def read(self, place: int, size: int) -> bytes:
        """Up to `size` bytes from a place that is kept."""
        begin = place - self._dropped
        return bytes(self._data[begin : begin + size])
