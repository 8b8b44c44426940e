"""The same with an asynchronous session: what one writes who has read that FastAPI is asynchronous.

The tables and wire types are those of ``common_way``.
"""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from loadtests.common_way import DATABASE_URL, Item, ItemRead

engine = create_async_engine(DATABASE_URL, pool_size=20, max_overflow=0)
SessionLocal = async_sessionmaker(engine, autoflush=False, expire_on_commit=False)


async def get_db() -> AsyncIterator[AsyncSession]:
    """A session for the request."""
    async with SessionLocal() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_db)]
router = APIRouter(prefix="/items", tags=["items"])


@router.get("/{item_id}", response_model=ItemRead)
async def read_item(item_id: int, db: SessionDep) -> Item:
    """Read an item."""
    item = await db.get(Item, item_id)
    if item is None:
        raise HTTPException(status_code=404, detail="Item not found")
    return item


app = FastAPI()
app.include_router(router, prefix="/api/v1")
