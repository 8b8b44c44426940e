"""Migrations that are refused, with the rules they break, and ones that are not."""

from textwrap import indent

BASE = '''
"""Two tables with rows."""
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("""
        CREATE TABLE schema_compatibility (runs_code_from int NOT NULL);
        INSERT INTO schema_compatibility VALUES (1);
        CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL DEFAULT '', age int, code varchar(10),
            CONSTRAINT filled CHECK (age IS NOT NULL), CONSTRAINT named CHECK (name <> 'x'));
        CREATE TABLE items (id bigint PRIMARY KEY, owner_id bigint, note text);
        CREATE INDEX ix_items_owner_id ON items (owner_id);
        CREATE MATERIALIZED VIEW ages AS SELECT age FROM users;
        INSERT INTO users SELECT n, n, n, n FROM generate_series(1, 25) AS n;
        INSERT INTO items SELECT n, n FROM generate_series(1, 25) AS n;
    """)


def downgrade() -> None:
    op.execute("DROP MATERIALIZED VIEW ages; DROP TABLE items, users, schema_compatibility")
'''
EMPTY = """
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("SELECT 1")


def downgrade() -> None:
    op.execute("SELECT 1")
"""
CASE = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
{more}

def upgrade() -> None:
{body}


def downgrade() -> None:
    op.execute("SELECT 1")
"""
RAISE = "op.execute('UPDATE schema_compatibility SET runs_code_from = 2')"


def sql(*statements: str, contract: bool = False) -> str:
    """The body of a migration that runs these in its transaction."""
    return "\n".join([f"op.execute({statement!r})" for statement in statements] + [RAISE] * contract)


def alone(*statements: str) -> str:
    """The body of a migration that runs these outside of a transaction."""
    return "with op.get_context().autocommit_block():\n" + indent(sql(*statements), "    ")


BATCH = "UPDATE users SET note = name WHERE id IN (SELECT id FROM users WHERE note IS NULL LIMIT 10)"
BATCHES = f"""
with op.get_context().autocommit_block():
    op.execute("SELECT 1")
    while op.get_bind().execute(sa.text("{BATCH.replace("note", "code")} AND code IS NULL")).rowcount:
        pass
