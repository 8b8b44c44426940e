"""The part of ``make docs`` that concerns the Helm chart: its README, the schema of its values, its golden renders.

Values are described once, by the ``# --`` comments of values.yaml; what may stand in ``config`` follows from the settings themselves.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from app.core.config import Settings
from app.dev.reference import field_docstrings

CHART = Path("charts/gantry")
VALUES = CHART / "values.yaml"
SCHEMA = CHART / "values.schema.json"
PAGE = CHART / "README.md"
GOLDEN = Path("tests/chart/golden")
VALUES_MARKS = "<!-- values: written by `make docs` -->", "<!-- end of values -->"

COMPUTED = {
    "database.url": "database.host, or pgbouncer",
    "database.direct_url": "database.host, database.port, database.name and database.tls",
    "database.pool_size": "api.poolSize",
    "database.pool_recycle": "api.poolRecycleSeconds",
    "limits.url": "limits.mode",
    "limits.password": "limits.valkey.existingSecret",
    "security.key_peppers": "security.existingSecret",
    "security.cursor_keys": "security.existingSecret",
    "security.bootstrap_key": "security.existingSecret",
    "log.level": "logging.level",
    "log.requests": "logging.requests",
    "tracing.endpoint": "tracing.endpoint",
    "tracing.headers": "tracing.headersSecret",
    "tracing.sample_ratio": "tracing.sampleRatio",
    "server.host": "the pod's own ports",
    "server.port": "the pod's own ports",
    "server.admin_host": "the pod's own ports",
    "server.admin_port": "the pod's own ports",
    "server.workers": "api.workers",
    "server.graceful_timeout": "api.terminationGracePeriodSeconds",
    "server.close_timeout": "api.terminationGracePeriodSeconds",
    "server.runtime_dir": "the pod's own volumes",
}
"""Settings that the chart sets, and from what. The schema lets them by in ``config``, so that templates/_validation.tpl can
refuse them with a sentence that names the value to set instead."""


@dataclass(frozen=True)
class Value:
    """One line of the table: a value of values.yaml that has no parts of its own, or is described as a whole."""

    path: tuple[str, ...]
    default: Any
    description: str

    @property
    def name(self) -> str:
        """As ``helm --set`` takes it."""
        return ".".join(part.replace(".", "\\.") for part in self.path)


def values() -> list[Value]:
    """All values in their order. One without a comment has that of its parent, or a reference to the first of its name."""
    text = VALUES.read_text()
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)  # noqa: S101 - a chart's values are
    found = list(_walk(root, text.splitlines(), (), ""))
    described = {value.path[-1]: value for value in reversed(found) if value.description and value.path[-1] in ALIKE}
    return [value if value.description else _like(value, described) for value in found]


def _like(value: Value, described: dict[str, Value]) -> Value:
    example = described.get(value.path[-1])
    return Value(value.path, value.default, f"As `{example.name}`." if example else "")


def _walk(node: yaml.MappingNode, lines: list[str], path: tuple[str, ...], inherited: str) -> Iterator[Value]:
    for key, child in node.value:
        own = _comment(lines, key.start_mark.line)
        here = (*path, key.value)
        if isinstance(child, yaml.MappingNode) and child.value and key.value not in WHOLE:
            yield from _walk(child, lines, here, own)
        else:
            yield Value(here, yaml.safe_load(yaml.serialize(child)), own or inherited)


WHOLE = frozenset({"behavior", "labels", "resources"})
"""Maps that are one value: their keys are Kubernetes' or the user's."""

ALIKE = frozenset(
    {
        "affinity",
        "digest",
        "extraEnv",
        "extraVolumeMounts",
        "extraVolumes",
        "interval",
        "labels",
        "maxmemoryPercent",
        "nodeSelector",
        "podAnnotations",
        "podLabels",
        "priorityClassName",
        "pullPolicy",
        "resources",
        "tolerations",
        "topologySpreadConstraints",
    }
)
"""Values that mean the same wherever they stand, so they are described once."""


def _comment(lines: list[str], line: int) -> str:
    """The ``# --`` comment right above a line, as one line."""
    above: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        text = lines[line].lstrip().removeprefix("#").strip()
        above.insert(0, text.removeprefix("--").strip())
        if text.startswith("--"):
            return " ".join(above)
    return ""


def values_table() -> str:
    """The chart's values as a Markdown table."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for value in values():
        default = json.dumps(value.default)
        lines.append(f"| `{value.name}` | `{default}` | {value.description.replace('|', '\\|')} |")
    return "\n".join(lines)


def page() -> str:
    """The chart's README with its table as it should be."""
    before, _, rest = PAGE.read_text().partition(VALUES_MARKS[0])
    _, _, after = rest.partition(VALUES_MARKS[1])
    return f"{before}{VALUES_MARKS[0]}\n\n{values_table()}\n\n{VALUES_MARKS[1]}{after}"


def schema() -> str:
    """values.schema.json with descriptions from values.yaml, and with what the application lets be set under ``config``."""
    document = json.loads(SCHEMA.read_text())
    described = {value.path: value.description for value in values()}
    document["properties"]["config"] = config_schema() | {"description": described[("config",)]}
    for path, description in described.items():
        member = document
        for part in path:
            member = member.get("properties", {}).get(part, {})
        if member and description:
            member["description"] = description
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def config_schema() -> dict[str, Any]:
    """What may stand in ``config``: groups and names of the settings, with their types and bounds."""
    document = Settings.model_json_schema()
    groups: dict[str, Any] = {}
    for name, field in Settings.model_fields.items():
        group = field.annotation
        assert isinstance(group, type)  # noqa: S101 - a group, or an enumeration
        definition = document["$defs"][group.__name__]
        if issubclass(group, BaseModel):
            documented = field_docstrings(group)
            members = {m: _setting(f"{name}.{m}", s, documented[m]) for m, s in definition["properties"].items()}
            groups[name] = {"type": "object", "additionalProperties": False, "properties": members}
        else:
            groups[name] = _bare(definition)
    return {"type": "object", "additionalProperties": False, "properties": groups}


def _setting(name: str, schema: dict[str, Any], documented: str) -> dict[str, Any]:
    if origin := COMPUTED.get(name):
        return {"description": f"Refused here: it follows from {origin}."}
    if "writeOnly" in json.dumps(schema):
        raise ValueError(
            f"{name} is a secret, and config ends in a ConfigMap: give it a Secret and an entry in COMPUTED"
        )
    return _bare(schema) | {"description": " ".join(documented.replace("``", "`").split())}


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    """Without what only pydantic reads: defaults are the application's, and formats differ between validators."""
    return {key: value for key, value in schema.items() if key not in ("default", "title", "description", "format")}


def golden_values() -> list[Path]:
    """Files of values whose render is kept, so that a change of the chart shows as a change of manifests."""
    return sorted(GOLDEN.glob("*.values.yaml"))


def golden_render(values_file: Path) -> str:
    """What ``helm template`` makes of them."""
    helm = Path(sys.executable).with_name("helm")
    command: list[str | Path] = [helm, "template", "gantry", CHART, "--namespace", "gantry", "--values", values_file]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def rendered_path(values_file: Path) -> Path:
    """Where that is kept."""
    return values_file.with_name(values_file.name.replace(".values.", ".rendered."))


def write() -> None:
    """Write all of it."""
    SCHEMA.write_text(schema())
    PAGE.write_text(page())
    for values_file in golden_values():
        rendered_path(values_file).write_text(golden_render(values_file))
