"""``/items/export``: all items that pass the list's filters, as one stream."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict
from starlette.responses import StreamingResponse
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from app.api.access import access
from app.api.context import Context
from app.api.paging import NamePrefix, QueryRowId
from app.api.problems import ProblemException
from app.api.routing import router as make_router
from app.core.config import ExportSettings
from app.core.scopes import Scope
from app.services.export import ExportFormat
from app.services.items import ItemFilter
from app.utils.accept import acceptable

router = make_router(prefix="/items", tags=["items"])

MEDIA_TYPES = {ExportFormat.csv: "text/csv", ExportFormat.ndjson: "application/x-ndjson"}


class ExportQuery(BaseModel):
    """What is exported, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[ExportFormat, Query(description="Lines of CSV (RFC 4180) or of JSON.")]
    owner_id: Annotated[QueryRowId | None, Query(description="Items of this user.")] = None
    name: Annotated[NamePrefix | None, Query(description="Items whose name begins so, by code point.")] = None


class BoundedStream(StreamingResponse):
    """A stream that its reader can't hold open: each chunk must be taken in time, and the whole has a time too."""

    def __init__(self, chunks: AsyncIterator[bytes], headers: dict[str, str], settings: ExportSettings) -> None:
        super().__init__(chunks, headers=headers)
        self.settings = settings

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """ASGI. When a time is over the connection is cut, so that the client does not take a part for the whole."""
        scope["state"]["deadline"].cancel()  # the request's deadline is for answers that begin; this one has begun

        async def send_in_time(message: dict[str, object]) -> None:
            async with asyncio.timeout(self.settings.stall_seconds):
                await send(message)

        async with asyncio.timeout(self.settings.max_seconds):
            await super().__call__(scope, receive, send_in_time)  # type: ignore[arg-type]  # a message is a mapping


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {media: {"schema": {"type": "string"}} for media in MEDIA_TYPES.values()}}},
)
@access(Scope.items_read, produces=tuple(MEDIA_TYPES.values()))
async def export_items(context: Context, query: Annotated[ExportQuery, Query()]) -> Response:
    """Export items: one consistent snapshot, streamed."""
    media = MEDIA_TYPES[query.format]
    if acceptable(context.header("accept"), [media]) is None:
        raise ProblemException("not-acceptable", f"This format is available as {media}.")
    headers = {
        "Content-Type": f"{media}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="items.{query.format.value}"',
        "Cache-Control": "no-store",
    }
    if context.request.scope["state"].get("head"):
        return Response(headers=headers)
    process = context.process
    chunks = process.exports.items(ItemFilter(query.owner_id, query.name), query.format)
    first = await anext(chunks)
    return BoundedStream(_after(first, chunks), headers, process.settings.export)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
