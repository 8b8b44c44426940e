"""The page of metrics, made in the background."""

import asyncio
import re
import time
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from app.core.background import running, ticking
from app.core.server import snapshot as module
from app.core.server.snapshot import OPENMETRICS, Format, Snapshot


class Source:
    """A collector that counts, and takes its time."""

    def __init__(self) -> None:
        self.collected = 0
        self.seconds = 0.0
        self.broken = False

    def collect(self) -> Iterator[Metric]:
        """One metric."""
        time.sleep(self.seconds)
        if self.broken:
            raise RuntimeError("a defect")
        self.collected += 1
        yield GaugeMetricFamily("collected", "Collections.", self.collected)


def value(page: bytes | None, name: str) -> float:
    """Of a sample on the page."""
    assert page is not None
    found = re.search(rf"^{name} (.+)$", page.decode(), re.MULTILINE)
    assert found
    return float(found[1])


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    """With quick times."""
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.1)
    monkeypatch.setattr(module, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(module, "FRESH_SECONDS", 0.2)
    monkeypatch.setattr(module, "FIRST_SECONDS", 1.0)
    return Source()


@pytest.fixture
async def snapshot(source: Source) -> AsyncIterator[Snapshot]:
    """Ends with the test."""
    snapshot = Snapshot(source)
    yield snapshot
    if snapshot._task is not None:
        snapshot._task.cancel()
        await asyncio.wait([snapshot._task])


async def idle(snapshot: Snapshot) -> None:
    """Wait until it has given up."""
    assert snapshot._task is not None
    await asyncio.wait([snapshot._task])


async def test_nothing_is_collected_before_somebody_scrapes_or_after(snapshot: Snapshot, source: Source) -> None:
    await asyncio.sleep(0.15)
    assert source.collected == 0
    assert value(await snapshot.page(Format()), "collected") == 1
    await idle(snapshot)
    collected = source.collected
    assert 2 <= collected <= 7
    await asyncio.sleep(0.3)
    assert source.collected == collected
    first, second = await asyncio.gather(snapshot.page(Format()), snapshot.page(Format()))
    assert value(first, "collected") == value(second, "collected") == collected + 1, "not the old one"
    assert value(first, "gantry_metrics_snapshot_age_seconds") < 0.2


async def test_a_scrape_does_not_wait_for_the_next_snapshot(snapshot: Snapshot, source: Source) -> None:
    await snapshot.page(Format())
    source.seconds = 0.8
    ages: list[float] = []
    lateness: list[float] = []
    async with running(ticking(0.03, lateness.append)):
        for _ in range(70):
            started = time.perf_counter()
            page = await snapshot.page(Format())
            assert time.perf_counter() - started < 0.4
            ages.append(value(page, "gantry_metrics_snapshot_age_seconds"))
            await asyncio.sleep(0.03)
    assert sorted(ages) != ages, "it grows, and begins anew with each snapshot"
    assert 0.8 < max(ages) < 5
    assert value(page, "gantry_metrics_render_seconds") >= 0.8
    assert max(lateness) < 0.4, "nor does anything else that the process does, such as answering probes"


async def test_one_that_is_slow_gives_an_old_page_or_none(snapshot: Snapshot, source: Source) -> None:
    await snapshot.page(Format())
    await idle(snapshot)
    source.seconds, collected = 0.4, source.collected
    page = await snapshot.page(Format())
    assert value(page, "collected") == collected
    assert value(page, "gantry_metrics_snapshot_age_seconds") > 0.2
    source.seconds = 1.2
    await idle(snapshot)
    assert await snapshot.page(Format(OPENMETRICS)) is None


async def test_one_that_fails_is_tried_again(snapshot: Snapshot, source: Source) -> None:
    source.broken = True
    waiting = asyncio.ensure_future(snapshot.page(Format()))
    await asyncio.sleep(0.2)
    source.broken = False
    assert value(await waiting, "collected") == 1


async def test_the_period_follows_the_cost(snapshot: Snapshot, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PERIOD_SECONDS", 0.0)
    monkeypatch.setattr(module, "SHARE", 20)

    def work() -> Iterator[Metric]:
        end = time.thread_time() + 0.02
        while time.thread_time() < end:
            pass
        source.collected += 1
        yield GaugeMetricFamily("collected", "Collections.", source.collected)

    monkeypatch.setattr(source, "collect", work)
    for _ in range(10):
        await snapshot.page(Format())
        await asyncio.sleep(0.1)
    assert 1 <= source.collected <= 4  # each at least 0.42 seconds after the last


async def test_formats_are_made_when_they_are_asked_for(snapshot: Snapshot, source: Source) -> None:
    formats = [Format(), Format(OPENMETRICS), Format(gzip=True), Format(OPENMETRICS, gzip=True)]
    for wanted in formats:
        page = await snapshot.page(wanted)
        assert page is not None
        if wanted.gzip:
            stream = zlib.decompressobj(wbits=31)
            page = stream.decompress(page)
            assert stream.eof
            assert stream.unused_data == b"", "some clients read one stream only"
        assert page.endswith(b"# EOF\n") is (wanted.accept == OPENMETRICS)
        assert page.count(b"# EOF") == page.endswith(b"# EOF\n")
        assert value(page, "gantry_metrics_series") == 4
    assert set(snapshot._pages) == set(formats)
