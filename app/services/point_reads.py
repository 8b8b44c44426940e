"""One row by its id, by the driver, gathered: the hottest reads, where SQLAlchemy's part costs more than PostgreSQL's.

The statement is compiled from the table, so that a new column needs no change here; a test holds these reads to SQLAlchemy's own.
The measurement that justifies them is in docs/performance.md.
"""

from collections import namedtuple
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import ARRAY, BigInteger, any_, bindparam, make_url, select

from app.core.database import Database
from app.core.telemetry.client_spans import ClientSpan
from app.models import Base, Item, User
from app.services.errors import NotFound

type PointRead = Callable[[Database, int], Awaitable[Any]]


def point_read(model: type[Base]) -> PointRead:
    """A function that reads one row of the table as a tuple with the columns' names. It raises ``NotFound``."""
    table = model.__table__
    statement = select(table).where(table.c.id == any_(bindparam("ids", type_=ARRAY(BigInteger))))
    dialect: Any = make_url("postgresql+psycopg://").get_dialect()
    sql = str(statement.compile(dialect=dialect(paramstyle="format")))
    as_row = namedtuple(f"{model.__name__}Row", [column.name for column in table.columns])  # type: ignore[misc]  # columns are data here

    id_position = list(table.columns.keys()).index("id")

    described = {
        "db.system.name": "postgresql",
        "db.operation.name": "SELECT",
        "db.collection.name": model.__tablename__,
        "db.query.text": sql,
    }

    async def read(database: Database, row_id: int) -> Any:
        with ClientSpan(database.tracer, f"SELECT {model.__tablename__}", described):
            row = await database.gathered(sql, id_position).read(row_id)
        if row is None:
            raise NotFound
        return as_row._make(row)

    return read


read_user = point_read(User)
read_item = point_read(Item)
