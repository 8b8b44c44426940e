"""``/items``."""

from typing import Annotated

from fastapi import Query, Response

from app.api.access import access
from app.api.context import Context
from app.api.paging import NamePrefix, PageQuery, Paging, QueryRowId, check_name_sort
from app.api.responses import answered, changed, created, no_content, page, resource
from app.api.retries import once
from app.api.routing import router as make_router
from app.api.v1 import BASE
from app.core.scopes import Scope
from app.schemas.items import ItemCreate, ItemPatch, ItemRead
from app.schemas.pages import Page
from app.schemas.types import RowId
from app.services import items
from app.services.items import ItemFilter
from app.services.point_reads import read_item

COLLECTION = f"{BASE}/items"
router = make_router(prefix=COLLECTION, tags=["items"])


class ItemQuery(PageQuery):
    """Filters and order of the list."""

    owner_id: Annotated[QueryRowId | None, Query(description="Items of this user.")] = None
    name: NamePrefix | None = None


@router.post("", status_code=201, response_model=ItemRead)
@access(Scope.items_write)
async def create_item(context: Context, new: ItemCreate) -> Response:
    """Create an item; its owner, if it has one, must exist."""
    return answered(await items.create_item(context.database, new, await once(context, created(COLLECTION, ItemRead))))


@router.get("", response_model=Page[ItemRead])
@access(Scope.items_read)
async def list_items(context: Context, query: Annotated[ItemQuery, Query()]) -> Response:
    """List items, a page at a time."""
    check_name_sort(query.name, query.sort)
    paging = Paging(context, "items", query, {"owner_id": query.owner_id, "name": query.name})
    found = await items.list_items(context.database, ItemFilter(query.owner_id, query.name), **paging.arguments())
    return page(context, Page[ItemRead], found.rows, paging.next_cursor(found.next_after))


@router.get("/{item_id:row}", response_model=ItemRead)
@access(Scope.items_read)
async def get_item(context: Context, item_id: RowId) -> Response:
    """Read an item."""
    return resource(context, ItemRead, await read_item(context.database, item_id))


@router.patch("/{item_id:row}", response_model=ItemRead)
@access(Scope.items_write)
async def update_item(context: Context, item_id: RowId, patch: ItemPatch) -> Response:
    """Change an item, by a merge patch."""
    return changed(ItemRead, await items.update_item(context.database, item_id, patch, context.versions()))


@router.delete("/{item_id:row}", status_code=204)
@access(Scope.items_write, produces=())
async def delete_item(context: Context, item_id: RowId) -> Response:
    """Delete an item."""
    await items.delete_item(context.database, item_id, context.versions())
    return no_content()
