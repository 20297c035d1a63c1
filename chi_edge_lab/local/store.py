"""What the site remembers: one SQLite file in WAL mode, and typed tables over it.

A table is a frozen dataclass: its fields are the columns, and values that SQLite has no type for (dicts, lists) are
kept as JSON. Everything is thread-safe: one connection behind one lock, because a statement here takes tens of
microseconds and SQLite would serialise writers anyway. A commit survives `kill -9` of the site (WAL,
synchronous=NORMAL: only a crash of the whole machine can lose the last commits, never the file).
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

BUSY_SECONDS = 5.0
"""How long to wait for another process (a second `site` command) that holds the file."""

_NATIVE: dict[object, str] = {str: "TEXT", int: "INTEGER", float: "REAL", bool: "INTEGER"}


class Store:
    """The file and its connection. Close it when the site ends."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        if path != ":memory:":
            Path(path).chmod(0o600)

    def table(self, row_type: type[T], name: str, *, index: tuple[str, ...] = ()) -> Table[T]:
        """The table of this dataclass, made (or given its new columns) if need be. Its first field is the key."""
        return Table(self, row_type, name, index)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; may be nested, the outermost decides. Other threads wait, so keep it short."""
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._db.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("COMMIT")

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all its rows."""
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def changed(self, sql: str, values: tuple[object, ...] = ()) -> int:
        """Run one statement and return how many rows it touched."""
        with self._lock:
            return self._db.execute(sql, values).rowcount

    def close(self) -> None:
        """Close the file; any later use raises sqlite3.ProgrammingError."""
        with self._lock:
            self._db.close()


class Table(Generic[T]):
    """Rows of one dataclass. Column names come from its fields, never from a caller's data."""

    def __init__(self, store: Store, row_type: type[T], name: str, index: tuple[str, ...]) -> None:
        self._store = store
        self._type = row_type
        self._name = name
        hints = typing.get_type_hints(row_type)
        self._columns = {field.name: _Column(hints[field.name]) for field in dataclasses.fields(row_type)}
        self._defaults = {
            field.name: field.default
            for field in dataclasses.fields(row_type)
            if field.default is not dataclasses.MISSING
        }
        self._key = next(iter(self._columns))
        self._create(index)

    def _create(self, index: tuple[str, ...]) -> None:
        columns = ", ".join(
            f'"{name}" {column.sql}' + (" PRIMARY KEY" if name == self._key else "")
            for name, column in self._columns.items()
        )
        with self._store.transaction():
            self._store.execute(f'CREATE TABLE IF NOT EXISTS "{self._name}" ({columns})')
            there = {row[1] for row in self._store.execute(f'PRAGMA table_info("{self._name}")')}
            for name in self._columns.keys() - there:  # a file of an earlier version of the site
                self._store.execute(
                    f'ALTER TABLE "{self._name}" ADD COLUMN "{name}" {self._columns[name].sql}'
                )
                if name in self._defaults:
                    value = self._columns[name].encode(self._defaults[name])
                    self._store.execute(f'UPDATE "{self._name}" SET "{name}" = ?', (value,))  # noqa: S608
            for name in index:
                self._store.execute(
                    f'CREATE INDEX IF NOT EXISTS "{self._name}_{name}" ON "{self._name}" ("{name}")'
                )

    def insert(self, row: T) -> T:
        """Add a row. Raises sqlite3.IntegrityError when its key is there already."""
        self._write("INSERT", row)
        return row

    def put(self, row: T) -> T:
        """Add or replace a row."""
        self._write("INSERT OR REPLACE", row)
        return row

    def get(self, key: object) -> T | None:
        """The row of this key."""
        rows = self.find(limit=1, **self._only(key))
        return rows[0] if rows else None

    def find(self, *, descending: bool = False, limit: int | None = None, **equals: object) -> list[T]:
        """Rows whose columns equal these values, in the order they were added."""
        where, values = self._where(equals)
        order = "DESC" if descending else "ASC"
        names = ", ".join(f'"{name}"' for name in self._columns)
        sql = f'SELECT {names} FROM "{self._name}"{where} ORDER BY rowid {order}'  # noqa: S608
        if limit is not None:
            sql += f" LIMIT {int(limit)}"
        return [self._row(values) for values in self._store.execute(sql, values)]

    def count(self, **equals: object) -> int:
        """How many rows there are with these values."""
        where, values = self._where(equals)
        return int(self._store.execute(f'SELECT COUNT(*) FROM "{self._name}"{where}', values)[0][0])  # noqa: S608

    def update(self, key: object, **changes: object) -> T:
        """Change columns of a row and return it as it is now. Raises KeyError when it is gone."""
        with self._store.transaction():
            if not self.update_if(key, {}, **changes):
                raise KeyError(key)
            row = self.get(key)
            assert row is not None
            return row

    def update_if(self, key: object, expected: dict[str, object], **changes: object) -> bool:
        """Change columns of a row if it still is as `expected` says; whether it was."""
        where, values = self._where({self._key: key, **expected})
        sets = ", ".join(f'"{name}" = ?' for name in changes)
        new = tuple(self._columns[name].encode(value) for name, value in changes.items())
        return self._store.changed(f'UPDATE "{self._name}" SET {sets}{where}', new + values) > 0  # noqa: S608

    def delete(self, **equals: object) -> int:
        """Delete the rows with these values (at least one must be given); how many there were."""
        if not equals:
            raise ValueError("name at least one column")
        where, values = self._where(equals)
        return self._store.changed(f'DELETE FROM "{self._name}"{where}', values)  # noqa: S608

    def _only(self, key: object) -> dict[str, Any]:
        return {self._key: key}

    def _where(self, equals: dict[str, object]) -> tuple[str, tuple[object, ...]]:
        if not equals:
            return "", ()
        clauses = " AND ".join(f'"{name}" IS ?' for name in equals)
        values = tuple(self._columns[name].encode(value) for name, value in equals.items())
        return f" WHERE {clauses}", values

    def _write(self, verb: str, row: T) -> None:
        names = ", ".join(f'"{name}"' for name in self._columns)
        marks = ", ".join("?" for _ in self._columns)
        values = tuple(column.encode(getattr(row, name)) for name, column in self._columns.items())
        self._store.execute(f'{verb} INTO "{self._name}" ({names}) VALUES ({marks})', values)

    def _row(self, values: tuple[Any, ...]) -> T:
        pairs = zip(self._columns.items(), values, strict=True)
        return self._type(**{name: column.decode(value) for (name, column), value in pairs})


class _Column:
    """How values of one annotation travel to SQLite and back."""

    def __init__(self, annotation: object) -> None:
        kinds = [annotation]
        if typing.get_origin(annotation) in (typing.Union, types.UnionType):
            kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
        kind = kinds[0] if len(kinds) == 1 else None
        self.sql = _NATIVE.get(kind, "TEXT")
        self._json = kind not in _NATIVE
        self._bool = kind is bool

    def encode(self, value: object) -> object:
        """As SQLite keeps it."""
        return json.dumps(value) if self._json and value is not None else value

    def decode(self, value: Any) -> Any:
        """As the dataclass has it."""
        if value is None:
            return None
        if self._json:
            return json.loads(value)
        return bool(value) if self._bool else value
