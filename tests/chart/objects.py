"""Finding one's way in rendered objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.chart.helm import Object


@dataclass(frozen=True)
class Workload:
    """An object that makes pods, and the pods it makes."""

    owner: Object
    metadata: Object
    spec: Object

    @property
    def component(self) -> str:
        """Its component's name."""
        return str(self.metadata["labels"]["app.kubernetes.io/component"])

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its pods."""
        found: dict[str, str] = self.metadata["labels"]
        return found

    def containers(self) -> list[Object]:
        """All of them: first those of init, sidecars among them."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    def container(self, name: str) -> Object:
        """The container of this name."""
        (found,) = [container for container in self.containers() if container["name"] == name]
        return found


def find(objects: list[Object], kind: str, name: str | None = None) -> Object:
    """The only object of this kind, or of this kind and name."""
    found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} of {kind} {name}: {[name_of(o) for o in objects]}"
    return found[0]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """All objects of a kind."""
    return [o for o in objects if o["kind"] == kind]


def name_of(thing: Object) -> str:
    """``Kind/name``."""
    return f"{thing['kind']}/{thing['metadata']['name']}"


def workloads(objects: list[Object]) -> list[Workload]:
    """Everything that runs containers."""
    return list(_workloads(objects))


def _workloads(objects: list[Object]) -> Iterator[Workload]:
    for thing in objects:
        if thing["kind"] == "Pod":
            yield Workload(thing, thing["metadata"], thing["spec"])
        elif "template" in thing.get("spec", {}):
            template = thing["spec"]["template"]
            yield Workload(thing, template["metadata"], template["spec"])


def workload(objects: list[Object], component: str) -> Workload:
    """The one of this component."""
    (found,) = [w for w in workloads(objects) if w.component == component]
    return found


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector takes these labels: ``matchLabels`` and ``matchExpressions``, or a plain map as Services have."""
    if not {"matchLabels", "matchExpressions"} & selector.keys():
        selector = {"matchLabels": selector}
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _matches(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _matches(expression: Object, labels: dict[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", [])
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise AssertionError(expression)


def variables(container: Object) -> dict[str, Any]:
    """`env` of a container: name to value, or to where the value is from."""
    entries = container.get("env", [])
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names)), f"a variable twice: {names}"
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}
