"""Users on the wire."""

from typing import Annotated

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, ConfigDict, Field, WithJsonSchema

from app.schemas.types import Input, Name, Output, Patch, RowId, Storable, Timestamp

EMAIL_MAX = 254
"""Characters; RFC 5321 §4.5.3.1.3 allows a path of 256 octets, which includes its angle brackets."""


def _email(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        raise ValueError("must be an e-mail address such as ada@example.com") from None


Email = Annotated[
    str,
    Field(min_length=3, max_length=EMAIL_MAX),
    Storable,
    AfterValidator(_email),
    WithJsonSchema(
        {"type": "string", "format": "email", "minLength": 3, "maxLength": EMAIL_MAX, "examples": ["ada@example.com"]}
    ),
]
"""Syntactically valid and normalised (RFC 5321, RFC 6531 for international ones); whether it receives mail is not asked."""

Age = Annotated[int, Field(ge=0, le=150, examples=[36])]
"""Whole years."""


class UserCreate(Input):
    """A user to be made."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Ada Lovelace", "email": "ada@example.com", "age": 36}]}
    )

    name: Name
    email: Email
    age: Age


class UserPatch(Patch):
    """A merge patch of a user (RFC 7396): only what it names is changed. No member can be null."""

    name: Name = Field(default="")
    email: Email = Field(default="")
    age: Age = Field(default=0)


class UserRead(Output):
    """A user."""

    id: RowId
    name: Name
    email: str = Field(examples=["ada@example.com"])
    age: Age
    created_at: Timestamp
    updated_at: Timestamp
