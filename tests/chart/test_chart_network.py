"""Who may talk to whom: everything that is needed, and nothing else. The cluster's tests try a part of it for real."""

from itertools import product

import pytest

from tests.chart.helm import Object, at, merged, render
from tests.chart.objects import of_kind, workloads
from tests.chart.policies import Endpoint, component, lets_through
from tests.chart.value_sets import EXTERNAL_LIMITS, INGRESS, LAN, MONITORING, NO_POOLER, POD_MONITOR, TRACING

POSTGRESQL = Endpoint(address="10.9.9.9", namespace={"kubernetes.io/metadata.name": "databases"})
TRAEFIK = Endpoint(namespace={"kubernetes.io/metadata.name": "traefik"})
PROMETHEUS = Endpoint(
    labels=MONITORING["podSelector"]["matchLabels"], namespace=MONITORING["namespaceSelector"]["matchLabels"]
)
DNS = Endpoint(namespace={"kubernetes.io/metadata.name": "kube-system"})
COLLECTOR = Endpoint(address="10.20.0.7", namespace={"kubernetes.io/metadata.name": "elsewhere"})
STRANGER = Endpoint(labels={"app": "stranger"})
FOREIGNER = Endpoint(labels={"app": "stranger"}, namespace={"kubernetes.io/metadata.name": "elsewhere"})

VALUES = merged(
    INGRESS,
    POD_MONITOR,
    TRACING,
    {"networkPolicy": {"postgresql": [{"ipBlock": {"cidr": "10.9.0.0/16"}}]}},
)
OWN = ("api", "pgbouncer", "limits", "migrations", "test")
OTHERS = {
    "postgresql": POSTGRESQL,
    "traefik": TRAEFIK,
    "prometheus": PROMETHEUS,
    "dns": DNS,
    "collector": COLLECTOR,
    "stranger": STRANGER,
    "foreigner": FOREIGNER,
}
PORTS = (53, 4318, 5432, 6379, 6432, 8000, 9000, 9121, 9127)
ALLOWED = {
    ("traefik", "api", 8000),
    ("prometheus", "api", 9000),
    ("prometheus", "api", 9121),
    ("prometheus", "pgbouncer", 9127),
    ("prometheus", "limits", 9121),
    ("api", "pgbouncer", 6432),
    ("api", "limits", 6379),
    ("api", "postgresql", 5432),
    ("api", "collector", 4318),
    ("pgbouncer", "postgresql", 5432),
    ("migrations", "postgresql", 5432),
    ("test", "api", 8000),
    ("test", "api", 9000),
    ("test", "api", 9121),
    ("test", "pgbouncer", 6432),
    ("test", "limits", 6379),
    ("api", "dns", 53),
    ("pgbouncer", "dns", 53),
    ("migrations", "dns", 53),
    ("test", "dns", 53),
}
"""All of it."""


def endpoint(objects: list[Object], name: str) -> Endpoint:
    """A component of the release, or somebody else."""
    return OTHERS[name] if name in OTHERS else component(objects, name)


def test_exactly_what_is_needed() -> None:
    """Each pair of pods, each port."""
    objects = render(VALUES)
    connections = {
        (source, target, port)
        for source, target, port in product((*OWN, *OTHERS), (*OWN, *OTHERS), PORTS)
        if (source in OWN or target in OWN)
        and lets_through(objects, endpoint(objects, source), endpoint(objects, target), port)
    }
    assert connections == ALLOWED


def test_names_are_asked_for_by_datagrams() -> None:
    """And only there."""
    objects = render(VALUES)
    asking = {name for name in OWN if lets_through(objects, component(objects, name), DNS, 53, "UDP")}
    assert asking == {"api", "pgbouncer", "migrations", "test"}
    assert not lets_through(objects, component(objects, "api"), STRANGER, 53, "UDP")


def test_every_pod_is_closed_both_ways_by_default(objects: list[Object]) -> None:
    """Unless policies are switched off; a component that somebody forgets is closed, not open."""
    policies = [p["spec"] for p in of_kind(objects, "NetworkPolicy") if p["metadata"]["name"].endswith("-default-deny")]
    if not of_kind(objects, "NetworkPolicy"):
        return
    (deny,) = policies
    assert set(deny["policyTypes"]) == {"Ingress", "Egress"}
    assert not deny.get("ingress")
    assert not deny.get("egress")
    identity = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    assert deny["podSelector"]["matchLabels"].keys() == identity
    for found in workloads(objects):
        assert deny["podSelector"]["matchLabels"].items() <= found.labels.items()


