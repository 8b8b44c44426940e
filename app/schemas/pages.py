"""A page of a list on the wire."""

from pydantic import BaseModel, Field


class Page[T](BaseModel):
    """Some of the rows, and how to get the next ones."""

    items: list[T]
    next_cursor: str | None = Field(description="Opaque; null on the last page. The Link header has the whole address.")
