"""Tables. Importing the package registers all of them with the metadata, which migrations are compared to."""

from app.models.api_key import ApiKey, ApiKeySecret
from app.models.base import Base
from app.models.idempotency import IdempotencyRecord
from app.models.item import Item
from app.models.schema_compatibility import schema_compatibility
from app.models.user import User

__all__ = ["ApiKey", "ApiKeySecret", "Base", "IdempotencyRecord", "Item", "User", "schema_compatibility"]
