"""Recording a terminal as asciicast v2: what it shows, never what is typed."""

from __future__ import annotations

import codecs
import json
import os
import threading
import time
from pathlib import Path


class Recording:
    """One file; each event is a line that is written at once, so that a crash leaves a readable file.

    Thread-safe. `full` once the size limit is reached: what comes then is not recorded.
    """

    def __init__(self, path: Path, rows: int, cols: int, *, limit: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self.path = path
        self.full = False
        self._file = os.fdopen(descriptor, "w", encoding="utf-8")
        self._limit = limit
        self._size = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line({"version": 2, "width": cols, "height": rows, "timestamp": int(time.time())})

    def add(self, data: bytes) -> None:
        """What the terminal has shown."""
        with self._lock:
            text = self._decoder.decode(data)
            if text:
                self._line([round(time.monotonic() - self._began, 6), "o", text])

    def resize(self, rows: int, cols: int) -> None:
        """The terminal has another size."""
        with self._lock:
            self._line([round(time.monotonic() - self._began, 6), "r", f"{cols}x{rows}"])

    def _line(self, event: object) -> None:
        line = json.dumps(event, ensure_ascii=False) + "\n"
        if self.full or self._file.closed:
            return
        self._size += len(line.encode())
        if self._size > self._limit:
            self.full = True
            return
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        with self._lock:
            self._file.close()
