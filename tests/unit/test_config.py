"""Settings: where they come from, and what is said when they are wrong."""

import json
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from app.core.config import Environment, Settings, variable_name
from app.core.loading import SettingsInvalid, load_settings
from tests.conftest import make_settings

SECRET = "s" * 32
VALID = {
    "GANTRY_DATABASE__URL": "postgresql://user:hidden@db/name",
    "GANTRY_SECURITY__KEY_PEPPERS": json.dumps([SECRET]),
    "GANTRY_SECURITY__CURSOR_KEYS": json.dumps([SECRET]),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in VALID.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def messages() -> list[str]:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings()
    assert SECRET not in str(caught.value)
    return caught.value.messages


def test_the_environment_is_read() -> None:
    settings = load_settings()
    assert settings.database.url.get_secret_value() == VALID["GANTRY_DATABASE__URL"]
    assert settings.security.key_peppers == (SecretStr(SECRET),)
    assert settings.environment is Environment.production


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VALID:
        monkeypatch.delenv(name)
    assert messages() == [
        "GANTRY_DATABASE__URL: required, but not set",
        "GANTRY_SECURITY__KEY_PEPPERS, GANTRY_SECURITY__CURSOR_KEYS: required, but not set",
    ]


def test_one_missing_member_of_a_group_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GANTRY_SECURITY__CURSOR_KEYS")
    assert messages() == ["GANTRY_SECURITY__CURSOR_KEYS: required, but not set"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GANTRY_DATABSE__URL", "x", "GANTRY_DATABSE__URL: there is no such setting; see the table in README.md"),
        ("GANTRY_HTTP__BOGUS", "1", "GANTRY_HTTP__BOGUS: there is no such setting; see the table in README.md"),
        ("GANTRY_SERVER__WORKERS", "65", "GANTRY_SERVER__WORKERS: input should be less than or equal to 64"),
        ("GANTRY_LIMITS__DEFAULT", "often", "GANTRY_LIMITS__DEFAULT: must read like '10/minute' or '600/60 second'"),
        (
            "GANTRY_SECURITY__KEY_PEPPERS",
            json.dumps(["short"]),
            "GANTRY_SECURITY__KEY_PEPPERS: each secret needs at least 32 characters",
        ),
        (
            "GANTRY_SECURITY__CURSOR_KEYS",
            json.dumps(["development-only-" + SECRET]),
            (
                "GANTRY_SECURITY__CURSOR_KEYS: a development secret can't be used in production; "
                "make one with `openssl rand -base64 32`"
            ),
        ),
        (
            "GANTRY_SECURITY__KEY_PEPPERS",
            "not-json",
            'GANTRY_SECURITY__KEY_PEPPERS: a list is written as JSON, such as \'["a", "b"]\'',
        ),
        ("GANTRY_DATABASE__URL", "mysql://db/name", "GANTRY_DATABASE__URL: must begin with postgresql://"),
        ("GANTRY_DATABASE__DIRECT_URL", "nonsense", "GANTRY_DATABASE__DIRECT_URL: must begin with postgresql://"),
        ("GANTRY_LIMITS__DEFAULT", "0/minute", "GANTRY_LIMITS__DEFAULT: must allow at least 1"),
        (
            "GANTRY_LIMITS__DEFAULT",
            "10/minute; 5/second",
            "GANTRY_LIMITS__DEFAULT: must read like '10/minute' or '600/60 second'",
        ),
        (
            "GANTRY_LIMITS__URL",
            "redis://:a/b@cache:6379/0",
            "GANTRY_LIMITS__URL: is no URL of a Redis; a password's special characters are written as %2F and the like",
        ),
        ("GANTRY_LIMITS__URL", "http://cache", "GANTRY_LIMITS__URL: must begin with redis://, rediss:// or unix://"),
    ],
)
def test_a_wrong_setting_is_one_readable_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    assert messages() == [message]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "GANTRY_LIMITS__PASSWORD: is the password of GANTRY_LIMITS__URL, which is not set"),
        *(
            (url, "GANTRY_LIMITS__PASSWORD: GANTRY_LIMITS__URL has a password too; take it out of there")
            for url in ("redis://:other@cache", "rediss://user:other@cache:6380/1", "unix:///run/cache?password=other")
        ),
    ],
)
def test_a_password_of_limits_is_given_once(monkeypatch: pytest.MonkeyPatch, url: str | None, message: str) -> None:
    monkeypatch.setenv("GANTRY_LIMITS__PASSWORD", "hidden")
    if url:
        monkeypatch.setenv("GANTRY_LIMITS__URL", url)
    assert messages() == [message]


def test_a_password_of_limits_may_stand_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_LIMITS__URL", "redis://user@cache:6379/0")
    monkeypatch.setenv("GANTRY_LIMITS__PASSWORD", "p@/:%41")
    limits = load_settings().limits
    assert limits.password is not None
    assert limits.password.get_secret_value() == "p@/:%41"
    assert "p@" not in repr(limits)


def test_a_wildcard_origin_with_credentials_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_HTTP__CORS_ORIGINS", '["*"]')
    monkeypatch.setenv("GANTRY_HTTP__CORS_CREDENTIALS", "true")
    assert messages() == [
        "GANTRY_HTTP__CORS_ORIGINS: '*' can't be combined with GANTRY_HTTP__CORS_CREDENTIALS; list the origins"
    ]


