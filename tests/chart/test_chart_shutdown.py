"""How pods stop: one number, of which all others are parts; and how they are kept from hurting each other on the way."""

import pytest

from tests.chart.helm import Object, Values, merged, render
from tests.chart.objects import find, of_kind, workload
from tests.chart.value_sets import EVERYTHING

CLOSE, MARGIN = 5, 5


@pytest.mark.parametrize(
    ("grace", "drain", "deadline"),
    [(45, 10, 20), (41, 10, 20), (60, 10, 20), (120, 30, 60), (31, 0, 20), (45, 10, 12.5), (700, 60, 500)],
)
def test_the_parts_of_a_stop_add_up(grace: int, drain: int, deadline: float) -> None:
    """Drain + requests in flight + closing + margin; and a request may take its whole deadline."""
    values = {
        "api": {"terminationGracePeriodSeconds": grace, "drainSeconds": drain},
        "config": {"http": {"deadline": deadline}},
    }
    objects = render(values)
    pod = workload(objects, "api")
    settings = find(objects, "ConfigMap", "gantry-settings")["data"]
    graceful, close = int(settings["GANTRY_SERVER__GRACEFUL_TIMEOUT"]), int(settings["GANTRY_SERVER__CLOSE_TIMEOUT"])
    assert pod.spec["terminationGracePeriodSeconds"] == grace
    assert close == CLOSE
    assert drain + graceful + close + MARGIN == grace
    assert graceful > deadline


@pytest.mark.parametrize("drain", [1, 10])
def test_the_drain_is_as_long_as_it_says(drain: int) -> None:
    """It tells the arbiter, process 1, and then waits; SIGTERM comes after."""
    hook = workload(render({"api": {"drainSeconds": drain}}), "api").container("api")["lifecycle"]["preStop"]
    assert hook == {"exec": {"command": ["/bin/sh", "-c", f"kill -USR1 1; sleep {drain}"]}}


def test_no_drain_is_no_hook() -> None:
    """A hook that waits for nothing would still cost a process at the worst moment."""
    assert "lifecycle" not in workload(render({"api": {"drainSeconds": 0}}), "api").container("api")


def test_no_pod_of_the_api_is_missing_during_a_rollout(objects: list[Object]) -> None:
    """New ones first."""
    for name in ("gantry-api", "gantry-pgbouncer"):
        for deployment in of_kind(objects, "Deployment"):
            if deployment["metadata"]["name"] == name:
                strategy = deployment["spec"]["strategy"]
                assert strategy["type"] == "RollingUpdate"
                assert strategy["rollingUpdate"]["maxUnavailable"] == 0
                assert strategy["rollingUpdate"]["maxSurge"] not in (0, "0%")


@pytest.mark.parametrize(("recycle", "deadline"), [(60, 20), (30, 20), (10, 11.5)])
def test_pgbouncer_outlives_its_clients(recycle: int, deadline: float) -> None:
    """It serves until each has replaced its connections, and then as long as the longest request."""
    objects = render({"api": {"poolRecycleSeconds": recycle}, "config": {"http": {"deadline": deadline}}})
    pod = workload(objects, "pgbouncer")
    wait = pod.container("pgbouncer")["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert wait == recycle + 5
    assert pod.spec["terminationGracePeriodSeconds"] >= wait + deadline + 5
    assert find(objects, "ConfigMap", "gantry-settings")["data"]["GANTRY_DATABASE__POOL_RECYCLE"] == str(recycle)


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["minimal", "everything"])
def test_the_cache_can_not_hurt_its_pod(values: Values) -> None:
    """Sidecars start before the API and end after it, nothing asks whether they are ready, and they are in no network."""
    pod = workload(render(values), "api")
    assert [c["name"] for c in pod.spec["initContainers"]] == ["cache", "cache-metrics"]
    for sidecar in pod.spec["initContainers"]:
        assert sidecar["restartPolicy"] == "Always"
        assert "readinessProbe" not in sidecar
        assert "lifecycle" not in sidecar
    cache = pod.container("cache")
    assert "ports" not in cache
    arguments = cache["args"]
    assert arguments[arguments.index("--port") + 1] == "0"
    assert arguments[arguments.index("--unixsocket") + 1] == "/run/cache/valkey.sock"
    assert {
        c["name"]: m["mountPath"]
        for c in pod.containers()
        for m in c.get("volumeMounts", [])
        if m["name"] == "cache-socket"
    } == {"cache": "/run/cache", "cache-metrics": "/run/cache", "api": "/run/cache"}
    assert "while :" in cache["command"][2], (
        "it starts the server again itself, for the pod is unready while a sidecar is down"
    )


@pytest.mark.parametrize(
    ("limit", "percent", "expected"),
    [
        ("128Mi", 70, 93952409),
        ("1Gi", 50, 536870912),
        ("200M", 70, 140000000),
        (134217728, 70, 93952409),
        ("0.5Gi", 90, 483183820),
    ],
)
@pytest.mark.parametrize(
    ("path", "component", "container"), [("cache", "api", "cache"), ("limits", "limits", "valkey")]
)
def test_valkey_fills_a_part_of_its_limit(
    path: str, component: str, container: str, limit: str | int, percent: int, expected: int
) -> None:
    """The rest is for connections and the allocator: above its limit it would be killed."""
    settings: Values = {"maxmemoryPercent": percent, "resources": {"limits": {"memory": limit}}}
    objects = render(merged({}, {"cache": settings} if path == "cache" else {"limits": {"valkey": settings}}))
    arguments = workload(objects, component).container(container)["args"]
    assert int(arguments[arguments.index("--maxmemory") + 1]) == expected
    assert arguments[arguments.index("--maxmemory-policy") + 1] == "allkeys-lru"
    assert arguments[arguments.index("--save") + 1] == ""
