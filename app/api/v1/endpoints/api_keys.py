"""``/api-keys``. ``keys:admin`` is every scope in effect: who may make keys may make one with any scope."""

from typing import Annotated

from fastapi import Query, Response

from app.api.access import access
from app.api.context import Context
from app.api.paging import PageQuery, Paging
from app.api.responses import JSON, answered, no_content, page, resource
from app.api.retries import once
from app.api.routing import router as make_router
from app.api.v1 import BASE
from app.core.scopes import Scope
from app.schemas.api_keys import ApiKeyCreate, ApiKeyIssued, ApiKeyRead, ApiKeyRotate
from app.schemas.pages import Page
from app.schemas.types import RowId
from app.services import api_keys
from app.services.api_keys import Issued
from app.services.idempotency import Answer
from app.utils.etags import strong_etag

COLLECTION = f"{BASE}/api-keys"
router = make_router(prefix=COLLECTION, tags=["api-keys"])


def issued(issue: Issued) -> Answer:
    """201 with the key's secret; what is remembered for a replay has ``null`` in its place."""
    row, secret = issue
    shown = ApiKeyRead.model_validate(row)
    headers = {"Location": f"{COLLECTION}/{row.id}", "ETag": strong_etag(row.version), "Content-Type": JSON}

    def body(key: str | None) -> bytes:
        return ApiKeyIssued(**dict(shown), key=key).model_dump_json().encode()

    return Answer(201, headers, body(secret.get_secret_value()), stored_body=body(None))


@router.post("", status_code=201, response_model=ApiKeyIssued)
@access(Scope.keys_admin)
async def create_api_key(context: Context, new: ApiKeyCreate) -> Response:
    """Issue a key. Its secret is in this answer, and nowhere else."""
    process = context.process
    answer = await api_keys.create_key(context.database, process.ring, new, await once(context, issued))
    return answered(answer, cache_control="no-store")


@router.get("", response_model=Page[ApiKeyRead])
@access(Scope.keys_admin)
async def list_api_keys(context: Context, query: Annotated[PageQuery, Query()]) -> Response:
    """List the keys that are not revoked, a page at a time."""
    paging = Paging(context, "api-keys", query, {})
    found = await api_keys.list_keys(context.database, **paging.arguments())
    return page(context, Page[ApiKeyRead], found.rows, paging.next_cursor(found.next_after))


@router.get("/{key_id:row}", response_model=ApiKeyRead)
@access(Scope.keys_admin)
async def get_api_key(context: Context, key_id: RowId) -> Response:
    """Read a key, without its secret."""
    return resource(context, ApiKeyRead, await api_keys.read_key(context.database, key_id))


@router.delete("/{key_id:row}", status_code=204)
@access(Scope.keys_admin, produces=())
async def revoke_api_key(context: Context, key_id: RowId) -> Response:
    """Revoke a key, at once in this process and within `security.key_cache_seconds` in all others."""
    with context.process.callers.changing(key_id):
        await api_keys.revoke_key(context.database, key_id, context.versions())
    return no_content()


@router.post("/{key_id:row}/rotate", status_code=201, response_model=ApiKeyIssued)
@access(Scope.keys_admin)
async def rotate_api_key(context: Context, key_id: RowId, how: ApiKeyRotate | None = None) -> Response:
    """Give a key a new secret; the former one stays valid for the overlap."""
    process = context.process
    asked = how.overlap_seconds if how is not None else None
    overlap = process.settings.security.rotation_overlap_seconds if asked is None else asked
    with process.callers.changing(key_id):
        answer = await api_keys.rotate_key(context.database, process.ring, key_id, overlap, await once(context, issued))
    return answered(answer, cache_control="no-store")
