"""The part of ``make docs`` that concerns signals: the tables of docs/observability.md, from what the code says of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.core.logs.fields import COMMON, REQUEST
from app.core.telemetry.catalogue import GROUPS, Spec
from app.core.telemetry.span_catalogue import EVENTS, RESOURCE, SPAN_SPECS, SpanSpec

PAGE = Path("docs/observability.md")
MARKS = {
    name: (f"<!-- {name}: written by `make docs` -->", f"<!-- end of {name} -->")
    for name in ("metrics", "spans", "logs")
}


def page() -> str:
    """docs/observability.md with its tables as they should be."""
    text = PAGE.read_text()
    for name, table in (("metrics", _metrics()), ("spans", _spans()), ("logs", _logs())):
        begin, end = MARKS[name]
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return text


def _metrics() -> str:
    return "\n\n".join(f"### {title}\n\n{_group(specs)}" for title, specs in GROUPS.items())


def _group(specs: Sequence[Spec]) -> str:
    lines = ["| metric | type, unit | labels | says | a question |", "|---|---|---|---|---|"]
    for spec in specs:
        kind = f"{spec.kind}, {spec.unit}" if spec.unit else spec.kind
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        lines.append(f"| `{spec.name}` | {kind} | {labels} | {_cell(spec.meaning)} | {_cell(spec.question)} |")
    return "\n".join(lines)


def _spans() -> str:
    parts = [_span(spec) for spec in SPAN_SPECS]
    parts += ["### Events of a span", *(_fields("attribute", attributes) for attributes in EVENTS.values())]
    parts += ["### The resource: which process it was", _fields("attribute", RESOURCE)]
    return "\n\n".join(parts)


def _span(spec: SpanSpec) -> str:
    return f"### {spec.name}\n\nA {spec.kind} span, {spec.made}. {spec.question}\n\n{_fields('attribute', spec.attributes)}"


def _logs() -> str:
    return f"{_fields('field of any line', COMMON)}\n\n{_fields('field of a request', REQUEST)}"


def _fields(title: str, fields: Mapping[str, str]) -> str:
    lines = [f"| {title} | says |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {_cell(meaning)} |" for name, meaning in fields.items())])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write() -> None:
    """Write the page."""
    PAGE.write_text(page())
