"""``/users``."""

from typing import Annotated

from fastapi import Query, Response

from app.api.access import access
from app.api.context import Context
from app.api.paging import NamePrefix, PageQuery, Paging, check_name_sort
from app.api.responses import answered, changed, created, no_content, page, resource
from app.api.retries import once
from app.api.routing import router as make_router
from app.api.v1 import BASE
from app.core.scopes import Scope
from app.schemas.pages import Page
from app.schemas.types import RowId
from app.schemas.users import Email, UserCreate, UserPatch, UserRead
from app.services import users
from app.services.point_reads import read_user
from app.services.users import ItemsFate, UserFilter

COLLECTION = f"{BASE}/users"
router = make_router(prefix=COLLECTION, tags=["users"])


class UserQuery(PageQuery):
    """Filters and order of the list."""

    email: Annotated[
        Email | None, Query(description="The user with this address, compared without regard to case.")
    ] = None
    name: NamePrefix | None = None


@router.post("", status_code=201, response_model=UserRead)
@access(Scope.users_write)
async def create_user(context: Context, new: UserCreate) -> Response:
    """Create a user."""
    return answered(await users.create_user(context.database, new, await once(context, created(COLLECTION, UserRead))))


@router.get("", response_model=Page[UserRead])
@access(Scope.users_read)
async def list_users(context: Context, query: Annotated[UserQuery, Query()]) -> Response:
    """List users, a page at a time."""
    check_name_sort(query.name, query.sort)
    paging = Paging(context, "users", query, {"email": query.email, "name": query.name})
    found = await users.list_users(context.database, UserFilter(query.email, query.name), **paging.arguments())
    return page(context, Page[UserRead], found.rows, paging.next_cursor(found.next_after))


@router.get("/{user_id:row}", response_model=UserRead)
@access(Scope.users_read)
async def get_user(context: Context, user_id: RowId) -> Response:
    """Read a user."""
    return resource(context, UserRead, await read_user(context.database, user_id))


@router.patch("/{user_id:row}", response_model=UserRead)
@access(Scope.users_write)
async def update_user(context: Context, user_id: RowId, patch: UserPatch) -> Response:
    """Change a user, by a merge patch."""
    return changed(UserRead, await users.update_user(context.database, user_id, patch, context.versions()))


@router.delete("/{user_id:row}", status_code=204)
@access(Scope.users_write, produces=())
async def delete_user(
    context: Context,
    user_id: RowId,
    items: Annotated[
        ItemsFate | None, Query(description="What becomes of the user's items; needed when there are any.")
    ] = None,
) -> Response:
    """Delete a user."""
    await users.delete_user(context.database, user_id, context.versions(), items, context.process.settings.items)
    return no_content()
