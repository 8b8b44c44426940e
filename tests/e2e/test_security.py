"""Where the release runs, pods that ask for more than `restricted` allows are refused; so ours ask for no more."""

import json
from typing import Any

import pytest

from tests.e2e.cluster import NAMESPACE, RELEASE, execute, get, labels, names, probe_pod, run
from tests.e2e.release import Release

VIOLATIONS: dict[str, dict[str, Any]] = {
    "privileged": {"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}},
    "root": {"securityContext": {"runAsUser": 0}},
    "escalation": {"securityContext": {"allowPrivilegeEscalation": True}},
    "capability": {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}},
    "no seccomp": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "port of the node": {"ports": [{"containerPort": 80, "hostPort": 80}]},
}


def offered(pod: dict[str, Any]) -> tuple[int, str]:
    applied = run("kubectl", "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)
    return applied.returncode, applied.stderr


def pod_with(image: str, violation: dict[str, Any]) -> dict[str, Any]:
    pod = probe_pod("violation", ["true"], image=image, pod_labels=labels("test"))
    container = pod["spec"]["containers"][0]
    context = container["securityContext"] | violation.get("securityContext", {})
    pod["spec"]["containers"] = [container | violation | {"securityContext": context}]
    return pod


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_pod_that_asks_for_more_is_refused(release: Release, name: str) -> None:
    status, said = offered(pod_with(release.image, VIOLATIONS[name]))
    assert status != 0
    assert 'violates PodSecurity "restricted' in said


def test_one_that_does_not_is_let_in(release: Release) -> None:
    assert offered(pod_with(release.image, {})) == (0, "")


def test_all_containers_run_as_they_were_declared(release: Release) -> None:
    assert get("namespace", NAMESPACE)["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = [pod for component in ("api", "pgbouncer", "limits") for pod in names(component)]
    assert len(pods) >= 4
    for pod in pods:
        spec = get("pod", pod)["spec"]
        assert spec["serviceAccountName"] == RELEASE
        for container in [*spec["containers"], *(c for c in spec.get("initContainers", []) if "restartPolicy" in c)]:
            status = execute(pod, container["name"], "cat", "/proc/1/status").splitlines()
            found = dict(line.split(":\t", 1) for line in status if ":\t" in line)
            assert found["Uid"].split()[0] == "10001", (pod, container["name"])
            assert int(found["CapEff"], 16) == 0, (pod, container["name"])
            assert found["NoNewPrivs"] == "1", (pod, container["name"])
            assert found["Seccomp"] == "2", (pod, container["name"])
            token = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # a path, no secret
            assert "No such file" in execute(pod, container["name"], "sh", "-c", f"cat {token} 2>&1; true")