"""

REFUSED = [
    ("index-blocks-writes", sql("CREATE INDEX i ON users (age)")),
    ("index-blocks-writes", 'op.create_index("i", "users", ["age"])'),
    ("index-blocks-writes", sql("CREATE INDEX IF NOT EXISTS i ON public.users (age)")),
    ("drop-index-blocks", sql("DROP INDEX ix_items_owner_id")),
    ("drop-index-blocks", 'op.drop_index("ix_items_owner_id")'),
    ("concurrently-in-transaction index-left-invalid fails", sql("CREATE INDEX CONCURRENTLY i ON users (age)")),
    ("concurrently-in-transaction fails", sql("DROP INDEX CONCURRENTLY ix_items_owner_id")),
    ("index-left-invalid", alone("CREATE INDEX CONCURRENTLY i ON users (age)")),
    ("index-left-invalid", alone("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON users (age)")),
    (
        "index-left-invalid",
        alone("DROP INDEX CONCURRENTLY IF EXISTS other", "CREATE INDEX CONCURRENTLY i ON users (age)"),
    ),
    ("not-null-without-default fails", sql("ALTER TABLE users ADD COLUMN x int NOT NULL")),
    ("not-null-without-default fails", 'op.add_column("users", sa.Column("x", sa.Integer, nullable=False))'),
    ("set-not-null-scans", sql("ALTER TABLE items ALTER COLUMN owner_id SET NOT NULL", contract=True)),
    (
        "set-not-null-scans",
        sql(
            "ALTER TABLE items ADD CONSTRAINT c CHECK (owner_id IS NOT NULL) NOT VALID",
            "ALTER TABLE items ALTER COLUMN owner_id SET NOT NULL",
            contract=True,
        ),
    ),
    ("set-not-null-scans", sql("ALTER TABLE items ADD CONSTRAINT n NOT NULL owner_id", contract=True)),
    (
        "set-not-null-scans constraint-scans",
        sql(
            "ALTER TABLE items ADD CONSTRAINT c CHECK (owner_id IS NOT NULL), ALTER COLUMN owner_id SET NOT NULL",
            contract=True,
        ),
    ),
    ("constraint-scans", sql("ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0)", contract=True)),
    (
        "constraint-scans",
        sql("ALTER TABLE items ADD FOREIGN KEY (owner_id) REFERENCES users (id)", contract=True),
    ),
    ("constraint-scans", sql("ALTER TABLE users ADD COLUMN x int CHECK (x > 0)")),
    (
        "constraint-scans",
        sql("ALTER TABLE items ADD COLUMN x bigint DEFAULT 1 REFERENCES users (id)"),
    ),
    (
        "validate-too-early slow-with-ddl",
        sql(
            "ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID",
            "ALTER TABLE users VALIDATE CONSTRAINT c",
            contract=True,
        ),
    ),
    ("unique-builds-index", sql("ALTER TABLE users ADD UNIQUE (name)", contract=True)),
    ("unique-builds-index", 'op.create_unique_constraint("u", "users", ["name"])\n' + RAISE),
    ("unique-builds-index", sql("ALTER TABLE users ADD COLUMN x int UNIQUE")),
    ("change-type", sql("ALTER TABLE items ALTER COLUMN owner_id TYPE int")),
    ("change-type", sql("ALTER TABLE users ALTER COLUMN code TYPE varchar(20)")),  # no rewrite
    ("rewrites-table", sql("ALTER TABLE users ADD COLUMN x uuid DEFAULT gen_random_uuid()")),
    ("rewrites-table", sql("ALTER TABLE users ADD COLUMN x uuid NOT NULL DEFAULT gen_random_uuid()")),
    ("rewrites-table", sql("ALTER TABLE users ADD COLUMN x bigint GENERATED ALWAYS AS IDENTITY")),
    ("rewrites-table", sql("ALTER TABLE users ADD COLUMN x int GENERATED ALWAYS AS (age * 2) STORED")),
    ("rewrites-table", sql("ALTER TABLE users SET UNLOGGED")),
    ("rename", sql("ALTER TABLE users RENAME TO people")),
    ("rename", 'op.alter_column("users", "name", new_column_name="label")'),
    ("contract-undeclared", sql("ALTER TABLE users DROP COLUMN code")),
    ("contract-undeclared", sql("ALTER TABLE users DROP CONSTRAINT named")),
    ("contract-undeclared", sql("ALTER TABLE users ALTER COLUMN name DROP DEFAULT")),
    ("contract-undeclared", sql("DROP TABLE items")),
    ("contract-undeclared", sql("DROP MATERIALIZED VIEW ages")),
    ("tightening-undeclared set-not-null-scans", sql("ALTER TABLE items ALTER COLUMN owner_id SET NOT NULL")),
    ("tightening-undeclared", sql("ALTER TABLE users ADD CONSTRAINT c CHECK (age > 0) NOT VALID")),
    (
        "tightening-undeclared",
        alone("DROP INDEX CONCURRENTLY IF EXISTS i", "CREATE UNIQUE INDEX CONCURRENTLY i ON users (name)"),
    ),
    ("compatibility-number", sql("UPDATE schema_compatibility SET runs_code_from = 3")),
    ("compatibility-number", sql("UPDATE schema_compatibility SET runs_code_from = 0")),
    ("compatibility-number", sql("DELETE FROM schema_compatibility")),
    ("lock-timeout", sql("SET lock_timeout = 0")),
    ("lock-timeout", sql("SET LOCAL lock_timeout = '1min'")),
    ("lock-timeout", sql("RESET lock_timeout")),
    ("lock-timeout", sql("SELECT set_config('lock_timeout', '0', true)")),
    ("locks-table", sql("LOCK TABLE users IN SHARE MODE")),
    ("locks-table", sql("TRUNCATE items")),
    ("locks-table", alone("VACUUM FULL users")),
    ("locks-table", alone("VACUUM (FULL, ANALYZE) users")),
    ("locks-table", sql("CLUSTER items USING ix_items_owner_id")),
    ("locks-table", sql("REINDEX TABLE items")),
    ("locks-table", sql("REFRESH MATERIALIZED VIEW ages")),
    ("unbatched-data", sql("UPDATE users SET age = 1")),
    ("unbatched-data", alone("DELETE FROM items")),
    ("unbatched-data", sql("DELETE FROM items WHERE id IN (SELECT id FROM items LIMIT 5)")),
    ("unbatched-data", alone("WITH gone AS (DELETE FROM items RETURNING id) SELECT count(*) FROM gone")),
    ("slow-with-ddl unbatched-data", sql("ALTER TABLE users ADD COLUMN x int", "UPDATE users SET x = age")),
    (
        "slow-with-ddl",
        sql("CREATE TABLE n (id bigint)", "ALTER TABLE users ADD COLUMN x int", "INSERT INTO n SELECT id FROM users"),
    ),
    ("half-done", alone("ALTER TABLE users ADD COLUMN x int")),
    ("half-done", alone("CREATE TABLE n (id bigint)")),
    ("half-done", sql("CREATE TABLE n (id bigint)") + "\n" + alone("ANALYZE users")),
    ("transaction-control fails", sql("COMMIT", "VACUUM users", "SAVEPOINT s")),
    ("opaque", sql("DO $$ BEGIN DROP TABLE items; END $$")),
    ("fails", sql("CREATE TABLE n (id bigint)", "ALTER TABLE n ADD COLUMN id bigint")),
]
ALLOWED = {
    "a new table, with all that belongs to it": """
