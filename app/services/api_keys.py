"""API keys: issued, listed, rotated, revoked. A key's secret leaves this module once, in the answer that issues it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from sqlalchemy import Row, Select, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_nothing

from app.core.database import Database, WriteSession
from app.core.scopes import Scope
from app.core.security import KeyRing
from app.models import ApiKey, ApiKeySecret
from app.schemas.api_keys import ApiKeyCreate
from app.services.errors import FieldInvalid, NotFound
from app.services.idempotency import Answer, Once
from app.services.pages import Position, Slice, Sort, read_slice
from app.services.versions import Versions, update_row

COLUMNS = ApiKey.__table__.columns
ACTIVE = ApiKey.revoked_at.is_(None)
"""Revoked keys are kept as rows, and shown by the CLI alone."""

Issued = tuple[Row[Any], SecretStr]
"""A key's row and its secret."""


async def issue_key(session: WriteSession, ring: KeyRing, new: ApiKeyCreate) -> Issued:
    """Make a key. Raises ``FieldInvalid`` when it would be expired from the start."""
    if new.expires_at is not None and new.expires_at <= datetime.now(UTC):
        raise FieldInvalid("must be in the future", "/expires_at")
    scopes = list(dict.fromkeys(scope.value for scope in new.scopes))
    values = {"name": new.name, "scopes": scopes, "expires_at": new.expires_at}
    row = (await session.execute(insert(ApiKey).values(values).returning(*COLUMNS))).one()
    return row, await _add_secret(session, ring, row.id)


async def create_key(database: Database, ring: KeyRing, new: ApiKeyCreate, once: Once[Issued]) -> Answer:
    """Make a key, for the API. ``once`` renders an ``Issued``."""

    async def effect(session: WriteSession) -> Issued:
        return await issue_key(session, ring, new)

    async with database.transaction() as session:
        return await once(session, effect)


async def list_keys(database: Database, *, sort: Sort, after: Position | None, limit: int) -> Slice:
    """A page of the keys that are not revoked."""
    async with database.read() as session:
        return await read_slice(session, select(*COLUMNS).where(ACTIVE), ApiKey, sort=sort, after=after, limit=limit)


async def all_keys(database: Database) -> Sequence[Row[Any]]:
    """Every key that ever was, for the operator."""
    async with database.read() as session:
        return (await session.execute(select(*COLUMNS).order_by(ApiKey.id))).all()


async def read_key(database: Database, key_id: int) -> Row[Any]:
    """One key that is not revoked. Raises ``NotFound``."""
    async with database.read() as session:
        row = (await session.execute(select(*COLUMNS).where(ApiKey.id == key_id, ACTIVE))).one_or_none()
    if row is None:
        raise NotFound
    return row


async def rotate_key(
    database: Database, ring: KeyRing, key_id: int, overlap_seconds: int, once: Once[Issued]
) -> Answer:
    """Give the key a new secret; the former ones end after the overlap (or sooner, if they would have). Raises ``NotFound``."""

    async def effect(session: WriteSession) -> Issued:
        await _lock_active(session, key_id)
        row = await update_row(session, ApiKey, key_id, None, {})
        ends = func.now() + timedelta(seconds=overlap_seconds)
        await session.execute(
            update(ApiKeySecret)
            .where(
                ApiKeySecret.api_key_id == key_id,
                or_(ApiKeySecret.expires_at.is_(None), ApiKeySecret.expires_at > ends),
            )
            .values(expires_at=ends)
        )
        return row, await _add_secret(session, ring, key_id)

    async with database.transaction() as session:
        return await once(session, effect)


async def revoke_key(database: Database, key_id: int, versions: Versions) -> None:
    """End the key for good. Raises ``NotFound``, ``VersionMismatch``."""
    async with database.transaction() as session:
        await _lock_active(session, key_id)
        await update_row(session, ApiKey, key_id, versions, {"revoked_at": func.now()})


async def register_bootstrap_key(database: Database, ring: KeyRing, secret: SecretStr) -> bool:
    """Register a key that was made offline, with every scope. Returns False when it is known already, revoked or not.

    Raises ``ValueError`` when it is no key of these peppers.
    """
    presented = ring.read(secret.get_secret_value())
    if presented is None:
        raise ValueError("security.bootstrap_key is no key made with these peppers; use `gantry keys create --offline`")
    async with database.transaction() as session:
        values = {"id": presented.key_id, "name": "bootstrap", "scopes": [scope.value for scope in Scope]}
        made = await session.scalar(
            insert_or_nothing(ApiKey).values(values).on_conflict_do_nothing().returning(ApiKey.id)
        )
        if made is None:
            return False
        await session.execute(insert(ApiKeySecret).values(api_key_id=made, digest=presented.digest))
    return True


async def _add_secret(session: WriteSession, ring: KeyRing, key_id: int) -> SecretStr:
    secret = ring.mint(key_id)
    digest = ring.digest(secret.get_secret_value())
    await session.execute(insert(ApiKeySecret).values(api_key_id=key_id, digest=digest))
    return secret


async def _lock_active(session: WriteSession, key_id: int) -> None:
    held = await session.scalar(select(ApiKey.id).where(ApiKey.id == key_id, ACTIVE).with_for_update())
    if held is None:
        raise NotFound


def select_secrets(key_id: int) -> Select[*tuple[Any, ...]]:
    """The key and its secrets that have not ended, if it is not revoked: what identifying a caller needs."""
    return (
        select(
            ApiKey.id,
            ApiKey.name,
            ApiKey.scopes,
            ApiKey.expires_at,
            ApiKeySecret.digest,
            ApiKeySecret.expires_at.label("ends"),
        )
        .join(ApiKeySecret, ApiKeySecret.api_key_id == ApiKey.id)
        .where(
            ApiKey.id == key_id,
            ACTIVE,
            or_(ApiKeySecret.expires_at.is_(None), ApiKeySecret.expires_at > func.now()),
        )
    )
