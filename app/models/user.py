"""The table of users."""

from sqlalchemy import CheckConstraint, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import SortedText, VersionedRow


class User(VersionedRow):
    """A person known to the API."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("age BETWEEN 0 AND 150", name="age_range"),
        # One index for each order a list can be read in; `id` is the tie-breaker of the keyset.
        Index(None, "created_at", "id"),
        Index(None, "name", "id"),
    )

    name: Mapped[str] = mapped_column(SortedText)
    email: Mapped[str] = mapped_column(Text)
    """As the user writes it."""
    email_key: Mapped[str] = mapped_column(SortedText, unique=True)
    """As addresses are compared: ``app.utils.emails.email_key``. Not the database's lower(), which depends on its locale."""
    age: Mapped[int] = mapped_column(Integer)
