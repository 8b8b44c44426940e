"""Keyset pages: a page begins after the last row of the one before, found by index, however deep it lies.

A row that is present and keeps its sort value is met exactly once, whatever is inserted or deleted between two pages: the order is total,
because the id breaks ties, and a page's condition refers to values and not to a count of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from app.core.database import ReadSession
from app.models.base import VersionedRow

Position = tuple[str | None, int]
"""Where a page ended: the sort column's value in text (none when the order is by id), and the id."""


class Sort(StrEnum):
    """The orders of a list; ``-`` is descending."""

    id = "id"
    id_descending = "-id"
    created_at = "created_at"
    created_at_descending = "-created_at"
    name = "name"
    name_descending = "-name"

    @property
    def column(self) -> str:
        """The column's name."""
        return self.removeprefix("-")

    @property
    def descending(self) -> bool:
        """Whether the largest comes first."""
        return self.startswith("-")


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of one page, and where the next one begins after (none when there is no next)."""

    rows: Sequence[Row[Any]]
    next_after: Position | None


async def read_slice(
    session: ReadSession,
    statement: Select[*tuple[Any, ...]],
    model: type[VersionedRow],
    *,
    sort: Sort,
    after: Position | None,
    limit: int,
) -> Slice:
    """Run ``statement`` for one page of ``limit`` rows; one row more is read, to know whether there is a next page."""
    column: InstrumentedAttribute[Any] = getattr(model, sort.column)
    key = [model.id] if sort.column == "id" else [column, model.id]
    if after is not None:
        text, row_id = after
        value: list[Any] = [row_id] if sort.column == "id" else [_parse(sort, text), row_id]
        here = tuple_(*key)
        statement = statement.where(here < tuple_(*value) if sort.descending else here > tuple_(*value))
    statement = statement.order_by(*(c.desc() if sort.descending else c for c in key)).limit(limit + 1)
    rows = (await session.execute(statement)).all()
    if len(rows) <= limit:
        return Slice(rows, None)
    rows = rows[:limit]
    return Slice(rows, _position(sort, rows[-1]))


def _position(sort: Sort, row: Row[Any]) -> Position:
    if sort.column == "id":
        return None, row.id
    value = getattr(row, sort.column)
    return value.isoformat() if isinstance(value, datetime) else value, row.id


def _parse(sort: Sort, text: str | None) -> Any:
    return datetime.fromisoformat(text or "") if sort.column == "created_at" else text
