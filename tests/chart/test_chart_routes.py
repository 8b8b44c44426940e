"""Ways in: the public port alone, by an Ingress or a Gateway, with sizes and times that agree with the application's."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.chart.helm import Object, merged, render
from tests.chart.objects import find, of_kind, workloads
from tests.chart.value_sets import HTTP_ROUTE, INGRESS

NGINX = merged(INGRESS, {"ingress": {"controller": "nginx"}})


def test_there_is_no_way_in_by_default() -> None:
    """Nobody is exposed by chance."""
    assert not {o["kind"] for o in render()} & {"Ingress", "HTTPRoute"}
    assert find(render(), "Service", "gantry-api")["spec"]["type"] == "ClusterIP"


def test_probes_and_metrics_are_not_on_the_public_service(objects: list[Object]) -> None:
    """Nor on any other that an Ingress or a Gateway leads to."""
    (port,) = find(objects, "Service", "gantry-api")["spec"]["ports"]
    assert port["targetPort"] == "http"
    for way in [*of_kind(objects, "Ingress"), *of_kind(objects, "HTTPRoute")]:
        assert "gantry-api-admin" not in str(way)
        assert "9000" not in str(way)


def test_probes_ask_the_admin_port(objects: list[Object]) -> None:
    """A busy worker delays none of them."""
    (api,) = [w for w in workloads(objects) if w.component == "api"]
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert api.container("api")[kind]["httpGet"]["port"] == "admin"


def test_unready_pods_are_measured_too() -> None:
    """One that drains or waits for its schema is the one to look at."""
    service = find(render(), "Service", "gantry-api-admin")["spec"]
    assert service["clusterIP"] == "None"
    assert service["publishNotReadyAddresses"] is True


@pytest.mark.parametrize("hosts", [[], ["api.example"], ["api.example", "*.example.org"]])
def test_an_ingress_leads_each_host_to_the_service(hosts: list[str]) -> None:
    """Or any host, when none is named."""
    spec = find(render(INGRESS, {"ingress": {"hosts": hosts}}), "Ingress")["spec"]
    assert [rule.get("host", "any") for rule in spec["rules"]] == (hosts or ["any"])
    for rule in spec["rules"]:
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/", "Prefix")
        assert path["backend"]["service"] == {"name": "gantry-api", "port": {"name": "http"}}


def test_tls_and_class_are_handed_on() -> None:
    """As they are."""
    tls = [{"secretName": "certificate", "hosts": ["api.example"]}]
    spec = find(render(INGRESS, {"ingress": {"className": "own", "tls": tls}}), "Ingress")["spec"]
    assert (spec["ingressClassName"], spec["tls"]) == ("own", tls)
    assert "ingressClassName" not in find(render(INGRESS), "Ingress")["spec"]


def test_ingress_nginx_agrees_with_the_application() -> None:
    """It neither cuts a request that is allowed nor waits for one that was answered."""
    config: Any = {"config": {"http": {"max_body_bytes": 20_000_000, "deadline": 12.5}}}
    annotations = find(render(NGINX, config), "Ingress")["metadata"]["annotations"]
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    assert annotations[f"{prefix}body-size"] == "20000000"
    assert int(annotations[f"{prefix}read-timeout"]) == 13 + 5
    assert annotations[f"{prefix}buffering"] == "off"
    assert not find(render(INGRESS), "Ingress")["metadata"].get("annotations")


def test_annotations_of_the_values_win() -> None:
    """Over those that are computed."""
    own = {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "1g", "x": "y"}}}
    annotations = find(render(NGINX, own), "Ingress")["metadata"]["annotations"]
    assert (annotations["nginx.ingress.kubernetes.io/proxy-body-size"], annotations["x"]) == ("1g", "y")


def test_a_gateway_gives_each_answer_its_time() -> None:
    """Its time-outs count the whole answer, and an export's is long."""
    config: Any = {"config": {"http": {"deadline": 10}, "export": {"max_seconds": 120}}}
    export, rest = find(render(HTTP_ROUTE, config), "HTTPRoute")["spec"]["rules"]
    assert export["matches"] == [{"path": {"type": "Exact", "value": "/api/v1/items/export"}}]
    assert (export["timeouts"]["request"], rest["timeouts"]["request"]) == ("125s", "15s")
    assert export["backendRefs"] == rest["backendRefs"] == [{"name": "gantry-api", "port": 80}]


def test_the_export_that_it_names_exists() -> None:
    """The path stands in the chart a second time."""
    assert "/api/v1/items/export" in json.loads(Path("docs/openapi.json").read_text())["paths"]
