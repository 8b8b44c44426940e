"""Finds what ``rules.RULES`` refuses: each function looks at one statement of a migration and names the rules it breaks."""

from collections.abc import Callable, Iterator
from typing import Final

from pglast import ast, visitors
from pglast.enums import AlterTableType as Alter
from pglast.enums import ConstrType, ObjectType

from tests.migration_lint.recording import Recording, Statement
from tests.migration_lint.rules import LONGEST_LOCK_TIMEOUT_MS

DROPS: Final = {Alter.AT_DropColumn, Alter.AT_DropConstraint}
KEYS: Final = {ConstrType.CONSTR_UNIQUE, ConstrType.CONSTR_PRIMARY, ConstrType.CONSTR_EXCLUSION}
CHECKED: Final = {ConstrType.CONSTR_CHECK, ConstrType.CONSTR_FOREIGN}
FILLED: Final = {ConstrType.CONSTR_DEFAULT, ConstrType.CONSTR_IDENTITY, ConstrType.CONSTR_GENERATED}
DATA: Final = (ast.UpdateStmt, ast.DeleteStmt, ast.MergeStmt)
BOOKKEEPING: Final = "schema_compatibility"

Check = Callable[[Recording, Statement], Iterator[str]]


def _names(drop: ast.DropStmt) -> set[str]:
    """What it drops, without schemas."""
    parts = [
        item if isinstance(item, tuple) else getattr(item, "names", None) or (item,) for item in drop.objects or ()
    ]
    return {part[-1].sval or "" for part in parts if isinstance(part[-1], ast.String)}


def _existing(migration: Recording, relation: ast.RangeVar | None) -> bool:
    return relation is not None and relation.relname in migration.existing


def _commands(node: ast.Node) -> list[ast.AlterTableCmd]:
    return (
        [c for c in node.cmds or () if isinstance(c, ast.AlterTableCmd)] if isinstance(node, ast.AlterTableStmt) else []
    )


def _raises(migration: Recording) -> bool:
    before, after = migration.runs_code_from
    return (after or 0) > (before or 0)


def _validates(node: ast.Node) -> set[str]:
    return {c.name or "" for c in _commands(node) if c.subtype is Alter.AT_ValidateConstraint}


def _indexes(migration: Recording, statement: Statement) -> Iterator[str]:
    match statement.node:
        case ast.IndexStmt(relation=table, concurrent=concurrent, idxname=name, unique=unique) if _existing(
            migration, table
        ):
            if not concurrent:
                yield "index-blocks-writes"
            else:
                if statement.transaction is not None:
                    yield "concurrently-in-transaction"
                earlier = migration.statements[: migration.statements.index(statement)]
                if not any(isinstance(s.node, ast.DropStmt) and name in _names(s.node) for s in earlier):
                    yield "index-left-invalid"
            if unique and not _raises(migration):
                yield "tightening-undeclared"
        case ast.DropStmt(removeType=ObjectType.OBJECT_INDEX, concurrent=concurrent):
            if not concurrent:
                yield "drop-index-blocks"
            elif statement.transaction is not None:
                yield "concurrently-in-transaction"


def _columns_and_constraints(migration: Recording, statement: Statement) -> Iterator[str]:
    node = statement.node
    if not isinstance(node, ast.AlterTableStmt) or not _existing(migration, node.relation):
        return
    table = (node.relation and node.relation.relname) or ""
    for change in _commands(node):
        match change:
            case ast.AlterTableCmd(subtype=Alter.AT_AddColumn, def_=ast.ColumnDef() as column):
                yield from _new_column(column)
            case ast.AlterTableCmd(subtype=Alter.AT_SetNotNull, name=name):
                if (table, name) not in statement.before.never_null:
                    yield "set-not-null-scans"
            case ast.AlterTableCmd(subtype=Alter.AT_AddConstraint, def_=ast.Constraint() as constraint):
                yield from _new_constraint(constraint)
            case ast.AlterTableCmd(subtype=Alter.AT_AlterColumnType):
                yield "change-type"
        known = change.subtype is Alter.AT_SetNotNull and (table, change.name) in statement.before.never_null
        if change.subtype in {Alter.AT_SetNotNull, Alter.AT_AddConstraint} and not known and not _raises(migration):
            yield "tightening-undeclared"
        no_default = change.subtype is Alter.AT_ColumnDefault and change.def_ is None
        if (change.subtype in DROPS or no_default) and not _raises(migration):
            yield "contract-undeclared"


