"""API keys on the wire. The key itself appears in one answer, once."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field

from app.core.scopes import Scope
from app.schemas.types import Input, Instant, Name, Output, RowId, Timestamp

OVERLAP_MAX = 30 * 86_400
"""Seconds a rotated key's former secret may live on."""


def known_scopes(names: Iterable[str]) -> list[Scope]:
    """Those that this version has: while a newer one is rolled out, or back, a key may have others, which mean nothing here."""
    return [Scope(name) for name in names if name in Scope]


Scopes = Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=len(Scope))]
ScopesRead = Annotated[list[Scope], BeforeValidator(known_scopes)]
Secret = Annotated[str | None, Field(examples=["gantry_0000000000A_..."])]


class ApiKeyCreate(Input):
    """A key to be made."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "billing", "scopes": ["users:read"]}]})

    name: Name
    scopes: Scopes
    expires_at: Instant | None = None


class ApiKeyRotate(Input):
    """How a key is rotated."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}]})

    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_MAX)] | None = None
    """How long the former secret stays valid; absent: the server's setting."""


class ApiKeyRead(Output):
    """A key, without its secret."""

    id: RowId
    name: Name
    scopes: ScopesRead
    created_at: Timestamp
    updated_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None = Field(description="Coarse: up to some minutes old.")


class ApiKeyIssued(ApiKeyRead):
    """A key with its secret, shown this once."""

    key: Secret = Field(description="The key, to be sent as X-API-Key. Shown once; null when the answer is a replay.")


class Caller(Output):
    """Who is calling."""

    message: str
    key_id: RowId
    name: Name
    scopes: ScopesRead
