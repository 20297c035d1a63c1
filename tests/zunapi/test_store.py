"""The typed tables."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chi_edge_lab.local.store import Store


@dataclass(frozen=True)
class Thing:
    id: str
    size: int
    weight: float | None = None
    good: bool = False
    tags: list[str] | None = None
    more: dict[str, Any] | None = None


def test_values_come_back_as_they_went(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    table = store.table(Thing, "things")
    row = Thing("a", 2**40, 1.5, True, ["x", "\N{SNOWMAN}"], {"k": [1, None]})
    table.insert(row)
    assert table.get("a") == row
    assert table.put(Thing("b", 0)) == table.get("b")
    assert table.find(good=True) == [row]
    assert table.find(weight=None) == [Thing("b", 0)]
    assert [one.id for one in table.find(descending=True)] == ["b", "a"]
    assert table.count() == 2
    store.close()


def test_update_and_delete(tmp_path: Path) -> None:
    table = Store(tmp_path / "s.sqlite").table(Thing, "things")
    table.insert(Thing("a", 1))
    assert table.update("a", size=2).size == 2
    assert not table.update_if("a", {"size": 1}, size=3)
    with pytest.raises(KeyError):
        table.update("zz", size=2)
    with pytest.raises(ValueError, match="column"):
        table.delete()
    with pytest.raises(sqlite3.IntegrityError):
        table.insert(Thing("a", 9))
    assert table.delete(size=2) == 1
    assert table.get("a") is None


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    table = store.table(Thing, "things")

    def fail() -> None:
        with store.transaction():
            table.insert(Thing("a", 1))
            with store.transaction():
                table.insert(Thing("b", 1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert table.count() == 0


def test_new_columns_and_many_threads(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    old = sqlite3.connect(path)
    old.execute("CREATE TABLE things (id TEXT PRIMARY KEY, size INTEGER)")
    old.execute("INSERT INTO things VALUES ('old', 7)")
    old.commit()
    old.close()
    store = Store(path)
    table = store.table(Thing, "things", index=("size",))
    assert table.get("old") == Thing("old", 7)

    def work(number: int) -> None:
        for i in range(50):
            table.put(Thing(f"{number}-{i}", i))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert table.count() == 401
    assert path.stat().st_mode & 0o777 == 0o600
    store.close()
