"""The items as a stream of lines: one statement, one snapshot, a batch of rows in memory, whatever the number.

The rows come through a server-side cursor inside one transaction, which pgbouncer's transaction pooling keeps on one server connection.
"""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Row

from app.core.config import ExportSettings
from app.core.database import Database
from app.models import Item
from app.schemas.items import ItemRead
from app.services.errors import Busy
from app.services.items import ItemFilter, select_items
from app.utils.text import escape_formula

FIELDS = list(ItemRead.model_fields)


class ExportFormat(StrEnum):
    """What the lines look like."""

    csv = "csv"
    ndjson = "ndjson"


class Exports:
    """The exports that one worker process runs: bounded, because each holds a connection of the pool."""

    def __init__(self, database: Database, settings: ExportSettings) -> None:
        self._database = database
        self._settings = settings
        self._running = 0

    async def items(self, which: ItemFilter, form: ExportFormat) -> AsyncIterator[bytes]:
        """Chunks of the export. The first is made before anything is sent, so that a failure to begin is still an error answer.

        Raises ``Busy`` when too many run, and what the database raises.
        """
        if self._running >= self._settings.concurrency:
            raise Busy
        encode = _csv_rows if form is ExportFormat.csv else _ndjson_lines
        statement = select_items(which).order_by(*([Item.name, Item.id] if which.name is not None else [Item.id]))
        self._running += 1
        try:
            async with self._database.transaction() as session:
                rows = await session.stream(statement, execution_options={"yield_per": self._settings.batch})
                yield _csv_lines([FIELDS]) if form is ExportFormat.csv else b""
                async for batch in rows.partitions():
                    yield encode(batch)
        finally:
            self._running -= 1


def _ndjson_lines(batch: Sequence[Row[Any]]) -> bytes:
    return b"".join(ItemRead.model_validate(row).model_dump_json().encode() + b"\n" for row in batch)


def _csv_rows(batch: Sequence[Row[Any]]) -> bytes:
    return _csv_lines([_cells(ItemRead.model_validate(row)) for row in batch])


def _cells(item: ItemRead) -> list[str]:
    texts = {"name": escape_formula(item.name), "description": escape_formula(item.description or "")}
    return ["" if value is None else str(value) for value in (item.model_dump(mode="json") | texts).values()]


def _csv_lines(lines: Sequence[Sequence[str]]) -> bytes:
    """RFC 4180."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(lines)
    return text.getvalue().encode()
