"""Answers that endpoints give: one resource with its version, a page, an answer that may be a replay."""

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from pydantic import BaseModel
from sqlalchemy import Row
from starlette.responses import Response

from app.api.context import Context
from app.schemas.pages import Page
from app.services.errors import VersionMismatch
from app.services.idempotency import Answer
from app.utils.etags import strong_etag

JSON: Final = "application/json"
REVALIDATE: Final = "private, no-cache"
"""A client may keep its own resource, and asks each time whether it is still current (a 304 when it is)."""


def resource(context: Context, model: type[BaseModel], row: Any) -> Response:
    """200 with the row and its ETag, or 304 when the client has this version. Raises ``VersionMismatch``."""
    etag = strong_etag(row.version)
    headers = {"ETag": etag, "Cache-Control": REVALIDATE}
    if context.mismatched(etag):
        raise VersionMismatch
    if context.not_modified(etag):
        return Response(status_code=304, headers=headers)
    return Response(model.model_validate(row).model_dump_json(), 200, headers, JSON)


def changed(model: type[BaseModel], row: Any) -> Response:
    """200 with the row as it is after a change."""
    headers = {"ETag": strong_etag(row.version), "Cache-Control": REVALIDATE}
    return Response(model.model_validate(row).model_dump_json(), 200, headers, JSON)


def created(collection: str, model: type[BaseModel]) -> Callable[[Row[Any]], Answer]:
    """Renders 201 with the new row, its address below ``collection``, and its ETag."""

    def render(row: Row[Any]) -> Answer:
        headers = {"Location": f"{collection}/{row.id}", "ETag": strong_etag(row.version), "Content-Type": JSON}
        return Answer(201, headers, model.model_validate(row).model_dump_json().encode())

    return render


def answered(answer: Answer, *, cache_control: str = REVALIDATE) -> Response:
    """The answer, and whether it is a replay."""
    headers = answer.headers | {"Cache-Control": cache_control}
    if answer.replayed:
        headers["Idempotent-Replayed"] = "true"
    return Response(answer.body, answer.status, headers)


def no_content() -> Response:
    """204."""
    return Response(status_code=204, headers={"Cache-Control": "no-store"})


def page[T: BaseModel](
    context: Context, model: type[Page[T]], rows: Sequence[Row[Any]], cursor: str | None
) -> Response:
    """200 with a page; the ``Link`` header (RFC 8288) has the address of the next one."""
    body = model.model_validate({"items": rows, "next_cursor": cursor}, from_attributes=True)
    headers = {"Cache-Control": REVALIDATE}
    if cursor is not None:
        query = [(k, v) for k, v in context.query_params.multi_items() if k != "cursor"]
        target = f"{context.url.path.removesuffix('/')}?{urlencode([*query, ('cursor', cursor)])}"
        headers["Link"] = f'<{target}>; rel="next"'
    return Response(body.model_dump_json(), 200, headers, JSON)
