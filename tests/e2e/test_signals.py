"""Metrics and traces leave the release: a real Prometheus scrapes every pod, and a collector is sent the spans of a request."""

import json
import re
import secrets
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from tests.e2e.cluster import (
    NAMESPACE,
    OBSERVABILITY_NAMESPACE,
    RELEASE,
    kubectl,
    labels,
    names,
    run,
    selector,
    wait_until,
    wait_until_gone,
)
from tests.e2e.release import Release
from tests.e2e.test_network import OF_THE_RELEASE, probes

PORTS = {
    "api": {"admin": "api", "cache-metrics": "cache"},
    "pgbouncer": {"metrics": "pgbouncer"},
    "limits": {"limits-metrics": "limits"},
}
"""What is scraped of each component: port and job."""
METRICS = {"admin", "cache metrics", "pgbouncer metrics", "limits metrics"}
"""The same, as tests/e2e/test_network.py calls them."""
ITEM = 'handler="/api/v1/items/{item_id}",method="GET",status="200"'
SCRAPED_EVERY = 5
"""Seconds: k8s/observability/prometheus.yaml."""
SENT = 25


@pytest.fixture(scope="module")
def connected(release: Release) -> Iterator[Release]:
    """As `make observability` leaves a release; and afterwards as it was found."""
    release.steady()
    try:
        run("make", "--silent", "observability", seconds=600)
        wait_until_gone("api")
        yield release
    finally:
        run("kubectl", "delete", "-k", "k8s/observability", "--ignore-not-found", "--timeout=180s", seconds=200)
        release.upgrade()
        wait_until_gone("api")


@pytest.fixture(scope="module")
def item(connected: Release) -> str:
    """The address of an item that nobody else knows."""
    headers = {"X-API-Key": connected.key}
    made = httpx2.post(f"{connected.api}/items", json={"name": "signals"}, headers=headers)
    assert made.status_code == 201, made.text
    return f"{connected.api}/items/{made.json()['id']}"


def prometheus(path: str, **parameters: str) -> Any:
    """An answer of Prometheus' API, by way of the API server."""
    service = f"/api/v1/namespaces/{OBSERVABILITY_NAMESPACE}/services/prometheus:web/proxy/api/v1"
    return json.loads(kubectl("get", "--raw", f"{service}/{path}?{urlencode(parameters)}"))["data"]


