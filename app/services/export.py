"""The items as a stream of lines: one statement, one snapshot, a batch of rows in memory, whatever the number.

The rows come through a server-side cursor inside one transaction, which pgbouncer's transaction pooling keeps on one server connection.
"""

import csv
import io
from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, select

from app.core.config import ExportSettings
from app.core.database import Database
from app.models import Item
from app.schemas.items import ItemRead
from app.services.errors import Busy
from app.services.items import COLUMNS, ItemFilter
from app.services.pages import Sort, select_span
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

    async def items(self, which: ItemFilter, form: ExportFormat) -> AsyncGenerator[bytes]:
        """Chunks of the export, none of them empty. Close it: a connection and a place are held until it ends.

        The first chunk has the first rows: whatever keeps the export from beginning is raised before anything is sent.
        Raises ``Busy`` when too many run, and what the database raises.
        """
        if self._running >= self._settings.concurrency:
            raise Busy
        encode = _csv_rows if form is ExportFormat.csv else _ndjson_lines
        head = _csv_lines([FIELDS]) if form is ExportFormat.csv else b""
        sort = Sort.id if which.name is None else Sort.name
        statement = select_span(select(*COLUMNS), Item, which.span, sort=sort)
        self._running += 1
        try:
            async with self._database.transaction() as session:
                rows = await session.stream(statement, execution_options={"yield_per": self._settings.batch})
                try:
                    async for batch in rows.partitions():
                        yield head + encode(batch)
                        head = b""
                finally:
                    await rows.close()
            if head:
                yield head
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
