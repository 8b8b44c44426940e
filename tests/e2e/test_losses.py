"""What may be lost without anybody noticing: the pod's cache, and the shared store of limits."""

import time
from collections.abc import Callable
from typing import Any

from tests.e2e.cluster import RELEASE, execute, get, is_ready, kubectl, metric, names, wait_for_pods, wait_until
from tests.e2e.load import Load, running_load
from tests.e2e.release import Release

SOCKET = "/run/cache/valkey.sock"
# The server, and not the shell that starts it again. No program but the shell's own is needed.
KILL = 'for p in /proc/[0-9]*; do read -r name < "$p/comm" && [ "$name" = valkey-server ] && kill -9 "${p#/proc/}"; done; true'


def cache_run(pod: str) -> str:
    """The id of the server that runs in a pod's cache, which is another one after each start."""
    said = execute(pod, "cache", "valkey-cli", "-s", SOCKET, "info", "server", check=False)
    return next((line.partition(":")[2].strip() for line in said.splitlines() if line.startswith("run_id:")), "")


def another_run(pod: str, than: set[str]) -> str:
    """The id of a server that was not there before."""

    def look() -> str | None:
        found = cache_run(pod)
        return found if found not in than else None

    return wait_until(f"another server in the cache of {pod}", look, 20)


def cache_status(pod: str) -> Any:
    found = get("pod", pod)
    (status,) = (s for s in found["status"]["initContainerStatuses"] if s["name"] == "cache")
    return is_ready(found), status["restartCount"]


def test_a_cache_that_is_killed_again_and_again_hurts_nobody(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    release.steady()
    pods = names("api")
    runs = {cache_run(pod) for pod in pods}
    with running_load(arrivals(40)) as load:
        for _ in range(5):
            for pod in pods:
                execute(pod, "cache", "sh", "-c", KILL)
                assert cache_status(pod) == (True, 0)
            for pod in pods:
                runs.add(another_run(pod, runs))
        assert load.running
        summary = load.finish()
    keep(**summary.figures(), servers=len(runs))
    assert len(runs) == 12, "every kill was of a server, and every server was another one"
    assert [cache_status(pod) for pod in pods] == [(True, 0), (True, 0)]
    assert summary.failed == 0, summary.log


def test_a_sidecar_that_ends_takes_its_pod_away(release: Release) -> None:
    """The control: why the server is started again within its container. Without the shell that does so, the pod is unready."""
    pod = names("api")[0]
    execute(pod, "cache", "sh", "-c", "kill -TERM 1", check=False)  # it ends together with its container
    wait_until("the pod is unready", lambda: not is_ready(get("pod", pod)) or cache_status(pod)[1] > 0, 20, every=0.1)
    wait_for_pods("api", 2)
    assert cache_status(pod)[1] == 1


def counted(source: str) -> float:
    return sum(metric(pod, "gantry_rate_limit_total", source=source) for pod in names("api"))


def test_limits_without_their_store_are_counted_by_each_pod(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    release.steady()
    deployment = ("deployment", f"{RELEASE}-limits")
    before = counted("failed_open")
    with running_load(arrivals(45)) as load:
        kubectl("delete", "pod", *names("limits"), "--grace-period=0", "--force")
        wait_for_pods("limits", 1, 60)
        try:
            kubectl("scale", *deployment, "--replicas=0")
            time.sleep(10)
            lost = counted("failed_open")
        finally:
            kubectl("scale", *deployment, "--replicas=1")
        wait_for_pods("limits", 1, 60)
        time.sleep(3)
        shared = counted("shared")
        time.sleep(3)
        assert load.running
        assert counted("shared") > shared, "the store is back, and not used"
        summary = load.finish()
    keep(**summary.figures(), failed_open=int(lost - before))
    assert lost > before
    assert summary.failed == 0, summary.log