def query(expression: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of what a PromQL expression gives now."""
    return [(sample["metric"], float(sample["value"][1])) for sample in prometheus("query", query=expression)["result"]]


def counted() -> float:
    """Reads of an item that Prometheus knows of."""
    return sum(value for _, value in query(f"sum(gantry_http_request_duration_seconds_count{{{ITEM}}})"))


def spans(trace_id: str) -> list[str]:
    """The collector's lines of a trace: name, trace id, span id, attributes."""
    said = kubectl("logs", "deployment/otel-collector", "--tail=-1", namespace=OBSERVABILITY_NAMESPACE)
    return [line for line in said.splitlines() if f" {trace_id} " in line]


def read(release: Release, item: str, *, sampled: bool) -> str:
    """Read an item as a part of a trace, whose id is returned."""
    trace_id = secrets.token_hex(16)
    parent = f"00-{trace_id}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"
    answer = httpx2.get(item, headers={"X-API-Key": release.key, "traceparent": parent})
    assert answer.status_code == 200, answer.text
    return trace_id


def test_prometheus_reads_its_configuration_without_a_complaint(connected: Release) -> None:
    """By the tool of its own image."""
    check = ("promtool", "check", "config", "/etc/prometheus/prometheus.yaml")
    said = kubectl("exec", "deployment/prometheus", "--", *check, namespace=OBSERVABILITY_NAMESPACE)
    assert "SUCCESS" in said


def test_every_port_of_every_pod_is_scraped(connected: Release) -> None:
    """Under the jobs that the chart's monitors name; nothing else of the release is, and what is there answers."""
    expected = {
        (f"{RELEASE}-{job}", pod, port, "up")
        for component, ports in PORTS.items()
        for pod in names(component)
        for port, job in ports.items()
    }
    assert len(expected) == 2 * 2 + 2 + 1

    def found() -> set[tuple[str, str, str, str]]:
        active = prometheus("targets", state="active")["activeTargets"]
        return {
            (t["labels"]["job"], t["labels"]["pod"], t["labels"]["endpoint"], t["health"])
            for t in active
            if t["scrapePool"] == "gantry"
        }

    try:
        wait_until("all targets", lambda: found() == expected, 60)
    except AssertionError:
        assert found() == expected
        raise
    for gauge in ("redis_up", "pgbouncer_up"):
        assert {value for _, value in query(gauge)} == {1.0}, gauge


def test_what_was_sent_is_counted(connected: Release, item: str) -> None:
    """Each request once, whichever process answered it; with the labels by which dashboards find a pod."""
    read(connected, item, sampled=False)
    time.sleep(2 * SCRAPED_EVERY)
    before = counted()
    for _ in range(SENT):
        read(connected, item, sampled=False)
    wait_until("the requests in Prometheus", lambda: counted() >= before + SENT, 30)
    time.sleep(SCRAPED_EVERY)
    assert counted() == before + SENT
    for metric, _ in query(f"gantry_http_request_duration_seconds_count{{{ITEM}}}"):
        assert (metric["job"], metric["namespace"], metric["container"]) == (f"{RELEASE}-api", NAMESPACE, "api")
        assert metric["pod"] in names("api")


def test_a_request_is_followed_to_the_database(connected: Release, item: str) -> None:
    """By the trace id that its client chose: the server's span, and one of PostgreSQL, from the pod that answered."""
    known = httpx2.get(item, headers={"X-API-Key": connected.key})
    match = {"X-API-Key": connected.key, "If-Match": known.headers["etag"]}
    kind = {"Content-Type": "application/merge-patch+json"}
    # Another version is in no cache: the read goes to the database.
    assert httpx2.patch(item, content=b'{"name": "signals, followed"}', headers=match | kind).status_code == 200
    trace_id = read(connected, item, sampled=True)

    def arrived() -> list[str] | None:
        found = spans(trace_id)
        return found if any(line.startswith("GET /api/v1/items/{item_id} ") for line in found) else None

    lines = wait_until("the server's span", arrived, 30)
    servers = [line for line in lines if line.startswith("GET /api/v1/items/{item_id} ")]
    assert len(servers) == 1
    assert any(re.search(r" db\.system(\.name)?=postgresql\b", line) for line in lines), lines
    resource = resource_of(servers[0])
    assert "service.name=gantry" in resource
    assert "deployment.environment.name=development" in resource
    (pod,) = re.findall(r"k8s\.pod\.name=(\S+)", resource)
    assert pod in names("api")
    assert f"k8s.namespace.name={NAMESPACE}" in resource
    assert "k8s.node.name=" in resource

    def logged() -> str | None:
        said = kubectl("logs", pod, "-c", "api", "--tail=500")
        return next((line for line in said.splitlines() if trace_id in line), None)

    assert json.loads(wait_until("the request's line in the log of that pod", logged, 20))["pod"] == pod
    wait_until(
        "the spans in the collector's own count",
        lambda: sum(value for _, value in query("otelcol_receiver_accepted_spans")) >= len(lines),
        30,
    )


def resource_of(span: str) -> str:
    """The line of what a span is from: the last of its kind before it."""
    said = kubectl("logs", "deployment/otel-collector", "--tail=-1", namespace=OBSERVABILITY_NAMESPACE).splitlines()
    return next(line for line in reversed(said[: said.index(span)]) if line.startswith("ResourceTraces "))


def test_what_its_caller_does_not_record_is_not_sent(connected: Release, item: str) -> None:
    """The control: two requests one after the other, and the second one's spans alone arrive."""
    unrecorded, recorded = read(connected, item, sampled=False), read(connected, item, sampled=True)
    wait_until("the spans of the second", lambda: spans(recorded), 30)
    time.sleep(5)
    assert spans(unrecorded) == []


def test_a_bucket_names_a_trace(connected: Release, item: str) -> None:
    """From a slow bucket to the spans of one that was slow: an exemplar."""
    trace_id = read(connected, item, sampled=True)
    began = time.time() - 60

    def found() -> bool:
        answer = prometheus(
            "query_exemplars",
            query="gantry_http_request_duration_seconds_bucket",
            start=str(began),
            end=str(time.time() + 60),
        )
        return any(trace_id in exemplar["labels"].values() for series in answer for exemplar in series["exemplars"])

    wait_until("the exemplar", found, 30)


def test_only_prometheus_is_let_in(connected: Release) -> None:
    """It reaches what it scrapes and nothing more; a pod of its name elsewhere, or of its namespace, reaches nothing."""
    name = "app.kubernetes.io/name"
    asking = {
        "prometheus": (OBSERVABILITY_NAMESPACE, {name: "prometheus"}),
        "beside-prometheus": (OBSERVABILITY_NAMESPACE, {name: "otel-collector"}),
        "its-name-elsewhere": ("default", {name: "prometheus"}),
        "of-the-release": ("default", labels("api")),
    }
    reached = {who: found & OF_THE_RELEASE for who, found in probes(connected, asking).items()}
    assert reached == {
        "prometheus": METRICS,
        "beside-prometheus": set(),
        "its-name-elsewhere": set(),
        "of-the-release": set(),
    }


def test_losing_the_collector_is_noticed_by_nobody(connected: Release, item: str) -> None:
    """Requests that are recorded are answered as before; spans are dropped, and later ones arrive again."""
    deployment = ("deployment", "otel-collector")
    kubectl("scale", *deployment, "--replicas=0", namespace=OBSERVABILITY_NAMESPACE)
    try:
        for _ in range(SENT):
            read(connected, item, sampled=True)
        said = kubectl(
            "get", "pods", "-l", selector("api"), "-o", "jsonpath={.items[*].status.containerStatuses[*].ready}"
        )
        assert set(said.split()) == {"true"}
    finally:
        kubectl("scale", *deployment, "--replicas=1", namespace=OBSERVABILITY_NAMESPACE)
    kubectl("rollout", "status", *deployment, "--timeout=60s", namespace=OBSERVABILITY_NAMESPACE)

    def arrives() -> bool:
        trace_id = read(connected, item, sampled=True)
        time.sleep(3)
        return bool(spans(trace_id))

    wait_until("spans arrive again", arrives, 90)
