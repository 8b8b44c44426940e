"""The command line, ``gantry``: the same in the image and on a laptop. What it needs is imported by the command that needs it."""

import asyncio
import json
import os
import secrets
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from app.core.config import Settings
from app.core.loading import SettingsInvalid, load_settings
from app.core.scopes import Scope

if TYPE_CHECKING:
    from app.core.database import Database

cli = typer.Typer(name="gantry", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
keys = typer.Typer(no_args_is_help=True, help="API keys: the first one, and those that an operator looks after.")
config = typer.Typer(no_args_is_help=True, help="The settings of this process.")
cli.add_typer(keys, name="keys")
cli.add_typer(config, name="config")


def _fail(*messages: str) -> NoReturn:
    for message in messages:
        typer.echo(f"gantry: {message}", err=True)
    raise typer.Exit(1)


def _settings() -> Settings:
    try:
        return load_settings()
    except SettingsInvalid as error:
        _fail(*error.messages)


def _with_database[T](settings: Settings, use: Callable[["Database"], Awaitable[T]]) -> T:
    """Open the database for one command; a database that can't be used ends the command with a sentence."""
    import psycopg
    from sqlalchemy.exc import DBAPIError

    from app.core.database import Database

    async def opened() -> T:
        database = Database(settings.database)
        try:
            return await use(database)
        finally:
            await database.aclose()

    try:
        return asyncio.run(opened())
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.UndefinedTable):
            _fail("the database has no schema yet: run `gantry migrate`")
        _fail(f"the database can't be used: {str(error.orig).strip()}")


@cli.command()
def serve() -> None:
    """Serve the API: gunicorn and its workers on the public port, probes and metrics on the admin port."""
    from app.core.server.signals import signals_held

    with signals_held():
        from app.core.server.run import prepare_runtime, run_server

        settings = _settings()
        prepare_runtime(settings)  # before the application, and with it prometheus_client, is imported
        from app.api.problems import problem_body
        from app.core.logging import configure_logging
        from app.main import create_app

        configure_logging(settings.log, buffered=True)
        run_server(settings, create_app, problem_body)


class LogLevel(StrEnum):
    """What ``gantry log-level`` takes."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"
    default = "default"


@cli.command("log-level")
def log_level(
    level: Annotated[LogLevel | None, typer.Argument(help="`default`: as configured. Left out: print it.")] = None,
) -> None:
    """Print the log level of the server that runs here, or change it, without a restart."""
    from app.core.logs.level import LevelFile
    from app.core.server.runtime import running_servers

    settings = _settings()
    parent = settings.server.runtime_dir
    servers = running_servers(parent)
    if not servers:
        _fail(f"no server of this user runs with its folder below {parent} (GANTRY_SERVER__RUNTIME_DIR)")
    for folder in servers:
        file = LevelFile(folder)
        if level is not None:
            try:
                file.write(None if level is LogLevel.default else level.value)
            except OSError as error:
                _fail(f"the level can't be written to {folder}: {error.strerror}")
        typer.echo(file.read() or settings.log.level)


@cli.command()
def migrate(to: Annotated[str, typer.Option(help="A revision, `head` or `base`.")] = "head") -> None:
    """Bring the database's schema to a revision, one migrator at a time."""
    from alembic.util import CommandError
    from sqlalchemy.exc import OperationalError

    from app.migrations.run import MigrationRefused
    from app.migrations.run import migrate as run

    settings = _settings()
    try:
        before, after = run(settings.database, to)
    except (MigrationRefused, CommandError) as error:
        _fail(str(error))
    except OperationalError as error:
        _fail(f"the migration was not made: {str(error.orig).strip()}")
    typer.echo(f"schema at revision {after or 'none'}" + ("" if before == after else f" (was {before or 'none'})"))


@cli.command("pgbouncer-users")
def write_pgbouncer_users(to: Annotated[Path, typer.Option(help="The file to write.")]) -> None:
    """Write pgbouncer's auth_file from PGUSER and PGPASSWORD, and PGUSER_PREVIOUS and PGPASSWORD_PREVIOUS while a user is replaced."""
    from app.core.pgbouncer import UsersInvalid, write_users

    try:
        write_users(to, os.environ)
    except (UsersInvalid, OSError) as error:
        _fail(str(error))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope] | None, typer.Option(help="A scope; repeat the option for several.")] = None,
    expires_at: Annotated[
        datetime | None, typer.Option(help="When it ends, in UTC.", formats=["%Y-%m-%dT%H:%M:%SZ"])
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(help="Make a key without the database, to be set as security.bootstrap_key; it has every scope."),
    ] = False,
) -> None:
    """Make a key, and print it, alone, on standard output."""
    from app.core.security import KeyRing

    settings = _settings()
    ring = KeyRing(settings.security.key_peppers)
    if offline:
        if scope or expires_at:
            _fail("an offline key has every scope and no end: leave out --scope and --expires-at")
        # The upper half of the ids: the database counts up from 1 and never gets there.
        typer.echo(ring.mint(2**62 + secrets.randbelow(2**62)).get_secret_value())
        return
    if not scope:
        _fail("name at least one --scope: " + ", ".join(Scope))
    from datetime import UTC

    from app.schemas.api_keys import ApiKeyCreate
    from app.services.api_keys import issue_key
    from app.services.errors import FieldInvalid

    try:
        ends = expires_at.replace(tzinfo=UTC).isoformat() if expires_at else None
        new = ApiKeyCreate.model_validate({"name": name, "scopes": list(dict.fromkeys(scope)), "expires_at": ends})
    except ValidationError as error:
        _fail(*(f"{e['loc'][0]}: {e['msg']}" for e in error.errors(include_input=False)))

    async def issue(database: "Database") -> str:
        async with database.transaction() as session:
            _, secret = await issue_key(session, ring, new)
        return secret.get_secret_value()

    try:
        secret = _with_database(settings, issue)
    except FieldInvalid as error:
        _fail(f"{error.pointer.removeprefix('/')}: {error}")
    typer.echo(secret)


@keys.command("list")
def list_keys() -> None:
    """List all keys, revoked ones too, a line each."""
    from app.services.api_keys import all_keys

    def when(value: datetime | None) -> str:
        return value.isoformat(timespec="seconds") if value else "-"

    rows = _with_database(_settings(), all_keys)
    typer.echo("id\tname\tscopes\tcreated\texpires\tlast used\trevoked")
    for row in rows:
        times = (row.created_at, row.expires_at, row.last_used_at, row.revoked_at)
        typer.echo("\t".join([str(row.id), json.dumps(row.name)[1:-1], ",".join(row.scopes), *map(when, times)]))


@keys.command("revoke")
def revoke_key(key_id: Annotated[int, typer.Argument(help="The key's id, as `gantry keys list` shows it.")]) -> None:
    """End a key for good; workers that know it stop believing it within security.key_cache_seconds."""
    from app.services.api_keys import revoke_key as revoke
    from app.services.errors import NotFound

    async def end(database: "Database") -> None:
        await revoke(database, key_id, None)

    try:
        _with_database(_settings(), end)
    except NotFound:
        _fail(f"there is no key {key_id} that is not revoked")
    typer.echo(f"key {key_id} is revoked")


@config.command("check")
def check_config() -> None:
    """Print the settings in effect, secrets masked; or say, a line each, what is wrong with them."""
    typer.echo(json.dumps(_masked(_settings()), indent=2))


def _masked(settings: Settings) -> Any:
    """JSON-ready; pydantic writes each secret as asterisks."""
    return settings.model_dump(mode="json")


def main() -> None:
    """The entry point."""
    cli()


if __name__ == "__main__":
    main()
