"""Changes that are made only to the version the caller saw; the statement that changes is the one that decides."""

from collections.abc import Mapping
from typing import Any

from psycopg import errors as pg
from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from app.core.database import ReadSession, WriteSession
from app.models.base import VersionedRow
from app.services.errors import NotFound, VersionMismatch

type Versions = tuple[int, ...] | None
"""The versions a caller accepts (``If-Match``); none: any."""


async def update_row(
    session: WriteSession, model: type[VersionedRow], row_id: int, versions: Versions, values: Mapping[str, Any]
) -> Row[Any]:
    """Change the row and give it the next version. Raises ``NotFound`` or ``VersionMismatch``."""
    statement = (
        update(model)
        .where(model.id == row_id)
        .values(**values, version=model.version + 1, updated_at=func.now())
        .returning(*model.__table__.columns)
    )
    if versions is not None:
        statement = statement.where(model.version.in_(versions))
    row = (await session.execute(statement)).one_or_none()
    return row if row is not None else await _explain(session, model, row_id)


async def delete_row(session: WriteSession, model: type[VersionedRow], row_id: int, versions: Versions) -> None:
    """Delete the row. Raises ``NotFound`` or ``VersionMismatch``."""
    statement = delete(model).where(model.id == row_id).returning(model.id)
    if versions is not None:
        statement = statement.where(model.version.in_(versions))
    if (await session.execute(statement)).one_or_none() is None:
        await _explain(session, model, row_id)


async def lock_row(session: WriteSession, model: type[VersionedRow], row_id: int, versions: Versions) -> Row[Any]:
    """Hold the row, so that nothing changes it or begins to refer to it. Raises ``NotFound`` or ``VersionMismatch``."""
    statement = select(*model.__table__.columns).where(model.id == row_id).with_for_update()
    if versions is not None:
        statement = statement.where(model.version.in_(versions))
    row = (await session.execute(statement)).one_or_none()
    return row if row is not None else await _explain(session, model, row_id)


async def read_row(session: ReadSession | WriteSession, model: type[VersionedRow], row_id: int) -> Row[Any]:
    """The row as it is. Raises ``NotFound``."""
    row = (await session.execute(select(*model.__table__.columns).where(model.id == row_id))).one_or_none()
    if row is None:
        raise NotFound
    return row


async def _explain(session: WriteSession, model: type[VersionedRow], row_id: int) -> Row[Any]:
    await read_row(session, model, row_id)
    raise VersionMismatch


def violated_constraint(error: IntegrityError) -> str | None:
    """The name of the constraint that a statement broke."""
    return error.orig.diag.constraint_name if isinstance(error.orig, pg.Error) else None
