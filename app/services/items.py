"""Items: made, read, listed, changed, deleted."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select
from sqlalchemy.exc import IntegrityError

from app.core.database import Database, WriteSession
from app.models import Item
from app.schemas.items import ItemCreate, ItemPatch
from app.schemas.types import changes
from app.services.errors import FieldInvalid
from app.services.idempotency import Answer, Once
from app.services.pages import Position, Slice, Sort, Span, read_slice
from app.services.versions import Versions, delete_row, lock_row, update_row, violated_constraint

COLUMNS = Item.__table__.columns


@dataclass(frozen=True, slots=True)
class ItemFilter:
    """Which items a list or an export shows: those of this owner, those whose name begins so."""

    owner_id: int | None = None
    name: str | None = None

    @property
    def span(self) -> Span:
        """Where they lie in their index."""
        return Span(Item.owner_id, self.owner_id, self.name)


async def create_item(database: Database, new: ItemCreate, once: Once[Row[Any]]) -> Answer:
    """Make an item. Raises ``FieldInvalid`` when the owner does not exist."""

    async def insert_item(session: WriteSession) -> Row[Any]:
        return (await session.execute(insert(Item).values(new.model_dump()).returning(*COLUMNS))).one()

    try:
        async with database.transaction() as session:
            return await once(session, insert_item)
    except IntegrityError as error:
        raise _refusal(error) from error


async def list_items(database: Database, which: ItemFilter, *, sort: Sort, after: Position | None, limit: int) -> Slice:
    """A page of items."""
    async with database.read() as session:
        return await read_slice(session, select(*COLUMNS), Item, which.span, sort=sort, after=after, limit=limit)


async def update_item(database: Database, item_id: int, patch: ItemPatch, versions: Versions) -> Row[Any]:
    """Change what the patch names; an empty patch changes nothing. Raises ``NotFound``, ``VersionMismatch``, ``FieldInvalid``."""
    values = changes(patch)
    try:
        async with database.transaction() as session:
            if not values:
                return await lock_row(session, Item, item_id, versions)
            return await update_row(session, Item, item_id, versions, values)
    except IntegrityError as error:
        raise _refusal(error) from error


async def delete_item(database: Database, item_id: int, versions: Versions) -> None:
    """Delete an item. Raises ``NotFound``, ``VersionMismatch``."""
    async with database.transaction() as session:
        await delete_row(session, Item, item_id, versions)


def _refusal(error: IntegrityError) -> FieldInvalid | IntegrityError:
    if violated_constraint(error) == "fk_items_owner_id_users":
        return FieldInvalid("There is no such user.", "/owner_id")
    return error
