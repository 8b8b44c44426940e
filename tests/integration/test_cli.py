"""The command line: what each command prints, and how it fails."""

import asyncio
import json
import os
import re
import signal
import stat
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.core.scopes import Scope
from app.core.security import KEY_PATTERN, KeyRing
from tests.conftest import CURSOR_KEY, PEPPER, live, make_database, make_settings

UNREACHABLE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> pytest.MonkeyPatch:
    monkeypatch.setenv("GANTRY_DATABASE__URL", database_url)
    monkeypatch.setenv("GANTRY_SECURITY__KEY_PEPPERS", json.dumps([PEPPER.get_secret_value()]))
    monkeypatch.setenv("GANTRY_SECURITY__CURSOR_KEYS", json.dumps([CURSOR_KEY.get_secret_value()]))
    return monkeypatch


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.mark.usefixtures("environment")
def test_a_created_key_is_all_that_is_printed_and_it_works(database_url: str) -> None:
    result = run("keys", "create", "--name", "first", "--scope", "users:read", "--scope", "users:write")
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(KEY_PATTERN, result.stdout.rstrip("\n"))
    assert not result.stderr
    with psycopg.connect(database_url) as connection:
        stored = connection.execute("SELECT name, scopes FROM api_keys").fetchall()
        assert stored == [("first", ["users:read", "users:write"])]
        dump = str(connection.execute("SELECT * FROM api_key_secrets").fetchall())
    assert result.stdout.strip() not in dump


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name at least one --scope: users:read, "),
        (["--scope", "users:read", "--name", ""], "name: "),
        (["--scope", "users:read", "--expires-at", "2001-01-01T00:00:00Z"], "expires_at: must be in the future"),
        (["--offline", "--scope", "users:read"], "an offline key has every scope and no end"),
    ],
)
def test_a_key_that_can_not_be_made_is_explained(arguments: list[str], said: str) -> None:
    result = run("keys", "create", "--name", "first", *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"gantry: {said}")
    assert not result.stdout


@pytest.mark.usefixtures("environment")
def test_an_unknown_scope_is_a_usage_error() -> None:
    result = run("keys", "create", "--name", "first", "--scope", "everything")
    assert result.exit_code == 2
    assert "users:read" in result.stderr


async def test_an_offline_key_works_once_it_is_the_bootstrap_key(
    environment: pytest.MonkeyPatch, database_url: str
) -> None:
    environment.setenv("GANTRY_DATABASE__URL", UNREACHABLE)
    key = run("keys", "create", "--name", "bootstrap", "--offline").stdout.strip()
    assert KeyRing([PEPPER]).read(key) is not None
    security = {
        "key_peppers": [PEPPER],
        "cursor_keys": [CURSOR_KEY],
        "bootstrap_key": key,
        "key_cache_seconds": 0,  # it is registered beside the first requests, which must not remember a stranger
    }
    async with live(make_settings(database_url, security=security)) as api, api.client(key) as client:
        async with asyncio.timeout(5):
            while (answer := await client.get("/api/v1/protected")).status_code == 401:
                pass
    assert answer.json()["scopes"] == sorted(Scope)


@pytest.mark.usefixtures("environment")
def test_keys_are_listed_and_revoked() -> None:
    run("keys", "create", "--name", "a\tb", "--scope", "items:read", "--expires-at", "2999-01-01T00:00:00Z")
    listed = run("keys", "list")
    assert listed.exit_code == 0
    head, row = (line.split("\t") for line in listed.stdout.splitlines())
    assert head == ["id", "name", "scopes", "created", "expires", "last used", "revoked"]
    assert row[:3] == ["1", "a\\tb", "items:read"]
    assert row[4:] == ["2999-01-01T00:00:00+00:00", "-", "-"]

    assert run("keys", "revoke", "1").stdout == "key 1 is revoked\n"
    assert run("keys", "list").stdout.splitlines()[1].split("\t")[6] != "-"
    again = run("keys", "revoke", "1")
    assert (again.exit_code, again.stderr) == (1, "gantry: there is no key 1 that is not revoked\n")


