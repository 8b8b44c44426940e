"""Validating objects as the API server does: strictly, so that a misspelt field is an error."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate.utils import all_versions, schema_contents  # type: ignore[import-untyped]  # it has no type hints
from referencing import Registry, Resource

from tests.chart.helm import Object
from tests.chart.objects import name_of

CRDS = Path("tests/chart/schemas")
VERSIONS = ("1.30", str(all_versions()[-1]).rpartition(".")[0])
"""The oldest that the chart supports, and the newest there are schemas of."""

_valid: set[str] = set()


def validate(thing: Object, version: str) -> None:
    """Raise ``AssertionError`` unless the object is valid in this version of Kubernetes."""
    known = version + json.dumps(thing, sort_keys=True)
    if known in _valid:  # most objects are the same with most values
        return
    errors = sorted(_validator(thing["apiVersion"], thing["kind"], version).iter_errors(thing), key=str)
    messages = [f"{'.'.join(str(part) for part in error.absolute_path)}: {error.message}" for error in errors]
    assert not messages, f"{name_of(thing)} in {version}: {messages}"
    _valid.add(known)


@cache
def _validator(api_version: str, kind: str, version: str) -> Draft202012Validator:
    group, _, short = api_version.rpartition("/")
    crd = [file for file in CRDS.glob(f"{group}_*.yaml") if yaml_file(file)["spec"]["names"]["kind"] == kind]
    if crd:
        (schema,) = [
            v["schema"]["openAPIV3Schema"] for v in yaml_file(crd[0])["spec"]["versions"] if v["name"] == short
        ]
        return Draft202012Validator(strict(schema))
    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    name = f"{kind.lower()}-{group.split('.')[0]}-{short}.json" if group else f"{kind.lower()}-{short}.json"
    return Draft202012Validator(schema_contents(f"{folder}/{name}", version), registry=_definitions(folder, version))


@cache
def _definitions(folder: str, version: str) -> Registry[Any]:
    return Resource.from_contents(schema_contents(f"{folder}/_definitions.json", version)) @ Registry()


@cache
def yaml_file(path: Path) -> Any:
    """A file of YAML, read once: CRDs are long."""
    return yaml.load(path.read_text(), yaml.CSafeLoader)


def strict(schema: Any) -> Any:
    """A CRD's schema that refuses what the API server would drop: fields that it does not have."""
    if isinstance(schema, list):
        return [strict(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        result.setdefault("additionalProperties", bool(schema.get("x-kubernetes-preserve-unknown-fields")))
        if {"apiVersion", "kind", "metadata"} <= schema["properties"].keys():
            result["properties"]["metadata"] = {"type": "object"}  # the server's own, not the CRD's
    return result
