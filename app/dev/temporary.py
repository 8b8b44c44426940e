"""Real servers for the tests: made in a folder of their own, unsafe but quick, and gone with the block."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from app.dev.binaries import find_postgres, find_valkey
from app.dev.postgres import EmbeddedPostgres
from app.dev.unprivileged import PRIVATE_ROOT, can_enter, server_account
from app.dev.valkey import EmbeddedValkey


@contextmanager
def temporary_postgres(settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedPostgres]:
    """A fresh PostgreSQL cluster that runs; ``settings`` are server parameters. Use its ``url()`` and ``connect()``."""
    account = server_account()
    folder = Path(tempfile.mkdtemp(prefix="test-gantry-"))
    if account:
        folder.chmod(0o711)
        if not can_enter(account, folder):
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="test-gantry-", dir=PRIVATE_ROOT))
            folder.chmod(0o711)
    server = EmbeddedPostgres(
        find_postgres(),
        folder / "postgres",
        superuser_password=secrets.token_urlsafe(16),
        log=folder / "postgres.log",
        account=account,
        durable=False,
        settings=settings,
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


@contextmanager
def temporary_valkey() -> Iterator[EmbeddedValkey]:
    """A fresh Valkey that runs. Use its ``url()``."""
    folder = Path(tempfile.mkdtemp(prefix="test-gantry-"))
    server = EmbeddedValkey(
        find_valkey(), folder / "valkey", password=secrets.token_urlsafe(16), log=folder / "valkey.log"
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
