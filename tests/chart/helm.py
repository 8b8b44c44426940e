"""Rendering the chart: real `helm template`, its objects as Python has them."""

import json
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

CHART = Path("charts/gantry")

Object = dict[str, Any]
Values = dict[str, Any]

REQUIRED: Values = {
    "database": {"host": "postgres.example.internal", "existingSecret": "gantry-database"},
    "security": {"existingSecret": "gantry-security"},
}
"""Everything that has no default."""


class RenderFailed(Exception):
    """Helm refused; its message says why."""


def helm(*arguments: str | Path, stdin: str = "") -> str:
    """What the helm of the environment prints: the same for everybody, so that renders can be compared. Raises ``RenderFailed``."""
    program = Path(sys.executable).with_name("helm")
    if not program.exists():
        raise AssertionError(
            f"there is no {program}: the environment has the package helm-binary (`make test` makes it)"
        )
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise RenderFailed(done.stderr)
    return done.stdout


def merged(*layers: Values) -> Values:
    """Values as Helm lays files over each other: maps are joined, anything else is replaced."""
    result: Values = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def at(path: str, value: Any) -> Values:
    """``at("a.b", 1)`` is ``{"a": {"b": 1}}``."""
    for part in reversed(path.split(".")):
        value = {part: value}
    result: Values = value
    return result


def render(
    *values: Values,
    release: str = "gantry",
    namespace: str = "gantry",
    chart: Path = CHART,
    required: Values = REQUIRED,
    kube_version: str = "1.30.0",
) -> list[Object]:
    """The objects that these values, laid over the required ones, make. Don't change them: the next test gets the same ones."""
    return _render(json.dumps(merged(required, *values)), release, namespace, str(chart), kube_version)


@lru_cache(maxsize=512)
def _render(values: str, release: str, namespace: str, chart: str, kube_version: str) -> list[Object]:
    options = ["--namespace", namespace, "--kube-version", kube_version, "--values", "-"]
    return load(helm("template", release, chart, *options, stdin=values))


class _StrictLoader(yaml.CSafeLoader):
    """Refuses a key that stands twice, as the API server does."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        names = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {name for name in names if names.count(name) > 1}
        assert not twice, f"written twice: {twice} at {node.start_mark}"
        return super().construct_mapping(node, deep)


def load(text: str) -> list[Object]:
    """The objects of a stream of YAML."""
    return [document for document in yaml.load_all(text, _StrictLoader) if document]


def refusal(*values: Values, required: Values = REQUIRED) -> str:
    """Why these values are refused, on one line. Fails when they aren't."""
    try:
        render(*values, required=required)
    except RenderFailed as error:
        return " ".join(str(error).split())
    raise AssertionError("it rendered")
