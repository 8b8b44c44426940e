"""``/items/export``: all items that pass the list's filters, as one stream."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

import structlog
from fastapi import Query, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy.exc import DBAPIError
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Send
from starlette.types import Scope as AsgiScope

from app.api.access import access
from app.api.context import Context
from app.api.paging import NamePrefix, QueryRowId
from app.api.problems import ProblemException
from app.api.routing import router as make_router
from app.api.v1.endpoints.items import COLLECTION
from app.core.config import ExportSettings
from app.core.scopes import Scope
from app.services.export import ExportFormat
from app.services.items import ItemFilter
from app.utils.accept import acceptable

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.export")

router = make_router(prefix=COLLECTION, tags=["items"])

MEDIA_TYPES = {ExportFormat.csv: "text/csv", ExportFormat.ndjson: "application/x-ndjson"}


class ExportQuery(BaseModel):
    """What is exported, and how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Annotated[ExportFormat, Query(description="Lines of CSV (RFC 4180) or of JSON.")]
    owner_id: Annotated[QueryRowId | None, Query(description="Items of this user.")] = None
    name: Annotated[NamePrefix | None, Query(description="Items whose name begins so, by code point.")] = None


class BoundedStream(StreamingResponse):
    """A stream that its reader can't hold open: each chunk must be taken in time, and the whole has a time too.

    A client that leaves is noticed between two chunks. Starlette would cancel whatever is going on, again and again until it ends, which
    costs the database connection.
    """

    def __init__(self, chunks: AsyncGenerator[bytes], headers: dict[str, str], settings: ExportSettings) -> None:
        super().__init__(chunks, headers=headers)
        self.chunks = chunks
        self.settings = settings

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """ASGI. What the first chunk raises can still be answered; after that, only cutting the connection tells a part from the whole."""
        async with aclosing(self.chunks):
            first = await anext(self.chunks, b"")
            client_left = asyncio.create_task(_disconnect(receive))

            async def send_in_time(message: Message) -> None:
                if client_left.done():
                    raise ClientDisconnect
                async with asyncio.timeout(self.settings.stall_seconds):
                    await send(message)

            self.body_iterator = _after(first, self.chunks)
            try:
                async with asyncio.timeout(self.settings.max_seconds):
                    await self.stream_response(send_in_time)
            except (TimeoutError, DBAPIError) as error:
                log.warning("export_cut", request_id=scope["state"]["request_id"], cause=type(error).__name__)
                raise ClientDisconnect from error  # passed by, like one who left: the server closes what is incomplete
            finally:
                client_left.cancel()


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
    if context.scope["state"].get("head"):
        answer = Response(headers=headers)
        del answer.headers["Content-Length"]  # a stream has none (RFC 9110 §9.3.2)
        return answer
    process = context.process
    chunks = process.exports.items(ItemFilter(query.owner_id, query.name), query.format)
    return BoundedStream(chunks, headers, process.settings.export)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
