"""One campaign: runs of schemathesis with different seeds, and what the server's own log says came of them.

The server is the witness: each request it answered is a line of its log, with the route and the status. A campaign passes when schemathesis
found nothing, no answer was a 5xx, and every operation reached its success.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.fuzz.hooks import OWN_KEY_ID
from tests.gunicorn import LiveApi

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")

type Operation = tuple[str, str]
"""Method and route template."""


@dataclass
class Campaign:
    """What came of it."""

    statuses: dict[Operation, Counter[int]] = field(default_factory=dict)
    failed_runs: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Requests that some route of the description answered."""
        return sum(sum(counter.values()) for counter in self.statuses.values())

    def server_errors(self) -> dict[Operation, int]:
        """Operations that answered with a 5xx."""
        return {op: n for op, c in self.statuses.items() if (n := sum(v for s, v in c.items() if s >= 500))}

    def without_success(self) -> list[Operation]:
        """Operations that never answered with a 2xx."""
        return [op for op, c in self.statuses.items() if not any(200 <= status < 300 for status in c)]

    @property
    def strangers(self) -> float:
        """The share of answers that were 401: a campaign whose key was lost tries nothing."""
        return sum(counter[401] for counter in self.statuses.values()) / max(1, self.cases)

    def table(self) -> Iterator[str]:
        """The distribution of statuses, a line for each operation."""
        for (method, route), counter in sorted(self.statuses.items(), key=lambda pair: (pair[0][1], pair[0][0])):
            found = "  ".join(f"{status}:{count}" for status, count in sorted(counter.items()))
            yield f"{method:<7}{route:<34}{sum(counter.values()):>6}  {found}"


def run(
    api: LiveApi, *, seeds: list[int], examples: int, report: Path, phases: str = "examples,coverage,fuzzing,stateful"
) -> Campaign:
    """Run schemathesis once for each seed, with at most ``examples`` cases for each operation in each phase."""
    campaign = Campaign()
    for seed in seeds:
        # Its own configuration file and report would land in the checkout.
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(CONFIGURATION)),
            "run",
            f"{api.url}/openapi.json",
            *("--header", f"X-API-Key: {api.key}"),
            *("--checks", "all"),
            *("--phases", phases),
            *("--max-examples", str(examples)),
            *("--seed", str(seed)),
            "--continue-on-failure",
            "--no-color",
        ]
        variables = os.environ | {
            "SCHEMATHESIS_HOOKS": "tests.fuzz.hooks",
            OWN_KEY_ID: _key_id(api),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(command, cwd=report.parent, env=variables, capture_output=True, text=True, check=False)
        with report.open("a") as file:
            file.write(f"seed {seed}\n{done.stdout}\n{done.stderr}\n")
        if done.returncode != 0:
            campaign.failed_runs.append(f"seed {seed}: see {report}\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")
    _count(api, campaign)
    return campaign


def _key_id(api: LiveApi) -> str:
    with api.client() as client:
        return str(client.get("/api/v1/protected").json()["key_id"])


def _count(api: LiveApi, campaign: Campaign) -> None:
    document: dict[str, Any] = httpx2.get(f"{api.url}/openapi.json").json()
    for route, methods in document["paths"].items():
        for method in methods:
            campaign.statuses[method.upper(), route] = Counter()
    for event in api.events():
        if (
            event.get("event") == "request"
            and (counter := campaign.statuses.get((event["method"], event["route"]))) is not None
        ):
            counter[event["status"]] += 1
