"""``make docs``: writes what is derived from the code, and a test fails when it drifts.

The API's description, the table of settings in README.md, the diff of ``items`` in docs/add-a-resource.md; the chart's are in
``chart_reference``.
"""

import ast
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from app.core.config import DatabaseSettings, SecuritySettings, Settings, variable_name
from app.main import create_app

OPENAPI = Path("docs/openapi.json")
README = Path("README.md")
GUIDE = Path("docs/add-a-resource.md")
SETTINGS_MARKS = "<!-- settings: written by `make docs` -->", "<!-- end of settings -->"
ITEMS_MARKS = "<!-- items: written by `make docs` -->", "<!-- end of items -->"

RESOURCE_FILES = (
    "app/models/item.py",
    "app/schemas/items.py",
    "app/services/items.py",
    "app/services/point_reads.py",
    "app/api/v1/endpoints/items.py",
)
"""The files of ``items``."""

RESOURCE_LINES = {
    "app/models/__init__.py": r"\bItem\b|\.item\b",
    "app/core/scopes.py": r"items",
    "app/api/v1/api.py": r"\bitems\b(?!_)",
}
"""Files that all resources share, and which of their lines are those of ``items``."""
NEVER_USED = SecretStr("-" * 32)


def openapi() -> str:
    """The API's description; needs no database."""
    settings = Settings(
        database=DatabaseSettings(url=SecretStr("postgresql:///")),
        security=SecuritySettings(key_peppers=(NEVER_USED,), cursor_keys=(NEVER_USED,)),
    )
    return json.dumps(create_app(settings).openapi(), indent=1, ensure_ascii=False) + "\n"


def settings_table() -> str:
    """All settings as a Markdown table: variable, default, and the docstring that stands under the field."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            documented = field_docstrings(group)
            lines += [_row((name, n), f, documented[n]) for n, f in group.model_fields.items()]
        else:
            lines.append(_row((name,), field, inspect.getdoc(group) or ""))
    return "\n".join(lines)


def _row(location: tuple[str, ...], field: FieldInfo, meaning: str) -> str:
    default = "required" if field.is_required() else f"`{_shown(field.default)}`"
    text = re.sub(r"\s+", " ", meaning.replace("``", "`")).replace("|", "\\|")
    return f"| `{variable_name(location)}` | {default} | {text} |"


def _shown(value: Any) -> str:
    if value is None:
        return "unset"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, tuple) else str(value)


def field_docstrings(group: type[BaseModel]) -> dict[str, str]:
    """The string under each field, which Python itself does not keep."""
    (definition,) = ast.parse(inspect.getsource(group)).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - the source of a class
    return dict(_documented(definition.body))


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            documented = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            yield statement.target.id, str(following.value.value) if documented else ""  # type: ignore[union-attr]  # just checked


def items_diff() -> str:
    """The files of ``items``, and its lines in files that resources share, as a diff that adds them."""
    parts = []
    for name in RESOURCE_FILES:
        lines = Path(name).read_text().splitlines()
        parts.append(_diff(name, [f"+{line}" for line in lines]))
    for name, pattern in RESOURCE_LINES.items():
        lines = Path(name).read_text().splitlines()
        own = [f"{'+' if re.search(pattern, line) else ' '}{line}" for line in lines]
        parts.append(_diff(name, own))
    return "\n\n".join(parts)


def _diff(name: str, lines: list[str]) -> str:
    return "\n".join([f"`{name}`", "", "```diff", *(line.rstrip() for line in lines), "```"])


def readme() -> str:
    """README.md with its table of settings as it should be."""
    return _between(README, SETTINGS_MARKS, settings_table())


def guide() -> str:
    """docs/add-a-resource.md with its diff as it should be."""
    return _between(GUIDE, ITEMS_MARKS, items_diff())


def _between(page: Path, marks: tuple[str, str], text: str) -> str:
    before, _, rest = page.read_text().partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}"


if __name__ == "__main__":
    from app.dev import chart_reference, observability_reference

    OPENAPI.write_text(openapi())
    README.write_text(readme())
    GUIDE.write_text(guide())
    observability_reference.write()
    chart_reference.write()
