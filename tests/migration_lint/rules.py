"""The rules, in words: what each refuses, and what to do instead. ``checks`` finds it."""

from typing import Final, NamedTuple

LONGEST_LOCK_TIMEOUT_MS: Final = 5_000
"""``database.migration_lock_timeout`` as it comes."""


class Rule(NamedTuple):
    """What is refused, and what to do instead."""

    refuses: str
    instead: str


RULES: Final = {
    "index-blocks-writes": Rule(
        "an index on an existing table without `CONCURRENTLY`: nobody can write until it is built",
        "`postgresql_concurrently=True` in an `autocommit_block()`",
    ),
    "drop-index-blocks": Rule(
        "`DROP INDEX` without `CONCURRENTLY`: it waits for all who use the table, and everybody waits for it",
        "`postgresql_concurrently=True` in an `autocommit_block()`",
    ),
    "concurrently-in-transaction": Rule(
        "`CONCURRENTLY` in a transaction, which PostgreSQL refuses",
        "`with op.get_context().autocommit_block():`",
    ),
    "index-left-invalid": Rule(
        "a concurrent index with nothing before it that removes a broken one: a failure leaves one, and `IF NOT EXISTS` keeps it",
        "first `op.drop_index(..., postgresql_concurrently=True, if_exists=True)`, then create it",
    ),
    "not-null-without-default": Rule(
        "a new column that is `NOT NULL` and has no default: it fails on a table with rows, and running code does not fill it",
        "a constant `server_default`, or nullable first and `NOT NULL` in a later release",
    ),
    "set-not-null-scans": Rule(
        "`SET NOT NULL` without a valid `CHECK (column IS NOT NULL)`: the whole table is read while nobody can use it",
        "`CHECK (...) NOT VALID`, in the next migration `VALIDATE`, then `SET NOT NULL`, which then reads nothing",
    ),
    "constraint-scans": Rule(
        "`CHECK` or `FOREIGN KEY` on an existing table without `NOT VALID`: the whole table is read under a lock",
        "`postgresql_not_valid=True`, and `VALIDATE CONSTRAINT` in the next migration",
    ),
    "validate-too-early": Rule(
        "`VALIDATE CONSTRAINT` in the migration that makes the constraint: the strong lock is held for the long reading",
        "a migration of its own",
    ),
    "unique-builds-index": Rule(
        "`UNIQUE`, `PRIMARY KEY` or `EXCLUDE` on an existing table that builds its index under a lock",
        "a unique index, `CONCURRENTLY`, then `ADD CONSTRAINT ... UNIQUE USING INDEX` in the next migration",
    ),
    "change-type": Rule(
        "`ALTER COLUMN ... TYPE`: it writes the table anew, or else running code's prepared statements fail from then on",
        "a new column, filled in batches, and the old one dropped in a later release",
    ),
    "rewrites-table": Rule(
        "what writes an existing table or index anew, such as a column with a volatile default (`gen_random_uuid()`) or an identity",
        "a nullable column, then its default by `ALTER COLUMN ... SET DEFAULT`, then old rows in batches",
    ),
    "rename": Rule(
        "`RENAME` of a table or column: running code knows only the old name, new code only the new one",
        "a new one beside it, written by both, and the old one dropped in a later release",
    ),
    "contract-undeclared": Rule(
        "a drop (column, table, constraint, default, type, ...) in a migration that does not raise `runs_code_from`",
        "`UPDATE schema_compatibility SET runs_code_from = N`: the oldest code that does not need what is dropped",
    ),
    "tightening-undeclared": Rule(
        "`SET NOT NULL`, a constraint or a unique index on an existing table in a migration that does not raise `runs_code_from`",
        "raise it to the oldest code that never writes what is now refused; if all code never did, a waiver that says so",
    ),
    "compatibility-number": Rule(
        "`runs_code_from` lowered, or raised above the previous revision: then even the code that runs while this migrates is locked out",
        "a number from the present one to the previous revision",
    ),
    "lock-timeout": Rule(
        f"`lock_timeout` switched off, or above {LONGEST_LOCK_TIMEOUT_MS // 1000} s: who waits for a table makes all others wait",
        "leave it; what fails is tried again by the Job",
    ),
    "locks-table": Rule(
        "`LOCK TABLE`, `TRUNCATE`, `VACUUM FULL`, `CLUSTER`, `REINDEX` or `REFRESH MATERIALIZED VIEW` without `CONCURRENTLY`",
        "`CONCURRENTLY` where there is one, deleting in batches, or maintenance outside of migrations",
    ),
    "unbatched-data": Rule(
        "`UPDATE`, `DELETE` or `MERGE` on an existing table in one piece: its locks last until all rows are done",
        "in an `autocommit_block()`, repeated for rows that a sub-select with `LIMIT` names, until none is left",
    ),
    "slow-with-ddl": Rule(
        "data or `VALIDATE` in one transaction with a change to an existing table, whose lock lasts that long",
        "a migration of its own",
    ),
    "half-done": Rule(
        "changes that are committed before the migration's end and can't be done twice: a second try meets them",
        "in an `autocommit_block()` only what can be repeated, and nothing before it in the same migration",
    ),
    "transaction-control": Rule(
        "`BEGIN`, `COMMIT`, `ROLLBACK` or `SAVEPOINT`: transactions are Alembic's, one a migration",
        "`with op.get_context().autocommit_block():`",
    ),
    "opaque": Rule("`DO` or `CALL`: nobody can see what is in it", "the statements themselves"),
    "fails": Rule("what PostgreSQL refuses", "mend it"),
    "no-way-back": Rule(
        "no `downgrade()`, or an empty one, or one that raises without a reason",
        'take the changes back, or `raise NotImplementedError("why not")`',
    ),
    "bad-waiver": Rule(
        "`LINT_ALLOWED` with an unknown rule, without a reason, or for a rule that finds nothing",
        "remove or correct the entry",
    ),
}
