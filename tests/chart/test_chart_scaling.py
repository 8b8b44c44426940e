"""The autoscaler, and what it must not be contradicted by."""

from tests.chart.helm import Object, render
from tests.chart.objects import find, of_kind, workload


def test_no_number_of_replicas_beside_an_autoscaler(objects: list[Object]) -> None:
    """Each upgrade would set it back, and a server-side apply be refused."""
    scaled = {hpa["spec"]["scaleTargetRef"]["name"] for hpa in of_kind(objects, "HorizontalPodAutoscaler")}
    for deployment in of_kind(objects, "Deployment"):
        assert ("replicas" in deployment["spec"]) is (deployment["metadata"]["name"] not in scaled)


def test_an_autoscaler_is_never_left_out_silently() -> None:
    """It is there whenever it is asked for."""
    assert of_kind(render({}), "HorizontalPodAutoscaler")
    assert not of_kind(render({"autoscaling": {"enabled": False}}), "HorizontalPodAutoscaler")


def test_it_measures_a_container_that_exists_and_says_what_it_needs(objects: list[Object]) -> None:
    """Of the one Deployment it is for."""
    for hpa in of_kind(objects, "HorizontalPodAutoscaler"):
        target = find(objects, hpa["spec"]["scaleTargetRef"]["kind"], hpa["spec"]["scaleTargetRef"]["name"])
        names = {c["name"]: c for c in target["spec"]["template"]["spec"]["containers"]}
        for metric in hpa["spec"]["metrics"]:
            if metric["type"] == "ContainerResource":
                measured = names[metric["containerResource"]["container"]]
                assert "cpu" in measured["resources"]["requests"]
                assert metric["containerResource"]["name"] == "cpu", "never memory: Python does not give it back"


def test_production_defaults() -> None:
    """Fast up, slow down; CPU always, requests in flight when there is an adapter."""
    spec = find(render({"autoscaling": {"inFlight": {"enabled": True}}}), "HorizontalPodAutoscaler")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
    cpu, in_flight = spec["metrics"]
    assert cpu["containerResource"]["target"] == {"type": "Utilization", "averageUtilization": 65}
    assert in_flight["pods"]["metric"]["name"] == "gantry_http_requests_in_flight"
    assert in_flight["pods"]["target"] == {"type": "AverageValue", "averageValue": "16"}
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_pods_spread_over_zones_and_nodes() -> None:
    """As far as that is possible, and counting the pods of their own version alone."""
    for component in ("api", "pgbouncer"):
        pod = workload(render({}), component)
        spread = pod.spec["topologySpreadConstraints"]
        assert [s["topologyKey"] for s in spread] == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        assert all(s["whenUnsatisfiable"] == "ScheduleAnyway" for s in spread)
        assert all(s["labelSelector"]["matchLabels"].items() <= pod.labels.items() for s in spread)
