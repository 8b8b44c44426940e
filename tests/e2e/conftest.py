"""Tests on a real cluster: `make e2e`. They share it, so they run one after another, in the order of ORDER; what they need and don't
find is a failure. Figures are kept in build/e2e/report.json, load summaries, events and logs of failed tests beside it."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.cluster import DATABASE_NAMESPACE, NAMESPACE, ROOT, replace_oldest, run, wait_until_gone
from tests.e2e.load import Load, running_load
from tests.e2e.release import Release

ARTIFACTS = ROOT / "build/e2e"
ORDER = [
    "test_image",
    "test_render",
    "test_install",
    "test_security",
    "test_network",
    "test_start",
    "test_rollouts",
    "test_eviction",
    "test_migration",
    "test_pooling",
    "test_losses",
    "test_autoscaling",
    "test_uninstall",
]
TIMEOUT = 600
_figures: dict[str, dict[str, Any]] = {}
_began = time.monotonic()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(TIMEOUT))
    items.sort(key=lambda item: ORDER.index(item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """What the cluster says about a failure, while it is still there."""
    report = yield
    if report.failed and "release" in getattr(item, "fixturenames", ()):
        folder = ARTIFACTS / item.name
        folder.mkdir(parents=True, exist_ok=True)
        for namespace in (NAMESPACE, DATABASE_NAMESPACE):
            for name, command in (
                ("objects", ("get", "all,ingress,hpa,pdb,networkpolicy", "-o", "wide")),
                ("events", ("get", "events", "--sort-by=.lastTimestamp")),
                ("pods", ("describe", "pods")),
            ):
                said = run("kubectl", "-n", namespace, *command, check=False)
                (folder / f"{namespace}-{name}.txt").write_text(said.stdout + said.stderr)
        logs = ("logs", "-l", "app.kubernetes.io/instance=gantry", "--all-containers", "--prefix", "--tail=2000")
        said = run("kubectl", "-n", NAMESPACE, *logs, "--max-log-requests=50", check=False)
        (folder / "logs.txt").write_text(said.stdout + said.stderr)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _figures:
        terminalreporter.section("figures")
        for name, figures in _figures.items():
            terminalreporter.write_line(f"{name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


@pytest.fixture(scope="session")
def release() -> Release:
    """A release that nobody has used yet."""
    began = time.monotonic()
    release = Release()
    _keep("install", seconds=round(time.monotonic() - began, 1))
    return release


@pytest.fixture(scope="session")
def capacity(release: Release) -> float:
    """Requests a second that two pods answer to twenty clients, through the ingress, while one pod after the other is replaced.

    All load is a part of this. Load, database and pods that start share the cores of one machine: less is left for requests than at rest.
    """
    release.steady()
    rates = {}
    for name, seconds, replaced in (("at_rest", 15, 0), ("while_replaced", 40, 4)):
        with running_load(Load("capacity", seconds, release.api, release.key, ARTIFACTS / "capacity", VUS=20)) as load:
            for _ in range(replaced):
                if load.running:
                    replace_oldest("api", 2)
            summary = load.finish()
        assert summary.failed == 0, summary.log
        rates[name] = round(summary.rate, 1)
    _keep("capacity", **rates)
    wait_until_gone("api")
    return rates["while_replaced"]


@pytest.fixture
def arrivals(release: Release, capacity: float, request: pytest.FixtureRequest) -> Iterator[Callable[..., Load]]:
    """Start load of a part of the capacity, for so many seconds."""
    started: list[Load] = []

    def start(seconds: int, part: float = 0.6) -> Load:
        folder = ARTIFACTS / request.node.name
        started.append(Load("arrivals", seconds, release.api, release.key, folder, RATE=max(1, int(capacity * part))))
        return started[-1]

    yield start
    for load in started:
        load.stop()


def _keep(name: str, **figures: Any) -> None:
    _figures.setdefault(name, {}).update(figures)
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    total = {"suite": {"seconds": round(time.monotonic() - _began)}}
    (ARTIFACTS / "report.json").write_text(json.dumps(_figures | total, indent=2) + "\n")


@pytest.fixture
def keep(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Write figures down, under the test's name."""

    def keep_figures(**figures: Any) -> None:
        _keep(request.node.name, **figures)

    return keep_figures
