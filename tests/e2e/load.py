"""Load by k6: to the ingress on 127.0.0.1 alone, and never without an end."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "k6"


@dataclass(frozen=True)
class Summary:
    """What came of a run."""

    requests: int
    failed: int
    """Any answer but the expected one, resets, refusals and time-outs."""
    dropped: int
    """Requests that were not sent, because too many others had no answer yet."""
    rate: float
    p99: float
    windows: tuple[int, ...]
    """What was answered in each of the script's windows, where it has some; not the last one, in which requests end late."""
    log: str

    def figures(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failed": self.failed,
            "dropped": self.dropped,
            "per_second": round(self.rate, 1),
            "p99_ms": round(self.p99, 1),
        }


@dataclass(frozen=True)
class Capacity:
    """Requests a second that two pods answer to twenty clients, through the ingress."""

    at_rest: float
    in_the_worst_moment: float
    """In the slowest ten seconds of an upgrade and of pods' deletions. Load, database and pods that start share the cores of one machine,
    and an upgrade starts more at once than a deletion does: load that is a part of less than this can't be borne then."""


def metric_count(metrics: dict[str, Any], prefix: str) -> int:
    return sum(name.startswith(prefix) for name in metrics)


class Load:
    """A k6 that runs."""

    def __init__(self, script: str, seconds: int, api: str, key: str, folder: Path, **variables: int) -> None:
        assert api.startswith("http://127.0.0.1:"), "load is for this machine alone"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{script}-{len(list(folder.glob(f'{script}-*.json'))) + 1}"
        self.summary_path = folder / f"{name}.json"
        self.log_path = folder / f"{name}.log"
        self.ends = time.monotonic() + seconds
        self._log = self.log_path.open("w")
        settings = {"API": api, "KEY": key, "DURATION": seconds, **variables}
        self.process = subprocess.Popen(
            [
                "k6",
                "run",
                "--quiet",
                "--no-usage-report",
                "--summary-export",
                self.summary_path,
                SCRIPTS / f"{script}.js",
            ],
            env=os.environ | {name: str(value) for name, value in settings.items()},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.seconds = seconds

    @property
    def running(self) -> bool:
        return self.process.poll() is None and time.monotonic() < self.ends

    def finish(self) -> Summary:
        """Wait for its end. 99 is k6's status for a threshold that was not kept: that is for the test to judge."""
        status = self.process.wait(timeout=self.seconds + 90)
        self._log.close()
        log = self.log_path.read_text()
        assert status in {0, 99}, f"k6 ended with status {status}:\n{log[-2000:]}"
        metrics = json.loads(self.summary_path.read_text())["metrics"]

        def count(name: str) -> int:
            return int(metrics.get(name, {}).get("count", 0))

        failed = count("failures")
        assert (status == 99) == (failed > 0), "k6's thresholds and its count of failures disagree"
        return Summary(
            requests=count("http_reqs"),
            failed=failed,
            dropped=count("dropped_iterations"),
            rate=count("iterations") / self.seconds,
            p99=metrics["http_req_duration"]["p(99)"],
            windows=tuple(count(f"served{{window:{n}}}") for n in range(metric_count(metrics, "served{window:") - 1)),
            log=log,
        )

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        self._log.close()


@contextmanager
def running_load(load: Load) -> Iterator[Load]:
    """It does not outlive a test that fails."""
    try:
        time.sleep(3)  # until it has made what it reads, and its connections
        assert load.running, load.log_path.read_text()
        yield load
    finally:
        load.stop()
