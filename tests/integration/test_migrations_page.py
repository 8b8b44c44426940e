"""docs/migrations.md: its example is run on the real schema, and its table of rules is that of the linter."""

import re
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
import pytest

import app.migrations
from tests.conftest import make_database
from tests.integration.test_migration_lint import with_versions
from tests.migration_lint.lint import lint
from tests.migration_lint.rules import RULES

PAGE = Path("docs/migrations.md").read_text()
EXAMPLES = dict(re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL))

COMMON = "INSERT INTO users (email, email_key, age, {columns}) VALUES ('e', gen_random_uuid()::text, 1, {values})"


class Release(NamedTuple):
    """What a release's code does, and the revisions it names."""

    reads: str
    writes: tuple[str, ...]
    head: int
    oldest: int


def releases() -> list[Release]:
    """The page's table."""
    rows = re.findall(r"^\| \d: [^|]*\|[^|]*\| `(\w+)` \| (\w+|`\w+`) \| (\d+) \| (\d+) \|$", PAGE, re.MULTILINE)
    columns = {"both": ("name", "full_name")}
    return [Release(r, columns.get(w, (w.strip("`"),)), int(head), int(oldest)) for r, w, head, oldest in rows]


LAST: Final = max(int(name[:4]) for name in EXAMPLES)


def write(connection: psycopg.Connection, release: Release) -> None:
    values = ", ".join("'x'" for _ in release.writes)
    connection.execute(COMMON.format(columns=", ".join(release.writes), values=values).encode())


def test_the_example_is_run_and_found_in_order(tmp_path: Path, worker_id: str) -> None:
    first = Path(app.migrations.__path__[0]) / "versions" / "0001_first_schema.py"
    (tmp_path / first.name).write_text(first.read_text())
    url = make_database(f"page_{worker_id}", "template0")
    assert lint(with_versions(tmp_path), url) == []
    served = set()
    for revision in range(1, LAST + 1):
        if revision > 1:
            (name,) = [name for name in EXAMPLES if name.startswith(f"{revision:04}")]
            (tmp_path / name).write_text(EXAMPLES[name])
            found = lint(with_versions(tmp_path), url, after=f"{revision - 1:04}")
            assert found == [], "\n".join(map(str, found))
        with psycopg.connect(url, autocommit=True) as connection:
            row = connection.execute("SELECT max(runs_code_from) FROM schema_compatibility").fetchone()
            assert row is not None
            for number, release in enumerate(releases(), 1):
                if release.oldest <= revision and row[0] <= release.head:
                    served.add((number, revision))
                    if (
                        number > 1 or revision == 1
                    ):  # once release 2 is out nobody writes without the new column any more
                        write(connection, release)
                    connection.execute(f"SELECT {release.reads} FROM users".encode())  # noqa: S608 - the page's column
    # Each on its own schema, on that of the next release, and never on one it has to wait for or is locked out of.
    assert served == {
        *((1, revision) for revision in range(1, 5)),
        *((2, revision) for revision in range(2, 9)),
        *((3, revision) for revision in range(7, 9)),
        *((4, revision) for revision in range(8, 10)),
        *((5, revision) for revision in range(8, 10)),
    }
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT count(*), count(full_name) FROM users").fetchone()
    assert rows is not None
    assert rows[0] == rows[1] > 0


def test_there_are_five_releases_and_all_examples_were_found() -> None:
    assert len(releases()) == 5
    assert sorted(name[:4] for name in EXAMPLES) == [f"{revision:04}" for revision in range(2, LAST + 1)]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_in_the_table(rule: str) -> None:
    assert f"| `{rule}` | {RULES[rule].refuses} | {RULES[rule].instead} |" in PAGE


def test_the_table_has_no_other_rules() -> None:
    table = PAGE.partition("| rule | refused | instead |")[2]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(RULES)
