"""All migrations of a configuration, each run and judged, with the waivers that it has."""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from app.core.database import driver_url
from tests.migration_lint.checks import broken_rules
from tests.migration_lint.recording import record
from tests.migration_lint.rules import LONGEST_LOCK_TIMEOUT_MS, RULES

WAIVERS = "LINT_ALLOWED"
"""Of a migration: ``LINT_ALLOWED = {"rule": "why it does no harm here"}``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule, and where."""

    file: str
    rule: str
    where: str

    def __str__(self) -> str:
        said = RULES[self.rule]
        return f"{self.file}: {self.rule}: {self.where}\n    refused: {said.refuses}\n    instead: {said.instead}"


def lint(config: Config, url: str, *, after: str | None = None) -> list[Finding]:
    """Run the migrations (those that follow revision ``after``) on the database, and say what is wrong with them."""
    scripts = list(reversed(list(ScriptDirectory.from_config(config).walk_revisions())))
    names = [script.revision for script in scripts]
    engine = create_engine(driver_url(url), poolclass=NullPool)
    found: list[Finding] = []
    for script in scripts[names.index(after) + 1 if after else 0 :]:
        file = Path(script.path).name
        recording = record(config, engine, script, LONGEST_LOCK_TIMEOUT_MS)
        broken = [*broken_rules(recording), *_way_back(script)]
        waived = getattr(script.module, WAIVERS, {})
        found += [Finding(file, rule, where) for rule, where in broken if rule not in waived]
        found += [Finding(file, "bad-waiver", what) for what in _bad_waivers(waived, {rule for rule, _ in broken})]
        if recording.error:
            break  # the following ones build on it
    return found


def _way_back(script: Script) -> Iterator[tuple[str, str]]:
    downgrade = getattr(script.module, "downgrade", None)
    if downgrade is None:
        yield "no-way-back", "there is no downgrade()"
        return
    (function,) = ast.parse(inspect.getsource(downgrade)).body
    body = function.body if isinstance(function, ast.FunctionDef) else []
    does = [
        s
        for s in body
        if not isinstance(s, ast.Pass) and not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
    ]
    if not does:
        yield "no-way-back", "downgrade() does nothing"
    elif isinstance(does[0], ast.Raise) and not (isinstance(does[0].exc, ast.Call) and does[0].exc.args):
        yield "no-way-back", "downgrade() raises without a reason"


def _bad_waivers(waived: dict[str, str], broken: set[str]) -> Iterator[str]:
    for rule, reason in waived.items():
        if rule not in RULES:
            yield f"there is no rule {rule}"
        elif rule not in broken:
            yield f"{rule} is not broken here"
        elif not reason.strip():
            yield f"{rule} is waived without a reason"
