"""What `make docs` writes of the chart is what is committed: the table of values, the schema, the renders that reviewers read."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.dev.chart_reference import (
    PAGE,
    SCHEMA,
    VALUES,
    golden_render,
    golden_values,
    page,
    rendered_path,
    schema,
    values,
)
from tests.chart.helm import REQUIRED, Values, at, helm, refusal, render
from tests.chart.objects import of_kind

DOCUMENT = json.loads(SCHEMA.read_text())


def test_the_table_of_values_is_current() -> None:
    """Run `make docs` when this fails."""
    assert PAGE.read_text() == page()


def test_the_schema_is_current() -> None:
    """Run `make docs` when this fails."""
    assert SCHEMA.read_text() == schema()


def test_there_are_three_renders_to_compare() -> None:
    """Of what has to be said, of a production, of everything."""
    assert [path.name for path in golden_values()] == [
        "everything.values.yaml",
        "minimal.values.yaml",
        "production.values.yaml",
    ]


@pytest.mark.parametrize("values_file", golden_values(), ids=lambda path: path.name.partition(".")[0])
def test_the_manifests_are_those_that_were_read(values_file: Path) -> None:
    """A change of the chart shows as a change of manifests: `make docs` writes them."""
    assert rendered_path(values_file).read_text() == golden_render(values_file)


def test_every_value_says_what_it_does() -> None:
    """In a comment of its own, of its parent, or of the first of its name."""
    obvious = {"enabled", "port", "name", "repository", "tag", "annotations", "type", "host", "hostnames", "command", "args",
               "digest", "replicas", "minReplicas", "maxReplicas", "usernameKey", "passwordKey", "caKey", "maxUnavailable",
               "extraEnvFrom", "extraContainers", "otlpPort", "create", "runAsUser", "runAsGroup", "fsGroup"}  # fmt: skip
    silent = [value.name for value in values() if not value.description and value.path[-1] not in obvious]
    assert not silent


def objects_of(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """All parts of the schema that name their members."""
    found = [(path, schema)] if "properties" in schema else []
    for name, member in schema.get("properties", {}).items():
        found += objects_of(member, f"{path}.{name}".strip("."))
    return found


def test_the_schema_knows_every_value_and_no_other() -> None:
    """A value without a schema takes anything; one of the schema alone does nothing."""

    def keys(document: Any, schema: dict[str, Any], path: str = "") -> None:
        if "properties" not in schema or path == "config":
            return
        ours = schema["properties"].keys() - ({"enabled"} if not path else set())  # which belongs to a parent chart
        assert document.keys() == ours, path or "root"
        for name, member in document.items():
            if isinstance(member, dict):
                keys(member, schema["properties"][name], f"{path}.{name}".strip("."))

    keys(yaml.safe_load(VALUES.read_text()), DOCUMENT)


def test_a_misspelt_value_is_refused_everywhere() -> None:
    """Everywhere but in `global`, which belongs to others."""
    for path, schema_part in objects_of(DOCUMENT):
        assert schema_part.get("additionalProperties") is False, path or "root"
    assert DOCUMENT["properties"]["global"].get("additionalProperties", True) is not False


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"replicas": 3}, "replicas"),
        ({"api": {"worker": 3}}, "worker"),
        ({"config": {"htttp": {}}}, "htttp"),
        ({"config": {"http": {"deadlines": 3}}}, "deadlines"),
        ({"config": {"http": {"deadline": "soon"}}}, "deadline"),
        ({"limits": {"mode": "redis"}}, "mode"),
        ({"database": {"tls": {"mode": "on"}}}, "mode"),
        ({"api": {"workers": 0}}, "workers"),
        ({"image": {"digest": "abc"}}, "digest"),
        ({"api": {"maxSurge": "300%"}}, "maxSurge"),
        ({"logging": {"level": "loud"}}, "level"),
        ({"tracing": {"endpoint": "collector:4318"}}, "endpoint"),
        ({"tracing": {"endpoint": "http://user:secret@collector:4318"}}, "endpoint"),
        ({"tracing": {"sampleRatio": 10}}, "sampleRatio"),
        ({"tracing": {"sampleRatio": "10%"}}, "sampleRatio"),
        ({"tracing": {"resourceAttributes": {"a=b": "c"}}}, "resourceAttributes"),
    ],
)
def test_what_the_schema_refuses(wrong: Values, named: str) -> None:
    """With the name of what is wrong."""
    assert named in refusal(wrong)


def parent(tmp_path: Path, values: Values) -> Path:
    """A chart that has this one as its only dependency."""
    folder = tmp_path / "parent"
    (folder / "charts").mkdir(parents=True)
    (folder / "charts/gantry").symlink_to(Path("charts/gantry").resolve())
    (folder / "templates").mkdir()
    dependency = {"name": "gantry", "version": ">=0", "condition": "gantry.enabled"}
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (folder / "values.yaml").write_text(yaml.safe_dump(values))
    return folder


def test_it_can_be_a_part_of_another_chart(tmp_path: Path) -> None:
    """Helm hands it `global`, and a condition's `enabled`; a strict schema must take both."""
    chart = parent(tmp_path, {"global": {"imageRegistry": "registry.example"}, "gantry": REQUIRED | {"enabled": True}})
    objects = list(yaml.safe_load_all(helm("template", "shop", chart)))
    assert [o["metadata"]["name"] for o in of_kind([o for o in objects if o], "ServiceAccount")] == ["shop-gantry"]


def test_a_part_can_be_left_out(tmp_path: Path) -> None:
    """By its condition."""
    chart = parent(tmp_path, {"gantry": {"enabled": False}})
    assert not [o for o in yaml.safe_load_all(helm("template", "shop", chart)) if o]


def test_names_can_be_chosen() -> None:
    """The whole prefix, or the chart's part of it."""
    assert {o["metadata"]["name"] for o in of_kind(render(at("fullnameOverride", "shop")), "ServiceAccount")} == {
        "shop"
    }
    assert {o["metadata"]["name"] for o in of_kind(render(at("nameOverride", "shop")), "ServiceAccount")} == {
        "gantry-shop"
    }