def _new_constraint(constraint: ast.Constraint) -> Iterator[str]:
    if constraint.contype in CHECKED and not constraint.skip_validation:
        yield "constraint-scans"
    if constraint.contype in KEYS and not constraint.indexname:
        yield "unique-builds-index"
    if constraint.contype is ConstrType.CONSTR_NOTNULL:
        yield "set-not-null-scans"


def _new_column(column: ast.ColumnDef) -> Iterator[str]:
    kinds = {c.contype for c in column.constraints or () if isinstance(c, ast.Constraint)}
    if ConstrType.CONSTR_NOTNULL in kinds and not kinds & FILLED:
        yield "not-null-without-default"
    # PostgreSQL itself skips the reading for a foreign key on a column that is NULL in all rows.
    if ConstrType.CONSTR_CHECK in kinds or (ConstrType.CONSTR_FOREIGN in kinds and kinds & FILLED):
        yield "constraint-scans"
    if kinds & KEYS:
        yield "unique-builds-index"


def _validation(migration: Recording, statement: Statement) -> Iterator[str]:
    made = {
        change.def_.conname
        for s in migration.statements
        for change in _commands(s.node)
        if isinstance(change.def_, ast.Constraint)
    }
    if made & _validates(statement.node):
        yield "validate-too-early"


def _rewrites(migration: Recording, statement: Statement) -> Iterator[str]:
    has_its_own_rule = any(_locks(migration, statement)) or any(
        c.subtype is Alter.AT_AlterColumnType for c in _commands(statement.node)
    )
    concurrently = isinstance(statement.node, ast.ReindexStmt)
    if statement.rewritten & migration.existing and not has_its_own_rule and not concurrently:
        yield "rewrites-table"


def _renames(migration: Recording, statement: Statement) -> Iterator[str]:
    match statement.node:
        case ast.RenameStmt(
            renameType=ObjectType.OBJECT_TABLE | ObjectType.OBJECT_VIEW | ObjectType.OBJECT_COLUMN, relation=table
        ):
            if _existing(migration, table):
                yield "rename"


def _drops(migration: Recording, statement: Statement) -> Iterator[str]:
    node = statement.node
    if not isinstance(node, ast.DropStmt) or node.removeType is ObjectType.OBJECT_INDEX or _raises(migration):
        return
    relation = node.removeType in {ObjectType.OBJECT_TABLE, ObjectType.OBJECT_VIEW, ObjectType.OBJECT_SEQUENCE}
    if not relation or _names(node) & migration.existing:
        yield "contract-undeclared"


def _locks(migration: Recording, statement: Statement) -> Iterator[str]:
    match statement.node:
        case ast.LockStmt() | ast.ClusterStmt():
            yield "locks-table"
        case ast.TruncateStmt(relations=tables) if any(_existing(migration, t) for t in tables or ()):
            yield "locks-table"
        case ast.VacuumStmt(options=options) if any(o.defname == "full" for o in options or ()):
            yield "locks-table"
        case ast.ReindexStmt(params=params) if not any(o.defname == "concurrently" for o in params or ()):
            yield "locks-table"
        case ast.RefreshMatViewStmt(concurrent=False, relation=view) if _existing(migration, view):
            yield "locks-table"
    now = statement.after.lock_timeout
    if now != statement.before.lock_timeout and not 0 < now <= LONGEST_LOCK_TIMEOUT_MS:
        yield "lock-timeout"


