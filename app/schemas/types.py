"""The types that wire models are made of: bounded, strict, and free of what PostgreSQL can't store."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

INT64_MAX = 2**63 - 1
"""The largest id: PostgreSQL's bigint."""


def storable(value: str) -> str:
    """The string, if PostgreSQL can store it and UTF-8 encode it: no NUL, no lone surrogate. Raises ``ValueError`` otherwise."""
    if "\0" in value:
        raise ValueError("must not contain the character U+0000")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode, without lone surrogates") from None
    return value


Storable = AfterValidator(storable)

Name = Annotated[str, Field(min_length=1, max_length=200, examples=["Ada Lovelace"]), Storable]
Description = Annotated[str, Field(max_length=10_000, examples=["Bronze, with a crank"]), Storable]
RowId = Annotated[int, Field(ge=1, le=INT64_MAX, json_schema_extra={"format": "int64"}, examples=[42])]


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Timestamp = Annotated[
    AwareDatetime,
    PlainSerializer(_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-23T12:00:00.000000Z"]}),
]
"""RFC 3339, always UTC with a ``Z`` and microseconds: one row has one spelling."""


def _instant(value: object) -> object:
    """Only a string that names its offset is an instant: pydantic would take a number for seconds since 1970."""
    if not isinstance(value, str):
        raise ValueError("must be a time such as 2026-11-23T12:00:00Z")  # noqa: TRY004 - pydantic takes ValueError
    return value


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999 in UTC") from None


Instant = Annotated[Timestamp, Field(strict=False), BeforeValidator(_instant), AfterValidator(_in_utc)]
"""A time in a request: RFC 3339 with an offset."""


class Input(BaseModel):
    """A request body: no coercion (``"1"`` is not 1), and an unknown member is an error."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class Output(BaseModel):
    """An answer, read from a row's attributes; what it does not name is not shown."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


def _without_defaults(schema: dict[str, Any]) -> None:
    for member in schema.get("properties", {}).values():
        member.pop("default", None)


class Patch(Input):
    """A merge patch (RFC 7396). Every member may be absent; the defaults that pydantic needs for that are never used or shown."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)


def changes(patch: Patch) -> dict[str, Any]:
    """The members that a merge patch (RFC 7396) really has: an absent one leaves the value, ``null`` clears it."""
    return {name: getattr(patch, name) for name in patch.model_fields_set}
