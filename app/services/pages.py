"""Keyset pages: a page begins after the last row of the one before, found by index, however deep it lies.

A row that is present and keeps its sort value is met exactly once, whatever is inserted or deleted between two pages: the order is total,
because the id breaks ties, and a page's condition refers to values and not to a count of rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, any_, tuple_
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import InstrumentedAttribute

from app.core.database import ReadSession
from app.models.base import VersionedRow
from app.utils.text import prefix_upper_bound

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


@dataclass(frozen=True, slots=True)
class Span:
    """Rows that lie side by side in the index a list is read from: those with a value in a column, those whose name begins so.

    What is none does not matter. A name prefix goes with a sort by name alone.
    """

    column: InstrumentedAttribute[Any] | None = None
    value: Any = None
    name_prefix: str | None = None


EVERYTHING = Span()


def select_span(
    statement: Select[*tuple[Any, ...]],
    model: type[VersionedRow],
    span: Span,
    *,
    sort: Sort,
    after: Position | None = None,
) -> Select[*tuple[Any, ...]]:
    """``statement`` for the rows of the span in this order; with a position, for those behind it.

    A column with one value is compared with an array of one and leads the order, so that only its own index has that order. Were it
    simply equal, PostgreSQL would drop it from the order and might walk the primary key past the rows of all others, hoping for an early
    match. And a position takes the place of the bound at its end of a name prefix: given both, the index may be entered at the bound.
    """
    column: InstrumentedAttribute[Any] = getattr(model, sort.column)
    key: list[Any] = [model.id] if sort.column == "id" else [column, model.id]
    conditions: dict[str, ColumnElement[bool]] = {}
    if span.name_prefix is not None:
        conditions["lower"] = column >= span.name_prefix
        if (bound := prefix_upper_bound(span.name_prefix)) is not None:
            conditions["upper"] = column < bound
    if after is not None:
        here, there = tuple_(*key), tuple_(*_values(sort, after))
        conditions["upper" if sort.descending else "lower"] = here < there if sort.descending else here > there
    if span.column is not None and span.value is not None:
        statement = statement.where(span.column == any_(array([span.value])))
        key.insert(0, span.column)
    return statement.where(*conditions.values()).order_by(*(c.desc() if sort.descending else c for c in key))


async def read_slice(
    session: ReadSession,
    statement: Select[*tuple[Any, ...]],
    model: type[VersionedRow],
    span: Span = EVERYTHING,
    *,
    sort: Sort,
    after: Position | None,
    limit: int,
) -> Slice:
    """Run ``statement`` for one page of ``limit`` rows; one row more is read, to know whether there is a next page."""
    page = select_span(statement, model, span, sort=sort, after=after).limit(limit + 1)
    rows = (await session.execute(page)).all()
    if len(rows) <= limit:
        return Slice(rows, None)
    rows = rows[:limit]
    return Slice(rows, _position(sort, rows[-1]))


def _position(sort: Sort, row: Row[Any]) -> Position:
    if sort.column == "id":
        return None, row.id
    value = getattr(row, sort.column)
    return value.isoformat() if isinstance(value, datetime) else value, row.id


def _values(sort: Sort, position: Position) -> list[Any]:
    text, row_id = position
    match sort.column:
        case "id":
            return [row_id]
        case "created_at":
            return [datetime.fromisoformat(text or ""), row_id]
        case _:
            return [text, row_id]