class _Data(visitors.Visitor):
    """Which tables a statement changes rows of, in a `WITH` too, and whether anything in it has a `LIMIT`."""

    def __init__(self) -> None:
        self.tables: list[ast.RangeVar | None] = []
        self.limited = False

    def _changes(self, _ancestors: object, node: ast.UpdateStmt | ast.DeleteStmt | ast.MergeStmt) -> None:
        self.tables.append(node.relation)

    visit_UpdateStmt = visit_DeleteStmt = visit_MergeStmt = _changes  # noqa: N815 - the parser's names

    def visit_SelectStmt(self, _ancestors: object, node: ast.SelectStmt) -> None:  # noqa: N802
        self.limited |= node.limitCount is not None


def _look(node: ast.Node) -> _Data:
    data = _Data()
    data(node)
    return data


def _data(migration: Recording, statement: Statement) -> Iterator[str]:
    data = _look(statement.node)
    tables = [t for t in data.tables if _existing(migration, t) and t is not None and t.relname != BOOKKEEPING]
    if tables and (statement.transaction is not None or not data.limited):
        yield "unbatched-data"
    copies = isinstance(statement.node, ast.InsertStmt) and getattr(statement.node.selectStmt, "fromClause", None)
    slow = tables or copies or _validates(statement.node)
    if slow and statement.transaction is not None:
        together = [s for s in migration.statements if s.transaction == statement.transaction]
        if any(_changes_a_table(migration, s.node) for s in together):
            yield "slow-with-ddl"


def _changes_a_table(migration: Recording, node: ast.Node) -> bool:
    """Whether it takes a lock on an existing table that others wait for."""
    match node:
        case ast.AlterTableStmt(relation=table):
            return _existing(migration, table) and not _validates(node)
        case ast.IndexStmt(relation=table) | ast.RenameStmt(relation=table):
            return _existing(migration, table)
        case ast.DropStmt():
            return True
    return False


def _repeatable(migration: Recording, statement: Statement) -> bool:
    """Whether doing it twice is as good as once."""
    node = statement.node
    match node:
        case ast.AlterTableStmt():
            return bool(_validates(node))
        case ast.DropStmt(missing_ok=missing_ok) | ast.CreateStmt(if_not_exists=missing_ok):
            return bool(missing_ok)
        case ast.IndexStmt(concurrent=concurrent):
            return bool(concurrent)  # "index-left-invalid" sees to the rest
        case ast.RenameStmt() | ast.InsertStmt(onConflictClause=None):
            return False
    return True


def _half_done(migration: Recording, statement: Statement) -> Iterator[str]:
    position = migration.statements.index(statement)
    by_itself_later = any(s.transaction is None for s in migration.statements[position + 1 :])
    harmless = isinstance(statement.node, ast.SelectStmt | ast.VariableSetStmt)
    if statement.transaction is not None:
        if by_itself_later and not harmless:
            yield "half-done"
    elif not _repeatable(migration, statement):
        yield "half-done"


def _unseen(_migration: Recording, statement: Statement) -> Iterator[str]:
    if isinstance(statement.node, ast.DoStmt | ast.CallStmt):
        yield "opaque"
    if isinstance(statement.node, ast.TransactionStmt):
        yield "transaction-control"


CHECKS: Final[tuple[Check, ...]] = (
    _indexes,
    _columns_and_constraints,
    _validation,
    _rewrites,
    _renames,
    _drops,
    _locks,
    _data,
    _half_done,
    _unseen,
)


def broken_rules(migration: Recording) -> Iterator[tuple[str, str]]:
    """Rules that the migration breaks, each with the statement that does."""
    for statement in migration.statements:
        for check in CHECKS:
            for rule in dict.fromkeys(check(migration, statement)):
                yield rule, statement.sql
    before, after = migration.runs_code_from
    if before is not None and after != before:
        previous = int(migration.previous or 0)
        if after is None or not before < after <= previous:
            yield "compatibility-number", f"runs_code_from = {after}, was {before}; the previous revision is {previous}"
    if migration.error:
        yield "fails", migration.error
