"""Every pod lives and is ready by its admin port, and nothing of that is on the public one."""

import os
from functools import partial

from support import addresses, api, call, check, check_problem, eventually, passed

ADMIN = os.environ["TEST_ADMIN_HOST"]
ADMIN_PORT = 9000


def every_pod_is(path: str) -> int:
    """The number of pods, all of which answered 200. They are looked up at each try: pods come and go."""
    pods = addresses(ADMIN)
    for pod in pods:
        answer = call(pod, ADMIN_PORT, path)
        check(answer.status == 200, f"{path} of {pod}: {answer.status}: {answer.body[:500]!r}")
        check(answer.json()["ok"] is True, f"{path} of {pod}: {answer.body[:500]!r}")
    return len(pods)


def every_pod_has_metrics() -> None:
    """Each pod says how many workers it has."""
    for pod in addresses(ADMIN):
        answer = call(pod, ADMIN_PORT, "/metrics")
        check(answer.status == 200, f"/metrics of {pod}: {answer.status}")
        check(b"gantry_workers{" in answer.body, f"/metrics of {pod} has no gantry_workers")


for path in ("/livez", "/readyz"):
    passed(f"{path} of {eventually(partial(every_pod_is, path))} pods")
eventually(every_pod_has_metrics)
passed("/metrics of each")

answer = api("/")
check(answer.status == 200, f"/ of the public port: {answer.status}: {answer.body[:500]!r}")
passed("the public port answers")
for path in ("/livez", "/readyz", "/metrics"):
    check_problem(api(path), 404, f"{path} of the public port")
passed("the public port has neither probes nor metrics")
