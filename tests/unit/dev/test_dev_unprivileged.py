"""Root's PostgreSQL: another account, and a place for it."""

import os
from pathlib import Path

import pytest

from app.dev import place, unprivileged
from app.dev.errors import DevelopmentError
from app.dev.place import data_folder, outside_path
from app.dev.state import State
from app.dev.unprivileged import NOBODY, can_enter, can_execute, private_folder, server_account


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "var"
    folder.mkdir()
    monkeypatch.setattr(unprivileged, "PRIVATE_ROOT", folder)
    return folder


def test_only_root_needs_another_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert server_account() is None
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert server_account() == NOBODY


def test_what_the_account_may_do_is_tried(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not can_enter(NOBODY, closed)
    assert not can_execute(NOBODY, closed / "none")
    may_switch = os.geteuid() == 0  # nobody else may run something as another account
    assert can_enter(NOBODY, Path("/")) is may_switch
    assert can_execute(NOBODY, Path("/bin/bash")) is may_switch


def test_a_private_folder_is_ours_and_the_same_each_time(root: Path) -> None:
    folder = private_folder("data")
    assert folder.parent == root
    assert folder.stat().st_mode & 0o777 == 0o711
    assert private_folder("data") == folder
    assert private_folder("other data") != folder


def test_a_folder_that_others_may_change_is_refused(root: Path, tmp_path: Path) -> None:
    folder = private_folder("data")
    folder.chmod(0o777)
    with pytest.raises(DevelopmentError, match="belongs to somebody else; remove it"):
        private_folder("data")
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(DevelopmentError, match="belongs to somebody else; remove it"):
        private_folder("data")


class TestDataFolder:
    """Data is in the state folder, if the account may go there."""

    @pytest.fixture
    def state(self, tmp_path: Path) -> State:
        made = State(tmp_path / "dev")
        made.make()
        return made

    def test_inside(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        assert data_folder(state, None) == state.directory / "postgres"
        monkeypatch.setattr(place, "can_enter", lambda _account, _path: True)
        assert data_folder(state, NOBODY) == state.directory / "postgres"
        assert not outside_path(state).exists()

    def test_outside(self, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(place, "can_enter", lambda _account, _path: False)
        data = data_folder(state, NOBODY)
        assert data.parent == outside_path(state)
        data.mkdir()
        assert data_folder(state, NOBODY).exists(), "it is kept"
        (state.directory / "state.json").unlink()
        assert not data_folder(state, NOBODY).exists(), "its passwords are lost"
