"""The table of remembered answers, for ``Idempotency-Key``."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Index, LargeBinary, SmallInteger, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class IdempotencyRecord(Base):
    """What one request with an ``Idempotency-Key`` was answered; written in the transaction of its effect.

    The key's scope is the caller, the method and the route, so that nobody meets another's answer.
    """

    __tablename__ = "idempotency_records"
    __table_args__ = (Index(None, "expires_at"),)

    caller_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    operation: Mapped[str] = mapped_column(Text, primary_key=True)
    """Method and path: ``POST /api/v1/users``."""
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary)
    """SHA-256 of the payload: the same key with another one is refused."""
    status: Mapped[int | None] = mapped_column(SmallInteger)
    headers: Mapped[dict[str, str] | None] = mapped_column(JSONB)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
