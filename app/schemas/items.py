"""Items on the wire."""

from pydantic import ConfigDict, Field

from app.schemas.types import Description, Input, Name, Output, Patch, RowId, Timestamp


class ItemCreate(Input):
    """An item to be made."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Difference engine", "description": "Bronze, with a crank"}]}
    )

    name: Name
    description: Description | None = None
    owner_id: RowId | None = None


class ItemPatch(Patch):
    """A merge patch of an item (RFC 7396): only what it names is changed; ``null`` clears the description or the owner."""

    name: Name = Field(default="")
    description: Description | None = None
    owner_id: RowId | None = None


class ItemRead(Output):
    """An item."""

    id: RowId
    name: Name
    description: Description | None
    owner_id: RowId | None
    created_at: Timestamp
    updated_at: Timestamp
