"""What draining a node does: pods are evicted, one at a time as the disruption budget says, and nobody notices."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.cluster import NAMESPACE, RELEASE, kubectl, names, run, wait_for_pods
from tests.e2e.load import Load, running_load
from tests.e2e.release import Release


def evict(pod: str, *, dry_run: bool = False) -> str:
    """Ask for it as `kubectl drain` does; what the API server says."""
    body: dict[str, Any] = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": NAMESPACE},
    }
    if dry_run:
        body["deleteOptions"] = {"dryRun": ["All"]}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction"
    done = run("kubectl", "create", "--raw", path, "-f", "-", stdin=json.dumps(body), check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("component", ["api", "pgbouncer"])
def test_evictions_keep_to_the_budget_and_nobody_notices(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None], component: str
) -> None:
    release.steady()
    with running_load(arrivals(45)) as load:
        for _ in range(2):  # so that both are replaced
            first, second = names(component)
            assert '"status":"Success"' in evict(first)
            assert "would violate the pod's disruption budget" in evict(second)
            wait_for_pods(component, 2, 60)
        assert load.running
        summary = load.finish()
    keep(**summary.figures())
    assert summary.failed == 0, summary.log


def test_without_the_budget_both_would_go(release: Release) -> None:
    """The control."""
    release.upgrade(release.steady_values, podDisruptionBudget__enabled=False)
    first, second = names("api")
    kubectl("delete", "pod", first, "--wait=false")
    assert '"status":"Success"' in evict(second, dry_run=True)
    release.steady()
    assert f"{RELEASE}-api" in kubectl("get", "pdb", "-o", "name")
