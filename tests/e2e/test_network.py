"""Network policies: who reaches what, tried from a pod of every component, and from pods that are none of ours."""

import json
from collections.abc import Mapping
from typing import Any

from tests.e2e.cluster import NAMESPACE, RELEASE, finished, get, labels, names, probe_pod, start
from tests.e2e.release import Release

# A policy takes a moment to hold for a new pod. Each target has three tries, so that one lost packet is no denial.
PROBE = """
import json, socket, sys, time
time.sleep(6)
def reached(address, port):
    for _ in range(3):
        try:
            socket.create_connection((address, port), timeout=1.5).close()
            return True
        except OSError:
            pass
    return False
print(json.dumps({name: reached(*target) for name, target in json.loads(sys.argv[1]).items()}))
"""
ALLOWED = {
    "api": {"pgbouncer", "limits", "postgresql", "dns"},
    "pgbouncer": {"postgresql", "dns"},
    "limits": set(),
    "migrations": {"postgresql", "dns"},
    "test": {"api", "admin", "cache metrics", "pgbouncer", "limits", "dns"},
}
"""Of TARGETS, for pods of each component."""
OF_THE_RELEASE = {"api", "admin", "cache metrics", "pgbouncer", "pgbouncer metrics", "limits", "limits metrics"}


def targets() -> dict[str, tuple[str, int]]:
    """By address: not everybody may ask for names."""

    def service(name: str, namespace: str = NAMESPACE) -> str:
        return str(get("service", name, namespace=namespace)["spec"]["clusterIP"])

    def pod(component: str) -> str:
        return str(get("pod", names(component)[0])["status"]["podIP"])

    return {
        "api": (pod("api"), 8000),
        "admin": (pod("api"), 9000),
        "cache metrics": (pod("api"), 9121),
        "pgbouncer": (pod("pgbouncer"), 6432),
        "pgbouncer metrics": (pod("pgbouncer"), 9127),
        "limits": (pod("limits"), 6379),
        "limits metrics": (pod("limits"), 9121),
        "postgresql": (service("postgres", "gantry-postgres"), 5432),
        "dns": (service("kube-dns", "kube-system"), 53),
        "kubernetes": (service("kubernetes", "default"), 443),
        "another pod": (get("pods", namespace="traefik")["items"][0]["status"]["podIP"], 8000),
    }


def probes(release: Release, wanted: Mapping[str, tuple[str, Mapping[str, str]]]) -> dict[str, set[str]]:
    """What each probe reaches; they run at the same time. ``wanted``: namespace and labels by name."""
    command = ["python", "-c", PROBE, json.dumps(targets())]
    pods: list[dict[str, Any]] = [
        probe_pod(f"probe-{name}", command, image=release.image, pod_labels=pod_labels, namespace=namespace)
        for name, (namespace, pod_labels) in wanted.items()
    ]
    start(*pods)
    reached = {}
    for name, (namespace, _) in wanted.items():
        phase, output = finished(f"probe-{name}", namespace=namespace, seconds=150)
        assert phase == "Succeeded", output
        reached[name] = {target for target, open_ in json.loads(output).items() if open_}
    return reached


def test_every_component_reaches_what_it_needs_and_nothing_else(release: Release) -> None:
    reached = probes(release, {component: (NAMESPACE, labels(component)) for component in ALLOWED})
    assert reached == ALLOWED


def test_others_reach_nothing_of_the_release(release: Release) -> None:
    strangers = {
        "stranger": (NAMESPACE, {"app": "stranger"}),
        "of-another-release": (NAMESPACE, labels("api") | {"app.kubernetes.io/instance": "another"}),
        "in-default": ("default", labels("test")),
        "ingress": ("traefik", {"app": "ingress"}),
    }
    reached = {name: found & OF_THE_RELEASE for name, found in probes(release, strangers).items()}
    assert reached == {"stranger": set(), "of-another-release": set(), "in-default": set(), "ingress": {"api"}}


def test_without_the_policies_everybody_reaches_everything(release: Release) -> None:
    """The control: it is the policies that keep the others away, and the probes would notice."""
    release.upgrade(networkPolicy__enabled=False)
    try:
        reached = probes(
            release, {"stranger": (NAMESPACE, {"app": "stranger"}), "limits": (NAMESPACE, labels("limits"))}
        )
        assert reached["stranger"] >= OF_THE_RELEASE
        assert reached["limits"] == set(targets())
    finally:
        release.upgrade()
    assert f"{RELEASE}-default-deny" in {item["metadata"]["name"] for item in get("networkpolicies")["items"]}
