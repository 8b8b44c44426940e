"""The folder of `make run`."""

import os
from pathlib import Path

import pytest

from app.dev.errors import DevelopmentError
from app.dev.state import Running, State


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "dev")
    made.make()
    return made


def test_secrets_are_made_once_and_closed_to_others(state: State) -> None:
    secret = state.secret("pepper", "development-only-")
    assert secret.startswith("development-only-")
    assert len(secret) > 50
    assert State(state.directory).secret("pepper") == secret
    assert state.secret("other") != state.secret("another")
    assert (state.directory / "state.json").stat().st_mode & 0o777 == 0o600


def test_values_are_remembered(state: State) -> None:
    assert (state.number("port"), state.text("mark")) == (0, "")
    assert state.remember("port", 5432) == 5432
    state.remember("mark", "yes")
    assert (state.number("port"), state.text("mark")) == (5432, "yes")
    assert (state.number("mark"), state.text("port")) == (0, "")


def test_only_what_must_be_is_open_to_others(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    state.make()
    assert state.directory.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    state.make()
    assert state.directory.stat().st_mode & 0o777 == 0o711
    assert state.logs.stat().st_mode & 0o777 == 0o700


def test_the_lock_names_its_holder(state: State) -> None:
    other = State(state.directory)
    assert other.running() is None
    with state.locked():
        with pytest.raises(DevelopmentError, match="it has just been started"), other.locked(patience=0):
            pytest.fail("two had the lock")
        assert other.running() is None
        running = Running(4711, "http://127.0.0.1:8000", {"GANTRY_ENVIRONMENT": "development"})
        state.describe(running)
        assert other.running() == running
        assert (state.directory / "running.json").stat().st_mode & 0o777 == 0o600
        with (
            pytest.raises(DevelopmentError, match=r"already running here: process 4711, http://127\.0\.0\.1:8000"),
            other.locked(patience=0.1),
        ):
            pytest.fail("two had the lock")
    assert other.running() is None, "the description of a killed run does not count"
    state.describe(None)
    assert not (state.directory / "running.json").exists()
    with other.locked():
        pass


def test_nobody_runs_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert State(tmp_path / "none").running() is None
    assert not (tmp_path / "none").exists()


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DevelopmentError, match=r"dev can't be made: Not a directory"):
        State(tmp_path / "file" / "dev").make()


def test_a_broken_file_is_named(state: State) -> None:
    (state.directory / "state.json").write_text("{")
    with pytest.raises(DevelopmentError, match=r"state\.json can't be read .*make clean"):
        state.secret("pepper")