def test_development_secrets_are_for_development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_SECURITY__KEY_PEPPERS", json.dumps(["development-only-" + SECRET]))
    monkeypatch.setenv("GANTRY_ENVIRONMENT", "development")
    assert load_settings().environment is Environment.development


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_SERVER__PORT", "99999")
    monkeypatch.setenv("GANTRY_LOG__LEVEL", "loud")
    monkeypatch.setenv("GANTRY_LOGG__LEVEL", "info")
    assert [message.split(":")[0] for message in messages()] == [
        "GANTRY_LOGG__LEVEL",
        "GANTRY_SERVER__PORT",
        "GANTRY_LOG__LEVEL",
    ]


def test_secret_files_are_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GANTRY_DATABASE__URL")
    monkeypatch.setenv("GANTRY_SECRETS_DIR", str(tmp_path))
    (tmp_path / "gantry_database__url").write_text("postgresql://from-a-file/name\n")
    (tmp_path / "GANTRY_SECURITY__CURSOR_KEYS").write_text(json.dumps(["f" * 32]))
    settings = load_settings()
    assert settings.database.url.get_secret_value().startswith("postgresql://from-a-file/name")
    assert settings.security.cursor_keys[0].get_secret_value() == SECRET


def test_a_secret_folder_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANTRY_SECRETS_DIR", str(tmp_path / "absent"))
    assert messages() == ["GANTRY_SECRETS_DIR: there is no such folder"]


def test_the_revision_that_the_image_says_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_REVISION", "0123abc")
    assert load_settings().environment is Environment.production


def test_settings_can_not_be_changed_and_do_not_show_secrets() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        settings.server.port = 1  # type: ignore[misc]  # that is the point
    assert SECRET not in repr(settings)
    assert "hidden" not in repr(settings)


def test_direct_is_the_url_when_there_is_no_pooler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().database.direct == load_settings().database.url
    monkeypatch.setenv("GANTRY_DATABASE__DIRECT_URL", "postgresql://direct/name")
    assert load_settings().database.direct.get_secret_value() == "postgresql://direct/name"


def test_a_setting_has_one_variable() -> None:
    assert variable_name(("security", "key_peppers", 0)) == "GANTRY_SECURITY__KEY_PEPPERS"


def test_the_readme_lists_every_setting() -> None:
    readme = Path("README.md").read_text()
    for group, field in Settings.model_fields.items():
        members = getattr(field.annotation, "model_fields", None)
        names = [variable_name((group,))] if members is None else [variable_name((group, name)) for name in members]
        for name in names:
            assert f"`{name}`" in readme, name


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "GANTRY_DATABASE__URL",
            "postgresql://u:hunter2@h:notaport/db",
            "GANTRY_DATABASE__URL: is no URL of a PostgreSQL, such as postgresql://user:password@host:5432/name",
        ),
        (
            "GANTRY_SECURITY__BOOTSTRAP_KEY",
            "garbage",
            "GANTRY_SECURITY__BOOTSTRAP_KEY: is no key made with these peppers; make one with `gantry keys create --offline`",
        ),
        ("GANTRY_SERVER__ADMIN_PORT", "8000", "GANTRY_SERVER__PORT: must not be that of GANTRY_SERVER__ADMIN_PORT"),
        (
            "GANTRY_HTTP__CORS_ORIGINS",
            '["https://app.example/"]',
            "GANTRY_HTTP__CORS_ORIGINS: an origin reads like https://app.example, without a path or a slash at its end",
        ),
        (
            "GANTRY_HTTP__PUBLIC_URL",
            "javascript:alert(1)",
            "GANTRY_HTTP__PUBLIC_URL: must read like https://api.example, without a path or a slash at its end",
        ),
        ("GANTRY_HTTP__DEADLINE", "inf", "GANTRY_HTTP__DEADLINE: input should be a finite number"),
    ],
)
def test_what_can_not_work_is_refused_before_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    assert messages() == [message]
    assert "hunter2" not in str(messages())


def test_a_list_that_is_no_list_hides_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANTRY_HTTP__CORS_ORIGINS", "*")
    monkeypatch.setenv("GANTRY_SECURITY__CURSOR_KEYS", "secret")
    monkeypatch.setenv("GANTRY_SERVER__PORT", "99999")
    assert [message.split(":")[0] for message in messages()] == [
        "GANTRY_SECURITY__CURSOR_KEYS",
        "GANTRY_HTTP__CORS_ORIGINS",
        "GANTRY_SERVER__PORT",
    ]
    monkeypatch.delenv("GANTRY_SECURITY__CURSOR_KEYS")
    monkeypatch.setenv("GANTRY_SECRETS_DIR", str(tmp_path))
    (tmp_path / "gantry_security__cursor_keys").write_text("secret")
    assert messages()[0].startswith("GANTRY_SECURITY__CURSOR_KEYS: a list is written as JSON")


def test_a_group_is_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_LOG", "loud")
    assert messages() == ["GANTRY_LOG: a whole group is written as a JSON object; or set its members one by one"]


def test_the_last_spans_must_fit_into_a_stop() -> None:
    with pytest.raises(
        ValidationError, match="GANTRY_TRACING__TIMEOUT: must not be more than GANTRY_SERVER__CLOSE_TIMEOUT"
    ):
        make_settings("postgresql://host/name", tracing={"timeout": 5.5})


@pytest.mark.parametrize("endpoint", ["collector:4318", "http://user:secret@collector:4318", "http://collector/?x=1"])
def test_a_collector_is_a_base_url(endpoint: str) -> None:
    with pytest.raises(ValidationError, match="must read like http://collector:4318") as refusal:
        make_settings("postgresql://host/name", tracing={"endpoint": endpoint})
    assert "secret" not in str(refusal.value.errors(include_input=False))
