"""The linter of migrations: the committed ones pass, and each rule refuses what it is there for, and no more.

Each case is a migration file, run by Alembic on a PostgreSQL that has two tables with rows: see tests/migration_lint.
"""

import re
from collections.abc import Callable
from pathlib import Path
from textwrap import indent

import pytest
from alembic.config import Config

from app.core.config import DatabaseSettings
from app.migrations.run import alembic_config
from tests.conftest import make_database
from tests.migration_lint.cases import ALLOWED, BASE, CASE, EMPTY, REFUSED, sql
from tests.migration_lint.lint import Finding, lint
from tests.migration_lint.rules import LONGEST_LOCK_TIMEOUT_MS, RULES

Judge = Callable[..., list[Finding]]

ELSEWHERE = {"no-way-back", "bad-waiver"}
"""Rules about the file and not about a statement: they have tests of their own below."""


def with_versions(folder: Path) -> Config:
    """Alembic as the application configures it, on other migrations."""
    config = alembic_config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", str(folder))
    return config


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> str:
    """The name of a database with the two tables."""
    folder = tmp_path_factory.mktemp("versions")
    (folder / "0001_base.py").write_text(BASE)
    (folder / "0002_empty.py").write_text(EMPTY)
    name = f"lint_base_{worker_id}"
    assert lint(with_versions(folder), make_database(name, "template0")) == []
    return name


@pytest.fixture
def judge(base: str, worker_id: str, tmp_path: Path) -> Judge:
    """Run the linter on one more migration: its body, and lines before that or instead of its downgrade."""

    def judged(body: str, more: str = "", downgrade: str | None = None) -> list[Finding]:
        (tmp_path / "0001_base.py").write_text(BASE)
        (tmp_path / "0002_empty.py").write_text(EMPTY)
        source = CASE.format(body=indent(body.strip(), "    "), more=more)
        if downgrade is not None:
            source = source.partition("def downgrade")[0] + downgrade
        (tmp_path / "0003_case.py").write_text(source)
        return lint(with_versions(tmp_path), make_database(f"lint_{worker_id}", base), after="0002")

    return judged


def test_the_committed_migrations_pass(worker_id: str) -> None:
    found = lint(alembic_config(), make_database(f"lint_{worker_id}", "template0"))
    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize(("rules", "body"), REFUSED, ids=[f"{n}-{rules}" for n, (rules, _) in enumerate(REFUSED)])
def test_it_is_refused(judge: Judge, rules: str, body: str) -> None:
    assert {finding.rule for finding in judge(body)} == set(rules.split())


@pytest.mark.parametrize("body", ALLOWED.values(), ids=ALLOWED.keys())
def test_it_is_allowed(judge: Judge, body: str) -> None:
    assert [str(finding) for finding in judge(body)] == []


def test_every_rule_has_a_case() -> None:
    assert {rule for rules, _ in REFUSED for rule in rules.split()} | ELSEWHERE == set(RULES)


def test_the_lock_timeout_is_the_applications() -> None:
    assert DatabaseSettings.model_fields["migration_lock_timeout"].default * 1000 == LONGEST_LOCK_TIMEOUT_MS


def test_a_finding_says_where_why_and_what_to_do(judge: Judge) -> None:
    (finding,) = judge(sql("CREATE INDEX i ON users (age)"))
    assert re.fullmatch(
        r"0003_case\.py: index-blocks-writes: CREATE INDEX i ON users \(age\)\n    refused: an index .*\n    instead: .*",
        str(finding),
    )


@pytest.mark.parametrize(
    ("waivers", "expected"),
    [
        ({"index-blocks-writes": "the table has ten rows"}, []),
        ({"index-blocks-writes": " "}, ["is waived without a reason"]),
        ({"rename": "old habit"}, ["rename is not broken here", "CREATE INDEX"]),
        ({"no-such-rule": "x", "index-blocks-writes": "small"}, ["there is no rule no-such-rule"]),
    ],
)
def test_a_waiver_needs_a_rule_a_reason_and_a_use(judge: Judge, waivers: dict[str, str], expected: list[str]) -> None:
    found = judge(sql("CREATE INDEX i ON users (age)"), more=f"LINT_ALLOWED = {waivers!r}")
    assert len(found) == len(expected)
    assert all(any(words in finding.where for finding in found) for words in expected)


@pytest.mark.parametrize(
    ("downgrade", "where"),
    [
        ("", "there is no downgrade()"),
        ("def downgrade():\n    pass\n", "does nothing"),
        ("def downgrade():\n    'Nothing.'\n", "does nothing"),
        ("def downgrade():\n    raise NotImplementedError\n", "raises without a reason"),
        ("def downgrade():\n    raise NotImplementedError()\n", "raises without a reason"),
        ("def downgrade():\n    raise NotImplementedError('the old values are gone')\n", None),
    ],
)
def test_there_is_a_way_back_or_a_reason(judge: Judge, downgrade: str, where: str | None) -> None:
    found = judge(sql("SELECT 1"), downgrade=downgrade)
    assert [finding.rule for finding in found] == (["no-way-back"] if where else [])
    assert all(where in finding.where for finding in found if where)
