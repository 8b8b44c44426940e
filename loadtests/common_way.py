"""The read of one item as it is commonly written: FastAPI's tutorial on SQL databases and its full-stack template.

A synchronous session from a dependency with ``yield``, a plain ``def`` endpoint that FastAPI runs in its thread pool, and
``response_model``. Nothing here is slow on purpose: the driver is the same, with its C part, statements get prepared,
the pool has a connection for every request of the benchmark, and there is no authentication, rate limit or log line to
pay for.
"""

import os
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

DATABASE_URL = os.environ["COMMON_WAY_DATABASE_URL"]

engine = create_engine(DATABASE_URL, pool_size=20, max_overflow=0)
SessionLocal = sessionmaker(bind=engine, autoflush=False)


class Base(DeclarativeBase):
    """The base of all tables."""


class Item(Base):
    """The columns of ``items`` that are shown."""

    __tablename__ = "items"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    description: Mapped[str | None]
    owner_id: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ItemRead(BaseModel):
    """An item on the wire."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    description: str | None
    owner_id: int | None
    created_at: datetime
    updated_at: datetime


def get_db() -> Iterator[Session]:
    """A session for the request."""
    with SessionLocal() as session:
        yield session


SessionDep = Annotated[Session, Depends(get_db)]
router = APIRouter(prefix="/items", tags=["items"])


@router.get("/{item_id}", response_model=ItemRead)
def read_item(item_id: int, db: SessionDep) -> Item:
    """Read an item."""
    item = db.get(Item, item_id)
    if item is None:
        raise HTTPException(status_code=404, detail="Item not found")
    return item


app = FastAPI()
app.include_router(router, prefix="/api/v1")
