"""``gantry migrate``: one migrator at a time, and none that makes the application wait for long.

Goes past the pooler (``database.direct_url``): an advisory lock and ``SET`` belong to a session, which transaction pooling does not give.
"""

from importlib.resources import files
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from app.core.config import DatabaseSettings
from app.core.database import driver_url

ADVISORY_LOCK: Final = 0x67616E747279  # "gantry"


class MigrationRefused(Exception):
    """The database can't be migrated to what was asked for; the message says why, and what to do."""


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file: the migrations are part of the package."""
    config = Config()
    config.set_main_option("script_location", str(files("app.migrations")))
    config.attributes["connection"] = connection
    return config


def migrate(settings: DatabaseSettings, target: str = "head") -> tuple[str | None, str | None]:
    """Bring the schema to ``target`` (``head``, ``base`` or a revision). Returns the revision before and after.

    A schema newer than this code is left as it is when it accepts this code (``schema_compatibility``), and refused otherwise.
    Raises ``MigrationRefused``, and ``sqlalchemy.exc.OperationalError`` when a lock or statement takes longer than its setting.
    """
    engine = create_engine(
        driver_url(settings.direct.get_secret_value()),
        poolclass=NullPool,
        connect_args={"connect_timeout": settings.connect_timeout},
    )
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": ADVISORY_LOCK})
        # Set after the advisory lock is held: a second migrator waits for the first one as long as that takes.
        for name, seconds in (
            ("lock_timeout", settings.migration_lock_timeout),
            ("statement_timeout", settings.migration_statement_timeout),
        ):
            connection.execute(
                text("SELECT set_config(:name, :value, false)"), {"name": name, "value": f"{round(seconds * 1000)}ms"}
            )
        before = MigrationContext.configure(connection).get_current_revision()
        connection.commit()  # or Alembic takes the transaction begun here for the caller's, and commits nothing
        config = alembic_config(connection)
        if _is_newer(config, before):
            _accept(connection, config, before)
            return before, before
        if target == "base" or (target != "head" and before is not None and target < before):
            command.downgrade(config, target)
        else:
            command.upgrade(config, target)
        return before, MigrationContext.configure(connection).get_current_revision()


def _is_newer(config: Config, revision: str | None) -> bool:
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    return revision is not None and revision not in known


def _accept(connection: Connection, config: Config, revision: str | None) -> None:
    head = ScriptDirectory.from_config(config).get_current_head()
    needs = connection.execute(text("SELECT max(runs_code_from) FROM schema_compatibility")).scalar_one()
    if needs > int(head or 0):
        raise MigrationRefused(
            f"the schema is at revision {revision}, which needs code of revision {needs}; this is {head}: deploy newer code"
        )
