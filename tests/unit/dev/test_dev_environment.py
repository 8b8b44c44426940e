"""Which settings the user gave, and which are filled in."""

from pathlib import Path

from app.core.config import DEVELOPMENT_SECRET_PREFIX
from app.dev.environment import fill_in, given_settings
from app.dev.runner import SECRET_PREFIX


def test_what_is_given_counts_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "gantry_database__url").write_text("postgresql://file\n")
    (tmp_path / "other").write_text("nothing of ours")
    (tmp_path / "folder").mkdir()
    given = given_settings(
        {
            "PATH": "/bin",
            "gantry_server__port": "8080",
            "GANTRY_SERVER": '{"host": "::1", "port": 1}',
            "GANTRY_ENVIRONMENT": "test",
            "GANTRY_ITEMS": "[1]",
            "GANTRY_SECRETS_DIR": str(tmp_path),
        }
    )
    assert given == {
        "GANTRY_DATABASE__URL": "postgresql://file",
        "GANTRY_SERVER__PORT": "8080",
        "GANTRY_SERVER__HOST": "::1",
        "GANTRY_SERVER": '{"host": "::1", "port": 1}',
        "GANTRY_ENVIRONMENT": "test",
        "GANTRY_ITEMS": "[1]",
        "GANTRY_SECRETS_DIR": str(tmp_path),
    }


def test_a_folder_of_secrets_that_is_missing_is_left_to_the_app(tmp_path: Path) -> None:
    given = {"GANTRY_SECRETS_DIR": str(tmp_path / "none")}
    assert given_settings(given) == given


def test_what_is_given_wins() -> None:
    assert fill_in({"GANTRY_A__B": "1", "GANTRY_C__D": "2"}, {"GANTRY_A__B": "mine"}) == {"GANTRY_C__D": "2"}


def test_the_apps_word_for_a_secret_that_is_no_secret() -> None:
    assert SECRET_PREFIX == DEVELOPMENT_SECRET_PREFIX
