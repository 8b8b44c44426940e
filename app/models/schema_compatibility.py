"""One row: the oldest code that runs on this schema. Written by migrations, read by ``app.core.schema``."""

from sqlalchemy import Column, Integer, Table

from app.models.base import Base

schema_compatibility = Table(
    "schema_compatibility",
    Base.metadata,
    Column("runs_code_from", Integer, nullable=False, comment="The oldest code revision that runs on this schema"),
)
