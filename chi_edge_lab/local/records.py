"""What the small services keep: records of JSON by kind and id, in the site's SQLite file.

Application credentials, revoked tokens, ports, floating IPs and leases: some dozens of each at most, read whole.
Containers have tables of their own (local.store).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

Record = dict[str, Any]


class Records:
    """Thread-safe. Each call is a transaction of its own, on disk when it returns."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10.0)
        # WAL survives kill -9 of the process; `normal` may lose the last moments when the machine itself dies
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS records "
            "(kind TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID"
        )

    def put(self, kind: str, id: str, record: Record) -> None:  # noqa: A002
        """Write a record, new or changed."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (kind, id, json.dumps(record)))

    def get(self, kind: str, id: str) -> Record | None:  # noqa: A002
        """One record, None where there is none."""
        with self._lock:
            row = self._db.execute("SELECT body FROM records WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return _record(row[0]) if row else None

    def all(self, kind: str) -> list[Record]:
        """All records of a kind, by id."""
        with self._lock:
            rows = self._db.execute("SELECT body FROM records WHERE kind = ? ORDER BY id", (kind,)).fetchall()
        return [_record(body) for (body,) in rows]

    def delete(self, kind: str, id: str) -> bool:  # noqa: A002
        """Forget a record; whether there was one."""
        with self._lock:
            return self._db.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, id)).rowcount > 0

    def close(self) -> None:
        """Close the file; the last use of this object."""
        with self._lock:
            self._db.close()


def _record(body: str) -> Record:
    record = json.loads(body)
    assert isinstance(record, dict)
    return record
