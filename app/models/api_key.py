"""The tables of API keys: who may call, and the hashed secrets they prove it with."""

from datetime import datetime

from sqlalchemy import ARRAY, BigInteger, DateTime, ForeignKey, Identity, Index, LargeBinary, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.models.base import Base, SortedText, VersionedRow


class ApiKey(VersionedRow):
    """A caller. What the caller owns refers to its id, which outlives every rotation of its secret."""

    __tablename__ = "api_keys"
    # Lists show the keys that are not revoked, in one of these orders.
    __table_args__ = (
        Index(None, "id", postgresql_where=text("revoked_at IS NULL")),
        Index(None, "created_at", "id", postgresql_where=text("revoked_at IS NULL")),
        Index(None, "name", "id", postgresql_where=text("revoked_at IS NULL")),
    )

    name: Mapped[str] = mapped_column(SortedText)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    revoked_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """The row stays after revocation: what the caller did still has a name, and the id is never given again."""
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """Coarse: written in batches, at most once per ``security.last_used_seconds``."""

    secrets: Mapped[list["ApiKeySecret"]] = relationship(lazy="raise", back_populates="api_key")


class ApiKeySecret(Base):
    """One secret of a key; after a rotation the former one lives on until ``expires_at``."""

    __tablename__ = "api_key_secrets"
    __table_args__ = (Index(None, "api_key_id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    api_key_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("api_keys.id", ondelete="CASCADE"))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    """HMAC-SHA256 of the whole key with a pepper; the key itself is stored nowhere."""
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))

    api_key: Mapped[ApiKey] = relationship(lazy="raise", back_populates="secrets")