def test_policies_can_be_left_to_others() -> None:
    """`networkPolicy.enabled: false` leaves none behind."""
    assert not of_kind(render({"networkPolicy": {"enabled": False}}), "NetworkPolicy")


def test_without_peers_a_port_alone_bounds_where_postgresql_may_be() -> None:
    """Any address, no other port."""
    objects = render()
    api = component(objects, "api")
    assert lets_through(objects, api, FOREIGNER, 5432)
    assert not lets_through(objects, api, FOREIGNER, 5433)


def test_without_names_nobody_scrapes_or_calls() -> None:
    """Closed until the values say who."""
    objects = render()
    api = component(objects, "api")
    assert not any(lets_through(objects, other, api, port) for other in (TRAEFIK, PROMETHEUS) for port in PORTS)
    assert not lets_through(objects, api, COLLECTOR, 4318)


@pytest.mark.parametrize(
    ("endpoint", "translated", "port"),
    [
        ("http://collector.elsewhere:4318", None, 4318),
        ("http://collector.elsewhere:14318/otlp", None, 14318),
        ("https://traces.example/otlp", None, 443),
        ("http://traces.example", None, 80),
        ("http://[fd00::7]:4318", None, 4318),
        ("http://[fd00::7]", None, 80),
        ("http://collector.elsewhere", 4318, 4318),
    ],
)
def test_traces_go_where_the_endpoint_says(endpoint: str, translated: int | None, port: int) -> None:
    """To its port or its scheme's, or to another one that a Service makes of it; to no other, and nobody but the API."""
    objects = render({"tracing": {"endpoint": endpoint}, "networkPolicy": {"otlp": [LAN], "otlpPort": translated}})
    reached = {
        (name, tried)
        for name, tried in product(OWN, (80, 443, 4317, 4318, 14318))
        if lets_through(objects, component(objects, name), COLLECTOR, tried)
    }
    assert reached == {("api", port)}


@pytest.mark.parametrize("exporter", ["cache", "limits.valkey", "pgbouncer"])
def test_an_exporter_that_is_off_leaves_no_hole(exporter: str) -> None:
    """Neither port nor rule."""
    off = at(f"{exporter}.exporter.enabled", False)
    name = exporter.split(".", 1)[0].replace("cache", "api")
    with_it, without = render(POD_MONITOR), render(POD_MONITOR, off)
    port = 9127 if name == "pgbouncer" else 9121
    assert lets_through(with_it, PROMETHEUS, component(with_it, name), port)
    assert not lets_through(without, PROMETHEUS, component(without, name), port)
    assert str(port) not in str([w.spec for w in workloads(without) if w.component == name])


def test_an_external_store_of_limits() -> None:
    """Its port, and no pod of ours to go to."""
    objects = render(EXTERNAL_LIMITS, {"networkPolicy": {"externalLimits": [LAN]}, "limits": {"externalPort": 6380}})
    api = component(objects, "api")
    assert lets_through(objects, api, COLLECTOR, 6380)
    assert not lets_through(objects, api, COLLECTOR, 6379)
    assert not lets_through(objects, api, FOREIGNER, 6380)


def test_without_a_pooler_the_api_goes_to_postgresql() -> None:
    """And to no pgbouncer."""
    objects = render(NO_POOLER)
    assert lets_through(objects, component(objects, "api"), POSTGRESQL, 5432)
    assert not any("6432" in str(p) for p in of_kind(objects, "NetworkPolicy"))


@pytest.mark.parametrize("enabled", [True, False])
def test_the_tests_come_and_go_with_their_rules(enabled: bool) -> None:
    """No rule lets in pods that don't exist."""
    objects = render({"tests": {"enabled": enabled}})
    mentioned = "app.kubernetes.io/component': 'test'" in str(of_kind(objects, "NetworkPolicy"))
    assert mentioned is enabled
