"""The API server accepts what the chart renders: every object of every value set, as if it were applied."""

import json
from collections.abc import Iterator

import pytest

from tests.chart.helm import render
from tests.chart.value_sets import VALUE_SETS
from tests.e2e.cluster import ROOT, kubectl, run

ELSEWHERE = "gantry-render"
"""Labelled like the namespace of the release, but empty: there is nothing that an object could differ from."""
SCHEMAS = sorted((ROOT / "tests/chart/schemas").glob("*_*.yaml"))


@pytest.fixture(scope="module", autouse=True)
def definitions() -> Iterator[None]:
    """The custom resources that the chart knows, for as long as these tests run, and the namespace."""
    assert len(SCHEMAS) >= 4
    before = kubectl("get", "crd", "-o", "name").split()
    names = [
        f"customresourcedefinition.apiextensions.k8s.io/{'.'.join(reversed(path.stem.split('_')))}" for path in SCHEMAS
    ]
    ours = [path for path, name in zip(SCHEMAS, names, strict=True) if name not in before]
    files = [f"--filename={path}" for path in ours]
    namespace = (ROOT / "k8s/namespace.yaml").read_text().replace("name: gantry", f"name: {ELSEWHERE}")
    kubectl("apply", "-f", "-", stdin=namespace)
    try:
        if ours:
            kubectl("apply", "--server-side", *files)
            kubectl("wait", "--for", "condition=Established", "--timeout=60s", *files)
        yield
    finally:
        if ours:
            kubectl("delete", "--ignore-not-found", *files)
        kubectl("delete", "namespace", ELSEWHERE)


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_api_server_accepts_all_objects_without_a_warning(name: str) -> None:
    objects = [dict(item) for item in render(VALUE_SETS[name], namespace=ELSEWHERE)]
    assert {"Deployment", "Service", "ConfigMap"} <= {item["kind"] for item in objects}
    for item in objects:
        if item["kind"] == "Pod":  # of `helm test`: what a Pod refers to has to be there even now
            item["spec"] = {
                k: v for k, v in item["spec"].items() if k not in {"serviceAccountName", "priorityClassName"}
            }
    applied = run(
        "kubectl", "apply", "--namespace", ELSEWHERE, "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}),
    )  # fmt: skip
    assert applied.stderr == ""
    assert len(applied.stdout.splitlines()) == len(objects)


def test_what_is_wrong_is_refused() -> None:
    (deployment, *_) = (item for item in render(namespace=ELSEWHERE) if item["kind"] == "Deployment")
    wrong = deployment | {"spec": deployment["spec"] | {"replicaz": 1}}
    applied = run(
        "kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-",
        stdin=json.dumps(wrong), check=False,
    )  # fmt: skip
    assert applied.returncode != 0
    assert "replicaz" in applied.stderr