op.create_table("n", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("user_id", sa.BigInteger))
op.create_index("ix_n", "n", ["user_id"], unique=True)
op.create_foreign_key("fk_n", "n", "users", ["user_id"], ["id"])
op.create_check_constraint(op.f("ck_n"), "n", "user_id > 0")
op.alter_column("n", "user_id", nullable=False)
op.execute("INSERT INTO n SELECT id, id FROM users")
op.execute("UPDATE n SET user_id = id")
op.alter_column("n", "user_id", type_=sa.Integer)
op.drop_constraint(op.f("ck_n"), "n")
op.execute("ALTER TABLE n ADD COLUMN u uuid DEFAULT gen_random_uuid()")
op.rename_table("n", "m")
""",
    "a nullable column": sql("ALTER TABLE users ADD COLUMN x int"),
    "a column with a constant": 'op.add_column("users", sa.Column("x", sa.Integer, server_default="1", nullable=False))',
    "a column with a default that is one for all rows": sql("ALTER TABLE users ADD COLUMN x timestamptz DEFAULT now()"),
    "a column that refers": sql("ALTER TABLE items ADD COLUMN x bigint REFERENCES users (id)"),
    "an index": """
with op.get_context().autocommit_block():
    op.drop_index("i", "users", postgresql_concurrently=True, if_exists=True)
    op.create_index("i", "users", ["age"], postgresql_concurrently=True)
""",
    "an index away": """
with op.get_context().autocommit_block():
    op.drop_index("ix_items_owner_id", if_exists=True, postgresql_concurrently=True)
""",
    "a constraint to be validated later": sql(
        "ALTER TABLE items ADD CONSTRAINT c CHECK (owner_id > 0) NOT VALID", contract=True
    ),
    "validation alone": sql("ALTER TABLE users VALIDATE CONSTRAINT named"),
    "not null that is known": sql("ALTER TABLE users ALTER COLUMN age SET NOT NULL"),
    "a declared drop": sql("ALTER TABLE users DROP COLUMN code", "DROP TABLE items", contract=True),
    "a default": sql("ALTER TABLE users ALTER COLUMN code SET DEFAULT gen_random_uuid()::text"),
    "batches": BATCHES,
    "a shorter lock time-out": sql("SET LOCAL lock_timeout = '1s'", "ALTER TABLE users ADD COLUMN x int"),
    "maintenance that blocks nobody": alone("VACUUM ANALYZE users", "REINDEX TABLE CONCURRENTLY items"),
    "an index with another name": sql("ALTER INDEX ix_items_owner_id RENAME TO ix_items_owner"),
    "percent signs and parameters": (
        "op.get_bind().execute(sa.text(\"SELECT 1 WHERE 'a' LIKE 'a%' AND :x = 1\"), {'x': 1})"
    ),
    "rows of a new table by the table's construct": (
        't = op.create_table("n", sa.Column("id", sa.BigInteger))\nop.bulk_insert(t, [{"id": 1}, {"id": 2}])'
    ),
}
