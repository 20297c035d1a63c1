"""Cutting a list as limit, marker, sort_key and sort_dir say."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from chi_edge_lab.local.zunapi.errors import InvalidParameterValue, InvalidValue

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class UnknownMarker(Exception):
    """The marker is not in the list; each resource has its own 404 for that."""


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows, and how to ask for more."""

    rows: list[T]
    limit: int
    sort_key: str
    sort_dir: str

    def next_url(self, url: str, last: str) -> str | None:
        """URL of the rest, where this page is full (Zun does not look whether there is a rest)."""
        if not self.rows or len(self.rows) < self.limit:
            return None
        return f"{url}?sort_key={self.sort_key}&sort_dir={self.sort_dir}&limit={self.limit}&marker={last}"


def cut(
    rows: Sequence[T], row_type: type[T], parameters: dict[str, Any], *, most: int, key: str = "uuid"
) -> Page[T]:
    """One page of rows that come in the order they were made; `most` is the service's max_limit.

    Raises InvalidValue, InvalidParameterValue, UnknownMarker.
    """
    limit = _limit(parameters.get("limit"), most)
    direction = parameters.get("sort_dir") or "asc"
    if direction not in {"asc", "desc"}:
        raise InvalidValue(f"Invalid sort direction: {direction}. Acceptable values are 'asc' or 'desc'")
    sort_key = parameters.get("sort_key") or "id"
    ordered = list(rows)
    if sort_key != "id":
        if sort_key not in {field.name for field in dataclasses.fields(row_type)}:
            raise InvalidParameterValue(f'The sort_key value "{sort_key}" is an invalid field for sorting')
        ordered.sort(key=lambda row: _sortable(getattr(row, sort_key)))
    if direction == "desc":
        ordered.reverse()
    marker = parameters.get("marker")
    if marker:
        places = [index for index, row in enumerate(ordered) if getattr(row, key) == marker]
        if not places:
            raise UnknownMarker(marker)
        ordered = ordered[places[0] + 1 :]
    return Page(ordered[:limit], limit, sort_key, direction)


def _limit(given: object, most: int) -> int:
    try:
        limit = most if given is None else int(str(given))
    except ValueError:
        raise InvalidValue("Limit must be positive integer") from None
    if limit <= 0:
        raise InvalidValue("Limit must be positive integer")
    return min(limit, most)


def _sortable(value: object) -> tuple[bool, float, str]:
    """None first, then numbers, then text."""
    number = float(value) if isinstance(value, (int, float)) else 0.0
    return value is not None, number, "" if value is None else str(value)
