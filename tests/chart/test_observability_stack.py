"""k8s/observability: valid, restricted, and with the chart's own ports, jobs and addresses. The cluster's tests run it for real."""

from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.chart.helm import Object, Values, render
from tests.chart.kubernetes import VERSIONS, validate
from tests.chart.objects import Workload, find, name_of, of_kind, selects, workloads
from tests.chart.policies import OWN_NAMESPACE, Endpoint, component, lets_through
from tests.chart.stack import FOLDER, NAMESPACE, collector_configuration, prometheus_configuration, relabelled, stack
from tests.chart.value_sets import LAN, POD_MONITOR


def values_file(name: str) -> Values:
    """A file of values for the development cluster."""
    loaded: Values = yaml.safe_load(Path("k8s", name).read_text())
    return loaded


def connected() -> list[Object]:
    """The chart as `make observability` leaves it."""
    return render(values_file("values-small.yaml"), values_file("values-observability.yaml"), TRAEFIK, required={})


TRAEFIK: Values = {"networkPolicy": {"ingressControllers": [LAN]}}


def pods(name: str) -> Workload:
    """The pods of one of its Deployments."""
    (found,) = [w for w in workloads(stack()) if w.owner["metadata"]["name"] == name]
    return found


def test_its_objects_are_valid() -> None:
    """In the oldest Kubernetes that the chart supports, and in the newest; each once."""
    for version, thing in product(VERSIONS, stack()):
        validate(thing, version)
    names = [(name_of(thing), thing["metadata"].get("namespace")) for thing in stack()]
    assert len(names) == len(set(names))
    assert {file.name for file in FOLDER.iterdir()} == {
        "kustomization.yaml",
        *(name for thing in of_kind(stack(), "ConfigMap") for name in thing["data"]),
        *yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"],
    }


def test_all_of_it_is_in_its_namespace_but_the_role() -> None:
    """Which has to be where the pods are that Prometheus may ask for."""
    assert find(stack(), "Namespace")["metadata"]["name"] == NAMESPACE["kubernetes.io/metadata.name"]
    for thing in stack():
        if thing["kind"] != "Namespace":
            expected = OWN_NAMESPACE if thing["kind"] in ("Role", "RoleBinding") else NAMESPACE
            assert thing["metadata"]["namespace"] == expected["kubernetes.io/metadata.name"], name_of(thing)
    assert find(stack(), "Role")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]


def test_every_pod_is_restricted() -> None:
    """As its namespace wants it; and memory is bounded, on disk too."""
    labels = find(stack(), "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for found in workloads(stack()):
        context = found.spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in found.containers():
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}
            assert not container["image"].endswith(":latest")
        for volume in found.spec["volumes"]:
            assert "emptyDir" not in volume or "sizeLimit" in volume["emptyDir"]


def test_only_prometheus_has_a_token() -> None:
    """It asks the API server for pods; the collector asks nobody."""
    (account,) = of_kind(stack(), "ServiceAccount")
    assert pods("prometheus").spec["serviceAccountName"] == account["metadata"]["name"]
    assert pods("otel-collector").spec["automountServiceAccountToken"] is False


def test_services_and_volumes_lead_somewhere() -> None:
    """By the names of ports, pods and ConfigMaps."""
    for service in of_kind(stack(), "Service"):
        (found,) = [w for w in workloads(stack()) if selects(service["spec"]["selector"], w.labels)]
        numbers = {p["name"]: p["containerPort"] for c in found.containers() for p in c["ports"]}
        for port in service["spec"]["ports"]:
            assert numbers[port["targetPort"]] == port["port"], "the configuration has one number for both"
    maps = {thing["metadata"]["name"]: thing["data"] for thing in of_kind(stack(), "ConfigMap")}
    for found in workloads(stack()):
        (container,) = found.containers()
        (config,) = [v["configMap"]["name"] for v in found.spec["volumes"] if "configMap" in v]
        (mount,) = [m["mountPath"] for m in container["volumeMounts"] if m["name"] == "config"]
        (file,) = maps[config]
        assert any(argument.endswith(f"={mount}/{file}") for argument in container["args"])


def targets(objects: list[Object]) -> list[tuple[dict[str, str], Workload]]:
    """What Prometheus would scrape of these objects' pods: its labels, and the pods; as its discovery of pods describes them."""
    (job,) = [j for j in prometheus_configuration()["scrape_configs"] if j["job_name"] == "gantry"]
    (discovery,) = job["kubernetes_sd_configs"]
    assert discovery["namespaces"]["names"] == [OWN_NAMESPACE["kubernetes.io/metadata.name"]]
    (selector,) = discovery["selectors"]
    name, _, value = selector["label"].partition("=")
    found = []
    for one in workloads(objects):
        if one.labels.get(name) != value:
            continue
        for container in one.containers():
            for port in container.get("ports", []):
                labels = {
                    "__meta_kubernetes_namespace": "gantry",
                    "__meta_kubernetes_pod_name": one.owner["metadata"]["name"],
                    "__meta_kubernetes_pod_phase": "Running",
                    "__meta_kubernetes_pod_container_name": container["name"],
                    "__meta_kubernetes_pod_container_port_name": port["name"],
                } | {f"__meta_kubernetes_pod_label_{sanitized(key)}": value for key, value in one.labels.items()}
                kept = relabelled(labels, job["relabel_configs"])
                if kept is not None:
                    found.append((kept, one))
                ended = relabelled(labels | {"__meta_kubernetes_pod_phase": "Succeeded"}, job["relabel_configs"])
                assert ended is None
    return found


