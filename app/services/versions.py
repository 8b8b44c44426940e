"""Changes that are made only to the version the caller saw; the statement that changes is the one that decides."""

from collections.abc import Mapping
from typing import Any, NoReturn

from psycopg import errors as pg
from sqlalchemy import ARRAY, BigInteger, ColumnElement, Row, any_, delete, func, literal, select, update
from sqlalchemy.exc import IntegrityError

from app.core.database import WriteSession
from app.models.base import VersionedRow
from app.services.errors import NotFound, VersionMismatch

type Versions = tuple[int, ...] | None
"""The versions a caller accepts (``If-Match``); none: any."""


def next_version(model: type[VersionedRow]) -> dict[str, Any]:
    """What every change of a row sets beside its values. The time is that of the change itself: a transaction may begin long before it."""
    return {"version": model.version + 1, "updated_at": func.clock_timestamp()}


async def update_row(
    session: WriteSession, model: type[VersionedRow], row_id: int, versions: Versions, values: Mapping[str, Any]
) -> Row[Any]:
    """Change the row and give it the next version. Raises ``NotFound`` or ``VersionMismatch``."""
    statement = update(model).where(*_is(model, row_id, versions)).values(**values, **next_version(model))
    row = (await session.execute(statement.returning(*model.__table__.columns))).one_or_none()
    return row if row is not None else await _refuse(session, model, row_id, versions)


async def delete_row(session: WriteSession, model: type[VersionedRow], row_id: int, versions: Versions) -> None:
    """Delete the row. Raises ``NotFound`` or ``VersionMismatch``."""
    statement = delete(model).where(*_is(model, row_id, versions)).returning(model.id)
    if (await session.execute(statement)).one_or_none() is None:
        await _refuse(session, model, row_id, versions)


async def lock_row(session: WriteSession, model: type[VersionedRow], row_id: int, versions: Versions) -> Row[Any]:
    """Hold the row, so that nothing changes it or begins to refer to it. Raises ``NotFound`` or ``VersionMismatch``."""
    statement = select(*model.__table__.columns).where(*_is(model, row_id, versions)).with_for_update()
    row = (await session.execute(statement)).one_or_none()
    return row if row is not None else await _refuse(session, model, row_id, versions)


def _is(model: type[VersionedRow], row_id: int, versions: Versions) -> list[ColumnElement[bool]]:
    """The row, if it has one of the versions. An array is one parameter, and one statement, however many they are."""
    accepted = [] if versions is None else [model.version == any_(literal(list(versions), ARRAY(BigInteger)))]
    return [model.id == row_id, *accepted]


async def _refuse(session: WriteSession, model: type[VersionedRow], row_id: int, versions: Versions) -> NoReturn:
    """Raises what the statement that found no such row means."""
    exists = versions is not None and await session.scalar(select(model.id).where(model.id == row_id)) is not None
    raise VersionMismatch if exists else NotFound


def violated_constraint(error: IntegrityError) -> str | None:
    """The name of the constraint that a statement broke."""
    return error.orig.diag.constraint_name if isinstance(error.orig, pg.Error) else None
