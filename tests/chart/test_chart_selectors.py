"""Selectors: what finds pods finds the right ones, in every version of a release."""

import pytest

from tests.chart.helm import Object, Values, at, merged, render
from tests.chart.kubernetes import VERSIONS, validate
from tests.chart.objects import find, name_of, of_kind, selects, workload, workloads
from tests.chart.value_sets import ANNOTATIONS, EVERYTHING, POD_MONITOR, SERVICE_MONITOR

IDENTITY = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}
EXPECTED = IDENTITY | {
    "app.kubernetes.io/version",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}


def selector_of(thing: Object) -> Object:
    """By which labels it finds pods."""
    spec = thing["spec"]
    found: Object = spec["podSelector"] if thing["kind"] == "NetworkPolicy" else spec["selector"]
    labels: Object = found.get("matchLabels", found)
    return labels


def selecting(objects: list[Object]) -> list[Object]:
    """Everything that finds pods, less the policy that is for all of them."""
    kinds = ("Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy", "PodMonitor")
    return [o for o in objects if o["kind"] in kinds and not o["metadata"]["name"].endswith("-default-deny")]


def test_a_selector_is_the_identity_and_nothing_else(objects: list[Object]) -> None:
    """A version in it would make an upgrade impossible; without the release two of them would share pods."""
    for thing in selecting(objects):
        assert selector_of(thing).keys() == IDENTITY, name_of(thing)


def test_each_finds_the_pods_of_its_own_component(objects: list[Object]) -> None:
    """And of no other."""
    for thing in selecting(objects):
        found = {w.component for w in workloads(objects) if selects(selector_of(thing), w.labels)}
        assert found == {thing["metadata"]["labels"]["app.kubernetes.io/component"]}, name_of(thing)


def test_a_template_carries_what_its_selector_asks_for(objects: list[Object]) -> None:
    """The API server refuses it otherwise."""
    for thing in of_kind(objects, "Deployment"):
        assert selects(thing["spec"]["selector"], thing["spec"]["template"]["metadata"]["labels"])


def test_ports_of_services_exist(objects: list[Object]) -> None:
    """By name, or by number where the name is a sidecar's; each in the pods that the Service finds."""
    for service in of_kind(objects, "Service"):
        (target,) = [w for w in workloads(objects) if selects(service["spec"]["selector"], w.labels)]
        ports = [port for c in target.containers() for port in c.get("ports", [])]
        known = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in known, name_of(service)


def test_every_object_says_what_it_is(objects: list[Object]) -> None:
    """Kubernetes' recommended labels, all of them, and the release's namespace; the extra objects are the user's own."""
    for thing in objects:
        if thing["metadata"]["name"] in ("gantry-more", "gantry-text"):
            continue
        assert thing["metadata"]["labels"].keys() >= EXPECTED, name_of(thing)
        assert thing["metadata"]["namespace"] == "gantry", name_of(thing)


def test_every_pod_says_what_it_is(objects: list[Object]) -> None:
    """Policies, budgets and dashboards go by these."""
    for found in workloads(objects):
        assert found.labels.keys() >= IDENTITY, name_of(found.owner)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["minimal", "everything"])
def test_names_fit_however_long_the_release(values: Values) -> None:
    """63 characters: Services and labels allow no more."""
    for thing in render(values, release="r" * 53):
        assert len(thing["metadata"]["name"]) <= 63, name_of(thing)
        for label in thing["metadata"].get("labels", {}).values():
            assert len(label) <= 63, name_of(thing)


def test_two_releases_in_a_namespace_share_nothing() -> None:
    """Neither names nor pods."""
    own_account = merged(EVERYTHING, {"serviceAccount": {"name": ""}})
    first, second = render(own_account, release="one"), render(own_account, release="two")
    assert not {name_of(o) for o in first} & {name_of(o) for o in second}
    for thing in selecting(first):
        assert not any(selects(selector_of(thing), w.labels) for w in workloads(second)), name_of(thing)


def test_common_labels_and_annotations_are_everywhere() -> None:
    """On objects and on pods."""
    values = {"commonLabels": {"team": "platform"}, "commonAnnotations": {"example.com/owner": "platform"}}
    for thing in render(merged(EVERYTHING, {"extraObjects": []}), values):
        assert thing["metadata"]["labels"]["team"] == "platform", name_of(thing)
        assert thing["metadata"]["annotations"]["example.com/owner"] == "platform", name_of(thing)
    for found in workloads(render(values)):
        assert found.labels["team"] == "platform", name_of(found.owner)


def test_an_upgrade_restarts_only_what_changed() -> None:
    """Another version of Gantry is another pod of the API; pods of other images stay."""
    before, after = (render({"image": {"tag": tag}}) for tag in ("1.0.0", "1.0.1"))
    unchanged = {
        w.component
        for w, other in zip(workloads(before), workloads(after), strict=True)
        if (w.metadata, w.spec) == (other.metadata, other.spec)
    }
    assert "limits" in unchanged
    assert "api" not in unchanged


