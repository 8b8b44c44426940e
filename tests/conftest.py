"""Fixtures: one PostgreSQL for the whole run, a database for each xdist worker, empty tables for each test."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import psycopg
import pytest
import pytest_asyncio
import structlog
from fastapi import FastAPI
from psycopg import sql
from pydantic import SecretStr
from structlog.dev import plain_traceback

from app.api.context import Process
from app.core.config import DatabaseSettings, Environment, Settings
from app.core.database import Database
from app.core.scopes import Scope
from app.core.security import KeyRing
from app.core.status import ProcessStatus
from app.dev.temporary import temporary_postgres
from app.main import create_app
from app.migrations.run import migrate
from app.schemas.api_keys import ApiKeyCreate
from app.services.api_keys import issue_key

if TYPE_CHECKING:
    from tests.gunicorn import LiveApi

PEPPER = SecretStr("test-pepper-" + "0" * 32)
CURSOR_KEY = SecretStr("test-cursor-key-" + "0" * 32)
SERVER_URL = "TEST_POSTGRES_URL"
TEMPLATE = "gantry_template"

_servers = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Start PostgreSQL once, in the process that starts the workers (or the only one)."""
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)  # `make test` runs us; a make that a test starts is started by a user at a terminal
    structlog.configure(processors=[structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain_traceback)])
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    server = _servers.enter_context(temporary_postgres({"max_connections": "200"}))
    os.environ[SERVER_URL] = server.url()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate(DatabaseSettings(url=SecretStr(server.url(TEMPLATE))))


def pytest_unconfigure() -> None:
    """Stop it, and leave nothing."""
    _servers.close()


def server_url(database: str) -> str:
    """The URL of a database of the run's PostgreSQL."""
    base, _, _ = os.environ[SERVER_URL].rpartition("/")
    return f"{base}/{database}"


def make_database(name: str, template: str = TEMPLATE) -> str:
    """A fresh database, by default with the newest schema. Returns its URL."""
    with psycopg.connect(os.environ[SERVER_URL], autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
    return server_url(name)


def make_settings(url: str, **groups: Any) -> Settings:
    """Settings for tests: no limit that a test would meet by chance. ``groups`` replace whole groups."""
    defaults: dict[str, Any] = {
        "environment": Environment.test,
        "database": {"url": url, "pool_size": 5},
        "security": {"key_peppers": [PEPPER], "cursor_keys": [CURSOR_KEY]},
        "limits": {"default": "1000000/minute"},
    }
    return Settings(**(defaults | groups))


@pytest.fixture(scope="session")
def worker_database(worker_id: str) -> str:
    """The URL of this worker's own database."""
    return make_database(f"test_{worker_id}")


@pytest.fixture
def database_url(worker_database: str) -> str:
    """The URL of this worker's database, its tables empty."""
    with psycopg.connect(worker_database, autocommit=True) as connection:
        connection.execute(
            "TRUNCATE users, items, api_keys, api_key_secrets, idempotency_records RESTART IDENTITY CASCADE"
        )
    return worker_database


@pytest.fixture
def settings(database_url: str) -> Settings:
    """Settings on the empty database."""
    return make_settings(database_url)


@pytest_asyncio.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The empty database, opened."""
    opened = Database(settings.database)
    yield opened
    await opened.aclose()


async def make_key(database: Database, *scopes: Scope, name: str = "test", **fields: Any) -> str:
    """A new key with these scopes, or all."""
    new = ApiKeyCreate.model_validate({"name": name, "scopes": list(scopes or Scope), **fields})
    async with database.transaction() as session:
        _, secret = await issue_key(session, KeyRing([PEPPER]), new)
    return secret.get_secret_value()


class Api:
    """The application, alive inside the test: requests go through all of it but a socket."""

    def __init__(self, app: FastAPI, process: Process, key: str) -> None:
        self.app = app
        self.process = process
        self.key = key

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI, with the lifespan's state as a server hands it over."""
        scope["state"] = {"process": self.process}
        await self.app(scope, receive, send)

    def client(self, key: str | None = None, **options: Any) -> httpx2.AsyncClient:
        """A client that sends a key: the one with all scopes unless told; an empty one sends none."""
        key = self.key if key is None else key
        transport = httpx2.ASGITransport(app=self, raise_app_exceptions=False, client=("192.0.2.1", 1234))
        headers = {"X-API-Key": key} if key else {}
        return httpx2.AsyncClient(
            transport=transport, base_url="http://api.test", headers=headers | options.pop("headers", {}), **options
        )

    async def key_with(self, *scopes: Scope) -> str:
        """A new key with these scopes."""
        return await make_key(self.process.database, *scopes)


@asynccontextmanager
async def live(settings: Settings, *, with_key: bool = True, status: ProcessStatus | None = None) -> AsyncIterator[Api]:
    """An application with these settings, its lifespan run, and unless told otherwise a key that may do everything."""
    app = create_app(settings, status)
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        process: Process = state["process"]
        yield Api(app, process, await make_key(process.database) if with_key else "")


@pytest_asyncio.fixture
async def api(settings: Settings) -> AsyncIterator[Api]:
    """The application on the empty database."""
    async with live(settings) as alive:
        yield alive


@pytest_asyncio.fixture
async def client(api: Api) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the application with a key that may do everything."""
    async with api.client() as opened:
        yield opened


@pytest.fixture(scope="session")
def live_api(worker_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator["LiveApi"]:
    """gunicorn with two workers on a database of its own, for tests over sockets."""
    from tests.gunicorn import running_api

    with running_api(make_database(f"live_{worker_id}"), tmp_path_factory.mktemp("gunicorn")) as api:
        yield api
