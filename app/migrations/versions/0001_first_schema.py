"""Users, items, API keys, remembered answers, and what code the schema accepts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

TIMESTAMP = sa.DateTime(timezone=True)
SORTED_TEXT = sa.Text(collation="C")


def _versioned_row() -> list[sa.Column[object]]:
    return [
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("version", sa.BigInteger, server_default="1", nullable=False),
        sa.Column("created_at", TIMESTAMP, server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", TIMESTAMP, server_default=sa.func.now(), nullable=False),
    ]


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "schema_compatibility",
        sa.Column(
            "runs_code_from", sa.Integer, nullable=False, comment="The oldest code revision that runs on this schema"
        ),
    )
    op.execute("INSERT INTO schema_compatibility (runs_code_from) VALUES (1)")
    op.create_table(
        "users",
        *_versioned_row(),
        sa.Column("name", SORTED_TEXT, nullable=False),
        sa.Column("email", sa.Text, nullable=False),
        sa.Column("email_key", SORTED_TEXT, nullable=False),
        sa.Column("age", sa.Integer, nullable=False),
        sa.CheckConstraint("age BETWEEN 0 AND 150", name=op.f("ck_users_age_range")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email_key", name=op.f("uq_users_email_key")),
    )
    op.create_index(op.f("ix_users_created_at_id"), "users", ["created_at", "id"])
    op.create_index(op.f("ix_users_name_id"), "users", ["name", "id"])
    op.create_table(
        "items",
        *_versioned_row(),
        sa.Column("name", SORTED_TEXT, nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("owner_id", sa.BigInteger),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_items_owner_id_users"), ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
    )
    op.create_index(op.f("ix_items_created_at_id"), "items", ["created_at", "id"])
    op.create_index(op.f("ix_items_name_id"), "items", ["name", "id"])
    op.create_index(op.f("ix_items_owner_id_id"), "items", ["owner_id", "id"])
    op.create_index(op.f("ix_items_owner_id_created_at_id"), "items", ["owner_id", "created_at", "id"])
    op.create_index(op.f("ix_items_owner_id_name_id"), "items", ["owner_id", "name", "id"])
    op.create_table(
        "api_keys",
        *_versioned_row(),
        sa.Column("name", SORTED_TEXT, nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("expires_at", TIMESTAMP),
        sa.Column("revoked_at", TIMESTAMP),
        sa.Column("last_used_at", TIMESTAMP),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    for columns in (["id"], ["created_at", "id"], ["name", "id"]):
        name = op.f(f"ix_api_keys_{'_'.join(columns)}")
        op.create_index(name, "api_keys", columns, postgresql_where=sa.text("revoked_at IS NULL"))
    op.create_table(
        "api_key_secrets",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("api_key_id", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIMESTAMP, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", TIMESTAMP),
        sa.ForeignKeyConstraint(
            ["api_key_id"], ["api_keys.id"], name=op.f("fk_api_key_secrets_api_key_id_api_keys"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_key_secrets")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_key_secrets_digest")),
    )
    op.create_index(op.f("ix_api_key_secrets_api_key_id"), "api_key_secrets", ["api_key_id"])
    op.create_table(
        "idempotency_records",
        sa.Column("caller_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.SmallInteger),
        sa.Column("headers", postgresql.JSONB),
        sa.Column("body", sa.LargeBinary),
        sa.Column("created_at", TIMESTAMP, server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", TIMESTAMP, nullable=False),
        sa.PrimaryKeyConstraint("caller_id", "operation", "key", name=op.f("pk_idempotency_records")),
    )
    op.create_index(op.f("ix_idempotency_records_expires_at"), "idempotency_records", ["expires_at"])


def downgrade() -> None:
    """Drop them."""
    for table in ("idempotency_records", "api_key_secrets", "api_keys", "items", "users", "schema_compatibility"):
        op.drop_table(table)