@pytest.mark.parametrize("component", ["api", "pgbouncer"])
def test_a_budget_covers_the_pods_of(component: str) -> None:
    """A drained node takes one at a time, and one that is broken never blocks it."""
    budget = find(render({}), "PodDisruptionBudget", f"gantry-{component}")
    assert budget["spec"]["maxUnavailable"] == 1
    assert "minAvailable" not in budget["spec"]
    if component == "api":
        assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@pytest.mark.parametrize("values", [POD_MONITOR, SERVICE_MONITOR], ids=["pods", "services"])
def test_monitors_scrape_ports_that_exist(values: Values) -> None:
    """The admin port, and every exporter."""
    rendered = render(values)
    scraped = set()
    for monitor in of_kind(rendered, "PodMonitor") + of_kind(rendered, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]
        endpoints = monitor["spec"].get("podMetricsEndpoints") or monitor["spec"]["endpoints"]
        if monitor["kind"] == "PodMonitor":
            found = [w for w in workloads(rendered) if selects(selector, w.labels)]
            ports = {p["name"] for w in found for c in w.containers() for p in c.get("ports", [])}
        else:
            services = [s for s in of_kind(rendered, "Service") if selects(selector, s["metadata"]["labels"])]
            ports = {p["name"] for s in services for p in s["spec"]["ports"]}
            for endpoint in endpoints:
                having = [s for s in services if endpoint["port"] in {p["name"] for p in s["spec"]["ports"]}]
                assert len(having) == 1, "scraped twice"
        assert {e["port"] for e in endpoints} <= ports
        scraped |= {e["port"] for e in endpoints}
    assert scraped == {"admin", "cache-metrics", "metrics", "limits-metrics"}


def scrape_annotations(objects: list[Object], component: str) -> dict[str, str]:
    """What a component's pods say about being scraped."""
    annotations = workload(objects, component).metadata.get("annotations", {})
    return {key: value for key, value in annotations.items() if key.startswith("prometheus.io/")}


def test_annotations_name_the_port_that_says_most() -> None:
    """One of a pod, since they have place for no other; none where there is nothing to scrape, and none unless asked for."""
    objects = render(ANNOTATIONS)
    for component, port in (("api", "9000"), ("pgbouncer", "9127"), ("limits", "9121")):
        found = scrape_annotations(objects, component)
        assert found == {"prometheus.io/scrape": "true", "prometheus.io/port": port, "prometheus.io/path": "/metrics"}
        ports = {str(p["containerPort"]) for c in workload(objects, component).containers() for p in c.get("ports", [])}
        assert port in ports
    assert not scrape_annotations(objects, "migrations")
    assert not scrape_annotations(render(ANNOTATIONS, at("pgbouncer.exporter.enabled", False)), "pgbouncer")
    assert not any(scrape_annotations(render(), component) for component in ("api", "pgbouncer", "limits"))


def test_an_annotation_of_the_user_is_the_users() -> None:
    """Who has another way to scrape says so."""
    own = {"api": {"podAnnotations": {"prometheus.io/port": "9121"}}}
    assert scrape_annotations(render(ANNOTATIONS, own), "api")["prometheus.io/port"] == "9121"


@pytest.mark.parametrize("release", ["1234", "1e3", "true", "my.api"])
def test_a_release_may_be_called_anything_that_helm_takes(release: str) -> None:
    """Labels are text, also where YAML would read a number; and a Service's name has no dot."""
    objects = render(EVERYTHING, release=release)
    for thing in objects:
        assert thing["kind"] != "Service" or "." not in thing["metadata"]["name"], name_of(thing)
        validate(thing, VERSIONS[0])
    assert all(w.labels["app.kubernetes.io/instance"] == release for w in workloads(objects))


def test_secrets_may_be_called_by_numbers() -> None:
    """As any of their names."""
    secrets: Values = {
        "database": {"existingSecret": "123", "usernameKey": "1", "passwordKey": "2"},
        "security": {"existingSecret": "1e3"},
        "limits": {"valkey": {"existingSecret": "0x1"}},
    }
    for thing in render(secrets):
        validate(thing, VERSIONS[0])


@pytest.mark.parametrize(("tag", "label"), [("_x", "x"), ("a" * 62 + "-b", "a" * 62)])
def test_any_tag_makes_a_label(tag: str, label: str) -> None:
    """Which begins and ends with a letter or digit."""
    found = find(render({"image": {"tag": tag}}), "Deployment", "gantry-api")["metadata"]["labels"]
    assert found["app.kubernetes.io/version"] == label
