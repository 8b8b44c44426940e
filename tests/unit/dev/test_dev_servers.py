"""The embedded PostgreSQL and Valkey: started, stopped, found again."""

import secrets
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
import redis

from app.dev import postgres, temporary, unprivileged, valkey
from app.dev.binaries import PostgresBinaries, find_valkey
from app.dev.errors import DevelopmentError
from app.dev.postgres import EmbeddedPostgres, free_port, stop_leftover_postgres
from app.dev.processes import Account, command_lines
from app.dev.temporary import temporary_postgres, temporary_valkey
from app.dev.unprivileged import server_account
from app.dev.valkey import EmbeddedValkey, stop_leftover_valkey


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with temporary_postgres({"max_connections": "20"}) as running:
        yield running


@pytest.fixture(scope="module")
def cache() -> Iterator[EmbeddedValkey]:
    with temporary_valkey() as running:
        yield running


def again(
    server: EmbeddedPostgres, password: str | None = None, binaries: PostgresBinaries | None = None, **settings: str
) -> EmbeddedPostgres:
    """Another object for the same data, as the next run has it."""
    return EmbeddedPostgres(
        binaries or server.binaries,
        server.data,
        superuser_password=password or server.url().split(":")[2].split("@")[0],
        log=server.data.with_name("again.log"),
        account=server_account(),
        settings=settings,
    )


