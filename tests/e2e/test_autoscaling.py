"""The autoscaler at work, with k8s/values-small.yaml: from one pod to three and more within 90 seconds of load, and back to one."""

import time
from collections.abc import Callable

from tests.e2e.cluster import RELEASE, get, pods, wait_for_pods, wait_until
from tests.e2e.load import Load, running_load
from tests.e2e.release import Release

UP_SECONDS = 90
DOWN_SECONDS = 240
IDLE_PERCENT = 40
QUIET_SECONDS = 20


def at_rest() -> bool:
    """The autoscaler has measured the API, and wants one pod."""
    status = get("hpa", f"{RELEASE}-api")["status"]
    used = [
        m["containerResource"]["current"].get("averageUtilization", 100) for m in status.get("currentMetrics") or []
    ]
    return status["desiredReplicas"] == 1 and len(used) == 1 and used[0] < IDLE_PERCENT


def test_from_one_pod_to_three_and_back(
    release: Release, arrivals: Callable[..., Load], keep: Callable[..., None]
) -> None:
    release.upgrade(config__limits__default="100000000/minute")
    wait_for_pods("api", 1, DOWN_SECONDS)
    wait_until("an autoscaler at rest", at_rest, DOWN_SECONDS)
    time.sleep(QUIET_SECONDS)  # what is left of earlier load in its measurements
    assert at_rest()
    began = time.monotonic()
    with running_load(arrivals(UP_SECONDS + 20, part=0.33, at_rest=True)) as load:
        wait_until("three ready pods", lambda: len(pods("api")) >= 3, UP_SECONDS)
        up = time.monotonic() - began
        most = 0
        while load.running:
            most = max(most, len(pods("api")))
            time.sleep(1)
        summary = load.finish()
    quiet = time.monotonic()
    wait_for_pods("api", 1, DOWN_SECONDS)
    down = time.monotonic() - quiet
    keep(**summary.figures(), seconds_to_three=round(up, 1), most=most, seconds_to_one=round(down, 1))
    assert summary.failed == 0, summary.log
    assert get("hpa", f"{RELEASE}-api")["status"]["desiredReplicas"] == 1