def test_a_database_that_is_away_is_said(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GANTRY_DATABASE__URL", UNREACHABLE)
    for command in (["keys", "list"], ["migrate"]):
        result = run(*command)
        assert result.exit_code == 1
        assert result.stderr.startswith("gantry: the ")
        assert "refused" in result.stderr


def test_migrate_says_where_the_schema_is(environment: pytest.MonkeyPatch, worker_id: str) -> None:
    environment.setenv("GANTRY_DATABASE__URL", make_database(f"cli_{worker_id}", "template0"))
    assert run("keys", "list").stderr == "gantry: the database has no schema yet: run `gantry migrate`\n"
    assert run("migrate").stdout == "schema at revision 0001 (was none)\n"
    assert run("migrate").stdout == "schema at revision 0001\n"
    assert run("migrate", "--to", "base").stdout == "schema at revision none (was 0001)\n"
    unknown = run("migrate", "--to", "nowhere")
    assert unknown.exit_code == 1
    assert "nowhere" in unknown.stderr


@pytest.mark.usefixtures("environment")
def test_config_check_shows_everything_but_secrets(database_url: str) -> None:
    result = run("config", "check")
    assert result.exit_code == 0
    shown = json.loads(result.stdout)
    assert shown["server"]["port"] == 8000
    for secret in (PEPPER.get_secret_value(), CURSOR_KEY.get_secret_value(), database_url):
        assert secret not in result.stdout


def test_wrong_settings_stop_every_command_with_a_line_each(environment: pytest.MonkeyPatch) -> None:
    environment.delenv("GANTRY_DATABASE__URL")
    environment.setenv("GANTRY_SERVER__PORT", "99999")
    for command in (["config", "check"], ["serve"], ["migrate"], ["keys", "list"]):
        result = run(*command)
        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            "gantry: GANTRY_DATABASE__URL: required, but not set",
            "gantry: GANTRY_SERVER__PORT: input should be less than or equal to 65535",
        ]


def test_a_start_that_fails_leaves_no_signal_held(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("GANTRY_SERVER__PORT", "99999")
    assert run("serve").exit_code == 1
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "children of later tests would inherit it"


PGBOUNCER_VARIABLES = ("PGUSER", "PGPASSWORD", "PGUSER_PREVIOUS", "PGPASSWORD_PREVIOUS")


def write_users(monkeypatch: pytest.MonkeyPatch, to: Path, **variables: str) -> Result:
    """`gantry pgbouncer-users` with these variables, and none of Gantry's."""
    for name in [*PGBOUNCER_VARIABLES, *(name for name in os.environ if name.startswith("GANTRY_"))]:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return run("pgbouncer-users", "--to", str(to))


@pytest.mark.parametrize(
    ("variables", "written"),
    [
        ({"PGUSER": "api", "PGPASSWORD": 'a"b'}, '"api" "a""b"\n'),
        (
            {"PGUSER": "new", "PGPASSWORD": "n", "PGUSER_PREVIOUS": "old", "PGPASSWORD_PREVIOUS": "o"},
            '"old" "o"\n"new" "n"\n',
        ),
        (
            {"PGUSER": "api", "PGPASSWORD": "new", "PGUSER_PREVIOUS": "api", "PGPASSWORD_PREVIOUS": "old"},
            '"api" "new"\n',
        ),
    ],
)
def test_pgbouncers_users_are_written_for_its_eyes_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], written: str
) -> None:
    path = tmp_path / "users.txt"
    path.write_text("what was there before, and is longer than what comes")
    path.chmod(0o644)
    result = write_users(monkeypatch, path, **variables)
    assert (result.exit_code, result.output) == (0, "")
    assert path.read_text() == written
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "PGUSER and PGPASSWORD: required, but not set"),
        ({"PGUSER": "api"}, "PGPASSWORD: required, but not set"),
        (
            {"PGUSER": "api", "PGPASSWORD": "hidden", "PGPASSWORD_PREVIOUS": "hidden"},
            "PGUSER_PREVIOUS: required, but not set",
        ),
        (
            {"PGUSER": "api", "PGPASSWORD": "hidden\n"},
            "PGUSER and PGPASSWORD: a password must be one line, without NUL",
        ),
        (
            {"PGUSER": "api", "PGPASSWORD": "p", "PGUSER_PREVIOUS": "x" * 200, "PGPASSWORD_PREVIOUS": "hidden"},
            "PGUSER_PREVIOUS and PGPASSWORD_PREVIOUS: a name of 200 bytes is too long; pgbouncer takes 127",
        ),
    ],
)
def test_users_that_pgbouncer_can_not_have_are_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    result = write_users(monkeypatch, tmp_path / "users.txt", **variables)
    assert (result.exit_code, result.stderr) == (1, f"gantry: {said}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = write_users(monkeypatch, tmp_path / "absent" / "users.txt", PGUSER="api", PGPASSWORD="hidden")
    assert result.exit_code == 1
    assert result.stderr.startswith("gantry: [Errno 2] No such file or directory: ")
    assert "hidden" not in result.stderr
