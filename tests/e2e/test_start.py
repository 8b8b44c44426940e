"""How long a pod takes from the start of its container until it serves."""

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from tests.e2e.cluster import NAMESPACE, RELEASE, get, is_ready, kubectl, names, selector, wait_for_pods
from tests.e2e.release import Release

PODS = 10
READY_SECONDS = 5.0


class Watch:
    """When, by this clock, each pod's container `api` was first seen to run, and its pod to be ready."""

    def __init__(self) -> None:
        self.running: dict[str, float] = {}
        self.ready: dict[str, float] = {}
        command = ["kubectl", "-n", NAMESPACE, "get", "pods", "-l", selector("api"), "--watch", "-o", "json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout
        decoder, text = json.JSONDecoder(), ""
        for line in self.process.stdout:
            text += line
            if line.rstrip() == "}":  # of a whole object: those inside are indented
                pod, _ = decoder.raw_decode(text.lstrip())
                text = ""
                self._see(pod)

    def _see(self, pod: Any) -> None:
        name, now = pod["metadata"]["name"], time.monotonic()
        states = pod["status"].get("containerStatuses", [])
        if any(state["name"] == "api" and "running" in state["state"] for state in states):
            self.running.setdefault(name, now)
        if is_ready(pod):
            self.ready.setdefault(name, now)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)
        self.thread.join(timeout=10)
        assert self.process.stdout
        self.process.stdout.close()


def by_the_kubelet(name: str) -> float:
    """The same by the pod's own status, whose times are whole seconds."""
    status = get("pod", name)["status"]
    (started,) = (s["state"]["running"]["startedAt"] for s in status["containerStatuses"] if s["name"] == "api")
    (ready,) = (c["lastTransitionTime"] for c in status["conditions"] if c["type"] == "Ready")
    return (datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds()


def test_a_pod_is_ready_soon_after_its_container_starts(release: Release, keep: Callable[..., None]) -> None:
    release.steady()
    watch = Watch()
    try:
        told = []
        for _ in range(PODS):
            (oldest, *_), before = names("api"), set(names("api"))
            kubectl("delete", "pod", oldest, "--wait=false")
            wait_for_pods("api", 2, 60)
            (new,) = set(names("api")) - before
            told.append((new, by_the_kubelet(new)))
        time.sleep(1)
    finally:
        watch.stop()
    seen = [watch.ready[name] - watch.running[name] for name, _ in told]
    keep(
        median=round(statistics.median(seen), 2),
        longest=round(max(seen), 2),
        median_by_the_kubelet=statistics.median(seconds for _, seconds in told),
    )
    assert statistics.median(seen) <= READY_SECONDS
    assert statistics.median(seconds for _, seconds in told) <= READY_SECONDS
    assert get("deployment", f"{RELEASE}-api")["status"]["readyReplicas"] == 2
