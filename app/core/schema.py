"""Which database schemas this code can run on, and whether the one it finds is among them.

Revisions are numbered. A schema says itself, in the table ``schema_compatibility``, what the oldest code is that runs on it: so a newer
schema that only added things (expand) is accepted by older code, and one that removed something (contract) is not.
"""

from dataclasses import dataclass
from typing import Final

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from app.core.database import Database

HEAD: Final = 1
"""The newest revision this code knows: ``app/migrations/versions`` ends there (a test says so)."""

OLDEST: Final = 1
"""The oldest revision this code can run on."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """What was found, and if it can't be used, what to do about it."""

    in_range: bool
    advice: str
    revision: int = 0
    """0 when there is none."""


def judge(revision: int | None, runs_code_from: int) -> SchemaState:
    """Whether code of revision ``HEAD`` runs on a schema of ``revision`` that accepts code from ``runs_code_from``."""
    if revision is None:
        return SchemaState(False, "the database has no schema yet: run `gantry migrate`")
    if revision < OLDEST:
        return SchemaState(
            False,
            f"the schema is at revision {revision}, this code needs {OLDEST} to {HEAD}: run `gantry migrate`",
            revision,
        )
    if runs_code_from > HEAD:
        return SchemaState(
            False,
            f"the schema is at revision {revision}, which needs code of revision {runs_code_from}; this is {HEAD}: deploy newer code",
            revision,
        )
    return SchemaState(True, f"the schema is at revision {revision}", revision)


async def find_schema(database: Database) -> SchemaState:
    """Look at the database. Raises what the database raises when it can't be reached."""
    statement = text(
        "SELECT (SELECT max(version_num::int) FROM alembic_version), (SELECT max(runs_code_from) FROM schema_compatibility)"
    )
    try:
        async with database.read() as session:
            revision, runs_code_from = (await session.execute(statement)).one()
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            return judge(None, 0)
        raise
    return judge(revision, runs_code_from or 0)