class TestPostgres:
    """One server on one data folder."""

    def test_it_is_quick_but_unsafe_for_tests(self, server: EmbeddedPostgres) -> None:
        names = ["fsync", "synchronous_commit", "max_connections", "server_encoding", "unix_socket_directories"]
        with closing(psycopg.connect(server.url())) as connection:
            values = [connection.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
        assert values == [("off",), ("off",), ("20",), ("UTF8",), ("",)]

    def test_passwords_are_asked_for(self, server: EmbeddedPostgres) -> None:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(server.url(password="wrong"))

    def test_a_database_is_had_once_with_the_newest_password(self, server: EmbeddedPostgres) -> None:
        server.ensure_database("app", "it's first")
        server.ensure_database("app", "second")
        with closing(psycopg.connect(server.url("app", "app", "second"))) as connection:
            connection.execute("CREATE TABLE t ()")

    def test_the_data_is_kept_and_leftovers_are_stopped(self, server: EmbeddedPostgres) -> None:
        server.ensure_database("kept", "secret")
        assert server.child
        former = server.child.pid
        successor = again(server)
        successor.start()
        try:
            assert former not in command_lines()
            psycopg.connect(successor.url("kept", "kept", "secret")).close()
        finally:
            successor.stop()
            left = server.child.status
            server.start()
        assert left == 0, "it was stopped in good order"

    def test_a_stale_pid_file_is_no_obstacle(self, server: EmbeddedPostgres) -> None:
        server.stop()
        (server.data / "postmaster.pid").write_text(f"1\n{server.data}\n")
        assert stop_leftover_postgres(server.data) == 0
        server.start()

    def test_data_of_another_version_is_refused(self, server: EmbeddedPostgres) -> None:
        server.stop()
        other = again(server, binaries=PostgresBinaries(server.binaries.directory, "17.1"))
        with pytest.raises(DevelopmentError, match=r"was made by PostgreSQL \d+, but .* has 17\.1\. Set GANTRY_PG_BIN"):
            other.start()
        server.start()

    def test_data_of_another_user_is_refused(self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
        server.stop()
        other = again(server)
        with monkeypatch.context() as patched:
            patched.setattr(other, "_account", Account(uid=4711, gid=4711))
            with pytest.raises(DevelopmentError, match=r"was made by another user \(uid \d+\)"):
                other.start()
        server.start()

    def test_data_with_other_passwords_is_refused(self, server: EmbeddedPostgres) -> None:
        server.stop()
        other = again(server, password="wrong")
        with pytest.raises(DevelopmentError, match="has other passwords than those kept with it"):
            other.start()
        assert other.child
        assert other.child.status is not None
        server.start()

    def test_a_server_that_ends_shows_its_log(self, server: EmbeddedPostgres) -> None:
        server.stop()
        with pytest.raises(DevelopmentError, match=r'(?s)PostgreSQL ended with status 1; .*"work_mem"'):
            again(server, work_mem="nonsense").start()
        server.start()

    def test_a_server_that_does_not_answer_shows_its_log(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.stop()
        other = again(server)
        with monkeypatch.context() as patched:
            patched.setattr(postgres, "START_TIMEOUT", 0.2)
            patched.setattr(other, "_answers", lambda: False)
            with pytest.raises(DevelopmentError, match=r"(?s)did not answer within 0\.2 s; the end of .*again\.log"):
                other.start()
        server.start()

    def test_a_port_that_was_just_taken_is_replaced(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.stop()
        other = again(server)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            other.port = taken.getsockname()[1]
            monkeypatch.setattr(postgres, "free_port", lambda wished: wished or free_port())
            other.start()
            assert other.port != taken.getsockname()[1]
        other.stop()
        server.start()

    def test_what_was_never_started_can_be_stopped(self, server: EmbeddedPostgres) -> None:
        again(server).stop()

    def test_root_has_it_where_another_account_may_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        closed, opened = tmp_path / "closed", tmp_path / "open"
        closed.mkdir()
        opened.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(closed))
        monkeypatch.setattr(temporary, "PRIVATE_ROOT", opened)
        monkeypatch.setattr(temporary, "can_enter", lambda _account, folder: not folder.is_relative_to(closed))
        monkeypatch.setattr(temporary, "server_account", lambda: unprivileged.NOBODY)
        monkeypatch.setattr(EmbeddedPostgres, "start", lambda _self: None)
        with temporary_postgres() as made:
            assert made.data.is_relative_to(opened)
        assert list(closed.iterdir()) == list(opened.iterdir()) == []


class TestFreePort:
    """A port is kept if it can be."""

    def test_a_free_one_is_kept(self) -> None:
        port = free_port()
        assert free_port(port) == port

    def test_a_taken_one_is_replaced(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            assert free_port(taken.getsockname()[1]) != taken.getsockname()[1]


def test_what_steers_libpq_does_not_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGDATA", "GANTRY_DATABASE__URL", "LC_MESSAGES"):
        monkeypatch.setenv(name, "mine")
    given = postgres.server_environment()
    assert given["LC_ALL"] == "C"
    assert "mine" not in given.values()


class TestValkey:
    """One server that keeps nothing."""

    def test_it_answers_to_the_password_only(self, cache: EmbeddedValkey) -> None:
        with redis.Redis.from_url(cache.url(3)) as client:
            client.set("greeting", "hello")
            assert client.get("greeting") == b"hello"
        with redis.Redis.from_url(cache.url(4)) as client:
            assert client.get("greeting") is None
        with (
            redis.Redis.from_url(f"redis://127.0.0.1:{cache.port}", retry=None) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        assert cache.child
        assert cache.url().split(":")[2].split("@")[0] not in command_lines()[cache.child.pid]

    def another(self, folder: Path, program: Path | None = None) -> EmbeddedValkey:
        return EmbeddedValkey(
            program or find_valkey(), folder, password=secrets.token_hex(), log=folder.with_suffix(".log")
        )

    def test_leftovers_are_stopped(self, tmp_path: Path) -> None:
        folder = tmp_path / 'with spaces and "quotes"'
        left = self.another(folder)
        left.start()
        assert left.child
        assert stop_leftover_valkey(folder) == 1
        assert left.child.status == 0
        assert stop_leftover_valkey(folder) == 0
        assert sorted(path.name for path in folder.iterdir()) == ["valkey.conf"]
        left.stop()

    def test_a_server_that_ends_shows_its_log(self, tmp_path: Path) -> None:
        program = tmp_path / "valkey-server"
        program.write_text("#!/bin/sh\necho 'no such option'\nexit 2\n")
        program.chmod(0o755)
        with pytest.raises(DevelopmentError, match=r"(?s)Valkey ended with status 2; .*no such option"):
            self.another(tmp_path / "valkey", program).start()

    def test_a_server_that_does_not_answer_shows_its_log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program = tmp_path / "valkey-server"
        program.write_text("#!/bin/sh\nexec sleep 60\n")
        program.chmod(0o755)
        monkeypatch.setattr(valkey, "START_TIMEOUT", 0.1)
        silent = self.another(tmp_path / "valkey", program)
        with pytest.raises(DevelopmentError, match=r"(?s)did not answer within 0\.1 s"):
            silent.start()
        assert silent.child
        assert silent.child.status == -signal.SIGTERM

    def test_a_port_that_was_just_taken_is_replaced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        started = self.another(tmp_path / "valkey")
        with socket.create_server(("127.0.0.1", 0)) as taken:
            started.port = taken.getsockname()[1]
            monkeypatch.setattr(valkey, "free_port", lambda wished: wished or free_port())
            started.start()
            assert started.port != taken.getsockname()[1]
        started.stop()

    def test_what_was_never_started_can_be_stopped(self, tmp_path: Path) -> None:
        self.another(tmp_path / "valkey").stop()
