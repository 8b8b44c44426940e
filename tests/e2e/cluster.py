"""The cluster as the tests see it: ``kubectl``, waiting with a limit, and pods of our own."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NAMESPACE = "gantry"
DATABASE_NAMESPACE = "gantry-postgres"
OBSERVABILITY_NAMESPACE = "gantry-observability"
RELEASE = "gantry"

RESTRICTED_POD = {
    "automountServiceAccountToken": False,
    "enableServiceLinks": False,
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 1,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
RESTRICTED_CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def run(
    *command: str | Path,
    check: bool = True,
    stdin: str | None = None,
    seconds: float = 120,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """A command and what it says; one that fails ends the test with its own words."""
    result = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        cwd=ROOT,
        env=os.environ | (environment or {}),
    )
    assert not check or result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}"
    return result


def kubectl(*arguments: str, namespace: str = NAMESPACE, stdin: str | None = None, seconds: float = 120) -> str:
    return run("kubectl", "--namespace", namespace, *arguments, stdin=stdin, seconds=seconds).stdout


def get(*arguments: str, namespace: str = NAMESPACE) -> Any:
    return json.loads(kubectl("get", *arguments, "--output", "json", namespace=namespace))


def labels(component: str) -> dict[str, str]:
    """What a pod of a component is selected by."""
    names = ("name", "instance", "component")
    return {f"app.kubernetes.io/{n}": v for n, v in zip(names, ("gantry", RELEASE, component), strict=True)}


def selector(component: str) -> str:
    return ",".join(f"{name}={value}" for name, value in labels(component).items())


def is_ready(pod: Any) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def pods(component: str, *, ready: bool = True) -> list[Any]:
    """Pods of a component that are to stay, the oldest first."""
    found = [
        pod for pod in get("pods", "-l", selector(component))["items"] if "deletionTimestamp" not in pod["metadata"]
    ]
    found.sort(key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    return [pod for pod in found if not ready or is_ready(pod)]


def names(component: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods(component)]


def wait_until[T](what: str, look: Callable[[], T | None], seconds: float, every: float = 1.0) -> T:
    """What ``look`` finds, once it finds something. It looks seldom: the load has the same few cores."""
    until = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(every)


def wait_for_pods(component: str, count: int, seconds: float = 120) -> list[Any]:
    """Exactly so many pods that are to stay, all ready."""

    def look() -> list[Any] | None:
        found = pods(component, ready=False)
        return found if len(found) == count and all(map(is_ready, found)) else None

    return wait_until(f"{count} ready pods of {component}", look, seconds)


def replace_oldest(component: str, count: int) -> None:
    """Delete a pod; returns when another has taken its place."""
    kubectl("delete", "pod", names(component)[0], "--wait=false")
    wait_for_pods(component, count, 90)


def wait_until_gone(component: str, seconds: float = 120) -> None:
    """No pod of a component is being stopped any more."""

    def look() -> bool:
        found = get("pods", "-l", selector(component))["items"]
        return not any("deletionTimestamp" in pod["metadata"] for pod in found)

    wait_until(f"no terminating pod of {component}", look, seconds)


def execute(pod: str, container: str, *command: str, check: bool = True) -> str:
    """A command in a running container."""
    arguments = ("kubectl", "--namespace", NAMESPACE, "exec", pod, "--container", container, "--", *command)
    return run(*arguments, check=check).stdout


def psql(statement: str, database: str = "gantry") -> list[str]:
    """Lines that PostgreSQL's superuser gets."""
    arguments = ("-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-c", statement)
    return kubectl("exec", "postgres-0", "--", "psql", *arguments, namespace=DATABASE_NAMESPACE).splitlines()


def metric(pod: str, name: str, **wanted: str) -> float:
    """The sum of a metric's samples with given labels, from the admin port of an API pod."""
    read = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9000/metrics', timeout=5).read().decode())"
    total = 0.0
    for line in execute(pod, "api", "python", "-c", read).splitlines():
        if line.startswith((f"{name}{{", f"{name} ")) and all(f'{k}="{v}"' in line for k, v in wanted.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def probe_pod(
    name: str,
    command: Sequence[str],
    *,
    image: str,
    pod_labels: Mapping[str, str],
    namespace: str = NAMESPACE,
    **container: Any,
) -> dict[str, Any]:
    """A pod that runs a command once. It is never ready, so that no Service sends anybody to it, whatever its labels are."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"e2e": "probe", **pod_labels}},
        "spec": RESTRICTED_POD
        | {
            "containers": [
                {
                    "name": "probe",
                    "image": image,
                    "command": list(command),
                    "securityContext": RESTRICTED_CONTAINER,
                    "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 60},
                    **container,
                }
            ]
        },
    }


def start(*objects: Mapping[str, Any]) -> None:
    for item in objects:
        kubectl("apply", "-f", "-", namespace=item["metadata"].get("namespace", NAMESPACE), stdin=json.dumps(item))


def finished(name: str, *, namespace: str = NAMESPACE, seconds: float = 90) -> tuple[str, str]:
    """Phase and output of a pod that has ended; the pod is then deleted."""

    def look() -> str | None:
        phase = str(get("pod", name, namespace=namespace)["status"].get("phase"))
        return phase if phase in {"Succeeded", "Failed"} else None

    phase = wait_until(f"the end of the pod {name}", look, seconds)
    output = kubectl("logs", name, namespace=namespace)
    kubectl("delete", "pod", name, "--wait=false", namespace=namespace)
    return phase, output
