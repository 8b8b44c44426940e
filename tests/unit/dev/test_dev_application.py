"""The app as the runner sees it."""

from pathlib import Path

from app.core import schema
from app.dev.application import Application, newest_revision


def test_a_migrated_database_is_known(database_url: str, tmp_path: Path) -> None:
    assert Application({"GANTRY_DATABASE__URL": database_url}, tmp_path).is_migrated()
    pooled = {"GANTRY_DATABASE__URL": "postgresql://127.0.0.1:1/none", "GANTRY_DATABASE__DIRECT_URL": database_url}
    assert Application(pooled, tmp_path).is_migrated()


def test_what_can_not_be_asked_has_to_be_migrated(tmp_path: Path) -> None:
    assert not Application({}, tmp_path).is_migrated()
    assert not Application({"GANTRY_DATABASE__URL": "postgresql://127.0.0.1:1/none"}, tmp_path).is_migrated()
    assert not Application({"GANTRY_DATABASE__URL": "no URL"}, tmp_path).is_migrated()


def test_the_newest_revision_is_the_codes() -> None:
    assert int(newest_revision()) == schema.HEAD
