"""Users: made, read, listed, changed, and deleted together with a decision about their items."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from app.core.config import ItemSettings
from app.core.database import Database, WriteSession
from app.models import Item, User
from app.schemas.types import changes
from app.schemas.users import UserCreate, UserPatch
from app.services.errors import EmailTaken, ItemsOwned, ServiceError, TooManyItems
from app.services.idempotency import Answer, Once
from app.services.pages import Position, Slice, Sort, read_slice
from app.services.versions import Versions, delete_row, lock_row, read_row, update_row, violated_constraint
from app.utils.emails import email_key
from app.utils.text import prefix_upper_bound

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
    if which.name is not None:
        statement = statement.where(User.name >= which.name)
        if (bound := prefix_upper_bound(which.name)) is not None:
            statement = statement.where(User.name < bound)
    async with database.read() as session:
        return await read_slice(session, statement, User, sort=sort, after=after, limit=limit)


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
    owned = select(Item.id).where(Item.owner_id == owner_id)
    some = owned.limit(limits.release_max + 1).subquery()
    if (await session.scalar(select(func.count()).select_from(some)) or 0) > limits.release_max:
        raise TooManyItems(limits.release_max)
    batch = owned.order_by(Item.id).limit(limits.release_batch).with_for_update().scalar_subquery()
    statement = (
        update(Item).values(owner_id=None, version=Item.version + 1, updated_at=func.now())
        if fate is ItemsFate.release
        else delete(Item)
    ).where(Item.id.in_(batch))
    touched = limits.release_batch
    while touched == limits.release_batch:
        result = await session.execute(statement.returning(Item.id))
        touched = len(result.all())


def _refusal(error: IntegrityError) -> ServiceError | IntegrityError:
    match violated_constraint(error):
        case "uq_users_email_key":
            return EmailTaken()
        case "fk_items_owner_id_users":
            return ItemsOwned()
    return error


async def read_user(database: Database, user_id: int) -> Row[Any]:
    """One user, through SQLAlchemy. Raises ``NotFound``."""
    async with database.read() as session:
        return await read_row(session, User, user_id)
