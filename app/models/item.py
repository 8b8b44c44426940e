"""The table of items."""

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import SortedText, VersionedRow
from app.models.user import User


class Item(VersionedRow):
    """A thing that a user may own."""

    __tablename__ = "items"
    __table_args__ = (
        # One index for each order a list can be read in, with and without the owner: see the list's allowed pairs.
        Index(None, "created_at", "id"),
        Index(None, "name", "id"),
        Index(None, "owner_id", "id"),
        Index(None, "owner_id", "created_at", "id"),
        Index(None, "owner_id", "name", "id"),
    )

    name: Mapped[str] = mapped_column(SortedText)
    description: Mapped[str | None] = mapped_column(Text)
    owner_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="RESTRICT"))

    owner: Mapped[User | None] = relationship(lazy="raise")
