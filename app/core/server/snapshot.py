"""The page of metrics, made in the background: a scrape gets the last one at once, however many series there are.

Writing ten thousand series takes a fifth of a second of Python. It is done by a thread while somebody scrapes, no more often than a
twentieth of a core allows, and not at all when nobody does.
"""

import asyncio
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import Final, NamedTuple

import structlog
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder, gzip_accepted
from prometheus_client.registry import Collector

from app.core.telemetry.catalogue import RENDER_SECONDS, SERIES, SNAPSHOT_AGE

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.admin")

PERIOD_SECONDS: Final = 1.0
"""At least so long from the end of one snapshot to the next."""

SHARE: Final = 20
"""And at least so many times the CPU time that it took."""

IDLE_SECONDS: Final = 60.0
"""How long after the last scrape snapshots are made."""

FRESH_SECONDS: Final = 2.0
"""How long the first scrape after that waits for a fresh one, before it gets an old one."""

FIRST_SECONDS: Final = 9.0
"""How long it waits when there is none at all: Prometheus itself waits for 10."""

TEXT: Final = ""
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0"
END: Final = b"# EOF\n"
"""Ends a page of OpenMetrics."""

_GZIP: Final = 31
"""``wbits`` of zlib for gzip's format."""


class Format(NamedTuple):
    """How a page is written."""

    accept: str = TEXT
    """As ``choose_encoder`` takes it: ``TEXT`` or ``OPENMETRICS``."""
    gzip: bool = False

    @property
    def content_type(self) -> str:
        """The media type."""
        return choose_encoder(self.accept)[1]


def negotiate(accept: str, accept_encoding: str) -> Format:
    """The format for a request's headers: OpenMetrics 1.0 where it is asked for, else the text format 0.0.4."""
    try:
        wanted = choose_encoder(accept)[1].startswith("application/openmetrics-text")
    except TypeError:  # a version that is no number
        wanted = False
    return Format(OPENMETRICS if wanted else TEXT, gzip_accepted(accept_encoding))


class Families:
    """Metrics that were collected, for an encoder."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self.metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Them."""
        return self.metrics


class Page:
    """Everything but what is only known when it is sent."""

    def __init__(self, wanted: Format, text: bytes, collected: float, series: int) -> None:
        self.collected = collected
        """When, by the monotonic clock."""
        self.render_seconds = 0.0
        self._format = wanted
        self._series = series
        self._start, self._compressor = text, None
        if wanted.gzip:
            self._compressor = zlib.compressobj(1, wbits=_GZIP)
            self._start = self._compressor.compress(text) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finished(self) -> bytes:
        """The whole page, with its age."""
        values = {
            SNAPSHOT_AGE: time.monotonic() - self.collected,
            RENDER_SECONDS: self.render_seconds,
            SERIES: self._series + 3,
        }
        families = Families(GaugeMetricFamily(spec.name, spec.meaning, value) for spec, value in values.items())
        rest = choose_encoder(self._format.accept)[0](families)
        if self._compressor is not None:
            compressor = self._compressor.copy()  # goes on in the same stream, each time from the same place
            rest = compressor.compress(rest) + compressor.flush()
        return self._start + rest


class Snapshot:
    """The last pages, one for each format that was asked for lately. Belongs to one event loop."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._pages: dict[Format, Page] = {}
        self._asked: dict[Format, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._since = 0.0
        self._hurry = asyncio.Event()
        self._turn = asyncio.Event()

    async def page(self, wanted: Format) -> bytes | None:
        """The page. Waits only when nobody has scraped in this format for a minute; ``None`` when there was none in time."""
        now = self._asked[wanted] = time.monotonic()
        if self._task is None or self._task.done():
            self._since = now
            self._task = asyncio.create_task(self._refresh())
        page = self._pages.get(wanted)
        if page is None or page.collected < self._since:
            self._hurry.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(FIRST_SECONDS if page is None else FRESH_SECONDS):
                    while (newer := self._pages.get(wanted)) is None or newer.collected < self._since:
                        await self._turn.wait()
            page = self._pages.get(wanted, page)
        return None if page is None else page.finished()

    async def _refresh(self) -> None:
        while wanted := [f for f, asked in self._asked.items() if time.monotonic() - asked < IDLE_SECONDS]:
            self._hurry.clear()
            cost = 0.0
            try:
                self._pages, cost = await asyncio.to_thread(self._make, wanted)
            except Exception:
                log.exception("metrics_snapshot_failed")
            turn, self._turn = self._turn, asyncio.Event()
            turn.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), max(PERIOD_SECONDS, SHARE * cost))

    def _make(self, wanted: list[Format]) -> tuple[dict[Format, Page], float]:
        """The pages, and the seconds of CPU time that they took."""
        began, cpu = time.monotonic(), time.thread_time()
        families = Families(self._collector.collect())
        series = sum(len(metric.samples) for metric in families.metrics)
        texts = {f.accept: choose_encoder(f.accept)[0](families).removesuffix(END) for f in wanted}
        pages = {f: Page(f, texts[f.accept], began, series) for f in wanted}
        for page in pages.values():
            page.render_seconds = time.monotonic() - began
        return pages, time.thread_time() - cpu
