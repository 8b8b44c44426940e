"""Tests on a real cluster: `make e2e`. They share it, so they run one after another, in the order of ORDER; what they need and don't
find is a failure. Figures are kept in build/e2e/report.json, load summaries, events and logs of failed tests beside it."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import pytest

from tests.e2e.cluster import (
    DATABASE_NAMESPACE,
    NAMESPACE,
    OBSERVABILITY_NAMESPACE,
    ROOT,
    replace_oldest,
    run,
    wait_until_gone,
)
from tests.e2e.load import Capacity, Load, running_load
from tests.e2e.release import Release

ARTIFACTS = ROOT / "build/e2e"
ORDER = [
    "test_image",
    "test_render",
    "test_install",
    "test_security",
    "test_network",
    "test_signals",
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
        for namespace in (NAMESPACE, DATABASE_NAMESPACE, OBSERVABILITY_NAMESPACE):
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


WINDOW_SECONDS = 10


@pytest.fixture(scope="session")
def capacity(release: Release) -> Capacity:
    """Measured once; all load is a part of it."""
    release.steady()
    (image,) = release.tagged_images(1)

    def closed_loop(seconds: int) -> Load:
        folder = ARTIFACTS / "capacity"
        return Load("capacity", seconds, release.api, release.key, folder, VUS=20, WINDOW=WINDOW_SECONDS)

    with running_load(closed_loop(15)) as load:
        at_rest = load.finish()
    with running_load(closed_loop(100)) as load:
        release.upgrade(release.steady_values, image=image)
        while load.running:
            replace_oldest("api", 2)
        replaced = load.finish()
    for summary in (at_rest, replaced):
        assert summary.failed == 0, summary.log
    measured = Capacity(round(at_rest.rate, 1), min(replaced.windows) / WINDOW_SECONDS)
    _keep("capacity", **asdict(measured), while_replaced=round(replaced.rate, 1), windows=replaced.windows)
    wait_until_gone("api")
    return measured


@pytest.fixture
def arrivals(release: Release, capacity: Capacity, request: pytest.FixtureRequest) -> Iterator[Callable[..., Load]]:
    """Start load for so many seconds: a part of the capacity in the worst moment, or of that ``at_rest`` where no pod is to be replaced."""
    started: list[Load] = []

    def start(seconds: int, part: float = 0.6, *, at_rest: bool = False) -> Load:
        folder = ARTIFACTS / request.node.name
        rate = max(1, int((capacity.at_rest if at_rest else capacity.in_the_worst_moment) * part))
        started.append(Load("arrivals", seconds, release.api, release.key, folder, RATE=rate))
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
