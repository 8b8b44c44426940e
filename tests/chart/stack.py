"""What stands in k8s/observability, as `kubectl apply -k` makes it; without kubectl, which `make test` does not need."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.chart.helm import Object, load

FOLDER = Path("k8s/observability")
NAMESPACE = {"kubernetes.io/metadata.name": "gantry-observability"}


@cache
def stack() -> list[Object]:
    """All its objects. ConfigMaps have their plain names, where kustomize adds a hash to them and to what refers to them."""
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    objects = [thing for name in kustomization["resources"] for thing in load((FOLDER / name).read_text())]
    for made in kustomization["configMapGenerator"]:
        metadata = {"name": made["name"], "namespace": made["namespace"]}
        data = {name: (FOLDER / name).read_text() for name in made["files"]}
        objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    return objects


def prometheus_configuration() -> Any:
    """Prometheus' own file."""
    return yaml.safe_load((FOLDER / "prometheus.yaml").read_text())


def collector_configuration() -> Any:
    """The collector's."""
    return yaml.safe_load((FOLDER / "otel-collector.yaml").read_text())


def relabelled(labels: dict[str, str], rules: list[dict[str, Any]]) -> dict[str, str] | None:
    """What Prometheus makes of a target's labels, or nothing when it drops it; of its actions those that are used here.

    https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
    """
    found = dict(labels)
    for rule in rules:
        value = ";".join(found.get(name, "") for name in rule["source_labels"])
        match = re.fullmatch(rule.get("regex", "(.*)"), value)
        match rule.get("action", "replace"):
            case "keep" if not match:
                return None
            case "drop" if match:
                return None
            case "replace" if match:
                template = re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1"))
                found[rule["target_label"]] = match.expand(template)
            case "keep" | "drop" | "replace":
                pass
            case action:
                raise AssertionError(f"an action this does not know: {action}")
    return {name: value for name, value in found.items() if not name.startswith("__")}