def sanitized(name: str) -> str:
    """A label's name as Prometheus writes it."""
    return "".join(letter if letter.isalnum() else "_" for letter in name)


@pytest.mark.parametrize("release", ["gantry", "gantry-two"])
def test_it_scrapes_what_the_monitors_scrape_under_the_same_jobs(release: str) -> None:
    """Rules and dashboards hold here what they hold in production."""
    objects = render(POD_MONITOR, release=release)
    monitored = {
        (endpoint["relabelings"][0]["replacement"], monitor["metadata"]["labels"]["app.kubernetes.io/component"], endpoint["port"])
        for monitor in of_kind(objects, "PodMonitor")
        for endpoint in monitor["spec"]["podMetricsEndpoints"]
    }  # fmt: skip
    scraped = [(labels["job"], one.component, labels["endpoint"]) for labels, one in targets(objects)]
    assert len(monitored) == 4
    assert set(scraped) == monitored
    assert len(scraped) == len(monitored), "something is scraped twice"


def test_a_target_says_where_it_is() -> None:
    """As the operator's do."""
    for labels, one in targets(render()):
        assert labels.keys() == {"job", "namespace", "pod", "container", "endpoint"}
        assert labels["pod"] == one.owner["metadata"]["name"]
        assert one.container(labels["container"])


def test_prometheus_keeps_little_and_keeps_exemplars() -> None:
    """Less than its volume holds."""
    (container,) = pods("prometheus").containers()
    assert "--enable-feature=exemplar-storage" in container["args"]
    assert "--storage.tsdb.retention.size=800MB" in container["args"]
    (data,) = [v["emptyDir"] for v in pods("prometheus").spec["volumes"] if v["name"] == "data"]
    assert data == {"sizeLimit": "1Gi"}


def port_of(address: str) -> int:
    """``host:port``."""
    return int(address.rpartition(":")[2])


def test_the_collector_listens_where_the_release_sends() -> None:
    """And where Prometheus and the probes ask; each port of its configuration is one of its container, and no other is."""
    configuration = collector_configuration()
    (container,) = pods("otel-collector").containers()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    (reader,) = configuration["service"]["telemetry"]["metrics"]["readers"]
    assert ports == {
        "otlp-http": port_of(configuration["receivers"]["otlp"]["protocols"]["http"]["endpoint"]),
        "metrics": reader["pull"]["exporter"]["prometheus"]["port"],
        "health": port_of(configuration["extensions"]["health_check"]["endpoint"]),
    }
    endpoint = urlsplit(find(connected(), "ConfigMap", "gantry-settings")["data"]["GANTRY_TRACING__ENDPOINT"])
    service = find(stack(), "Service", "otel-collector")
    assert endpoint.hostname == f"{service['metadata']['name']}.{service['metadata']['namespace']}"
    assert endpoint.port == ports["otlp-http"]
    (own,) = [j for j in prometheus_configuration()["scrape_configs"] if j["job_name"] == "otel-collector"]
    assert own["static_configs"] == [{"targets": [f"otel-collector:{ports['metrics']}"]}]


def test_what_the_collector_uses_is_configured() -> None:
    """A name that is in a pipeline alone ends it at its start."""
    configuration = collector_configuration()
    assert configuration["service"]["extensions"] == list(configuration["extensions"])
    for kind in ("receivers", "processors", "exporters"):
        used: set[Any] = {name for p in configuration["service"]["pipelines"].values() for name in p[kind]}
        assert used == configuration[kind].keys()


def test_exactly_these_reach_each_other() -> None:
    """Over the policies of both sides."""
    objects = connected() + stack()
    endpoints = {name: component(connected(), name) for name in ("api", "pgbouncer", "limits", "migrations", "test")}
    endpoints |= {name: Endpoint(pods(name).labels, NAMESPACE) for name in ("prometheus", "otel-collector")}
    endpoints["stranger"] = Endpoint({"app": "stranger"}, NAMESPACE)
    reached = {
        (source, target, port)
        for (source, one), (target, other) in product(endpoints.items(), endpoints.items())
        for port in (4318, 6379, 6432, 8000, 8888, 9000, 9090, 9121, 9127, 13133)
        if (one.namespace == NAMESPACE) or (other.namespace == NAMESPACE)
        if lets_through(objects, one, other, port)
    }
    assert reached == {
        ("prometheus", "api", 9000),
        ("prometheus", "api", 9121),
        ("prometheus", "pgbouncer", 9127),
        ("prometheus", "limits", 9121),
        ("prometheus", "otel-collector", 8888),
        ("api", "otel-collector", 4318),
    }


def test_a_connected_release_records_all_it_is_asked_for() -> None:
    """Whoever tries something here wants to see it."""
    data = find(connected(), "ConfigMap", "gantry-settings")["data"]
    assert float(data["GANTRY_TRACING__SAMPLE_RATIO"]) == 1
    for thing in connected():
        validate(thing, VERSIONS[0])
