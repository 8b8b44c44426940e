"""Users: made, read, listed, changed, and deleted together with a decision about their items."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.core.config import ItemSettings
from app.core.database import Database, WriteSession
from app.models import Item, User
from app.schemas.types import changes
from app.schemas.users import UserCreate, UserPatch
from app.services.errors import EmailTaken, ItemsOwned, ServiceError, TooManyItems
from app.services.idempotency import Answer, Once
from app.services.pages import Position, Slice, Sort, Span, read_slice, select_span
from app.services.versions import Versions, delete_row, lock_row, next_version, update_row, violated_constraint
from app.utils.emails import email_key

COLUMNS = User.__table__.columns


class ItemsFate(StrEnum):
    """What becomes of the items of a deleted user."""

    release = "release"
    delete = "delete"


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which users a list shows: those with this address (compared as addresses are), those whose name begins so."""

    email: str | None = None
    name: str | None = None


async def create_user(database: Database, new: UserCreate, once: Once[Row[Any]]) -> Answer:
    """Make a user. Raises ``EmailTaken``."""

    async def insert_user(session: WriteSession) -> Row[Any]:
        values = new.model_dump() | {"email_key": email_key(new.email)}
        return (await session.execute(insert(User).values(values).returning(*COLUMNS))).one()

    try:
        async with database.transaction() as session:
            return await once(session, insert_user)
    except IntegrityError as error:
        raise _refusal(error) from error


async def list_users(database: Database, which: UserFilter, *, sort: Sort, after: Position | None, limit: int) -> Slice:
    """A page of users."""
    statement = select(*COLUMNS)
    if which.email is not None:
        statement = statement.where(User.email_key == email_key(which.email))
    async with database.read() as session:
        span = Span(name_prefix=which.name)
        return await read_slice(session, statement, User, span, sort=sort, after=after, limit=limit)


async def update_user(database: Database, user_id: int, patch: UserPatch, versions: Versions) -> Row[Any]:
    """Change what the patch names; an empty patch changes nothing. Raises ``NotFound``, ``VersionMismatch``, ``EmailTaken``."""
    values = changes(patch)
    if "email" in values:
        values["email_key"] = email_key(values["email"])
    try:
        async with database.transaction() as session:
            if not values:
                return await lock_row(session, User, user_id, versions)
            return await update_row(session, User, user_id, versions, values)
    except IntegrityError as error:
        raise _refusal(error) from error


async def delete_user(
    database: Database, user_id: int, versions: Versions, fate: ItemsFate | None, limits: ItemSettings
) -> None:
    """Delete a user, and first release or delete their items, all in one transaction.

    Raises ``NotFound``, ``VersionMismatch``, ``ItemsOwned`` without a fate, ``TooManyItems`` above ``limits.release_max``.
    """
    try:
        async with database.transaction() as session:
            if fate is not None:
                # Held until the end: no item can come to this owner while the others are dealt with.
                await lock_row(session, User, user_id, versions)
                await _dispose_of_items(session, user_id, fate, limits)
            await delete_row(session, User, user_id, versions)
    except IntegrityError as error:
        raise _refusal(error) from error


async def _dispose_of_items(session: WriteSession, owner_id: int, fate: ItemsFate, limits: ItemSettings) -> None:
    owned = Span(Item.owner_id, owner_id)
    one_too_many = select_span(select(Item.id), Item, owned, sort=Sort.id).offset(limits.release_max).limit(1)
    if await session.scalar(one_too_many) is not None:
        raise TooManyItems(limits.release_max)
    change = update(Item).values(owner_id=None, **next_version(Item)) if fate is ItemsFate.release else delete(Item)
    after: Position | None = None
    while True:
        # A CTE that locks runs once. A subquery may run again for each row, and then its limit is that of each run.
        batch = select_span(select(Item.id), Item, owned, sort=Sort.id, after=after).limit(limits.release_batch)
        held = batch.with_for_update().cte("held")
        touched = (await session.scalars(change.where(Item.id == held.c.id).returning(Item.id))).all()
        if len(touched) < limits.release_batch:
            return
        after = None, max(touched)


def _refusal(error: IntegrityError) -> ServiceError | IntegrityError:
    match violated_constraint(error):
        case "uq_users_email_key":
            return EmailTaken()
        case "fk_items_owner_id_users":
            return ItemsOwned()
    return error
