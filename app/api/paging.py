"""The query of a list: how many, from where, in which order, and which."""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.api.context import Context
from app.schemas.types import Name, RowId
from app.services.errors import FieldInvalid
from app.services.pages import Position, Sort
from app.utils.cursors import CursorInvalid, binding


def _digits(value: object) -> object:
    """Plain digits: pydantic would also take ``+1``, ``1.0`` and ``1_000``."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 20):
        raise ValueError("must be a whole number in plain digits")
    return value


QueryRowId = Annotated[RowId, BeforeValidator(_digits)]
NamePrefix = Annotated[Name, Field(description="Names that begin so, by code point; only with a sort by name.")]


class PageQuery(BaseModel):
    """What every list takes. A parameter that does not exist is an error: a mistyped filter must not show everything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, BeforeValidator(_digits), Field(ge=1, le=100, description="Most rows on the page.")] = 20
    cursor: Annotated[
        str | None,
        Field(max_length=4096, description="`next_cursor` of the page before, with the same filters and sort."),
    ] = None
    sort: Annotated[Sort, Field(description='`-` is descending. Names sort by code point (`COLLATE "C"`).')] = Sort.id


def check_name_sort(name: str | None, sort: Sort) -> None:
    """A name prefix goes with a sort by name: any other order would read rows it does not return. Raises ``FieldInvalid``."""
    if name is not None and sort.column != "name":
        raise FieldInvalid("a name prefix needs sort=name or sort=-name", "/sort", part="query")


class Paging:
    """Opens the cursor a page came with, and seals the one for the next; both are bound to the list, its filters and its sort."""

    def __init__(
        self, context: Context, resource: str, query: PageQuery, filters: Mapping[str, str | int | None]
    ) -> None:
        self._signer = context.process.cursors
        self._bound_to = binding(resource, query.sort.value, filters)
        self._query = query

    def arguments(self) -> dict[str, Any]:
        """``sort``, ``after`` and ``limit`` for the service. Raises ``FieldInvalid`` for a cursor that is not ours."""
        return {"sort": self._query.sort, "after": self._after(), "limit": self._query.limit}

    def _after(self) -> Position | None:
        if self._query.cursor is None:
            return None
        try:
            return cast(Position, tuple(self._signer.open(self._query.cursor, self._bound_to)))
        except CursorInvalid:
            raise FieldInvalid(
                "must be next_cursor of a page with the same filters and sort", "/cursor", part="query"
            ) from None

    def next_cursor(self, position: Position | None) -> str | None:
        """The next page's cursor."""
        return None if position is None else self._signer.seal(position, self._bound_to)
