"""Exemplars: for each bucket of a histogram the trace of a request that fell into it, so that a slow one can be looked at.

``prometheus_client`` has none when several processes count. So each worker keeps its last ones and leaves them in a file beside its
metrics, and who shows the metrics puts them where they belong.
"""

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import orjson
import structlog
from prometheus_client import Metric
from prometheus_client.samples import Exemplar

from app.core.telemetry import catalogue

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.metrics")

MAX_EXEMPLARS: Final = 2_000
"""Kept by a worker; beyond, the one that was there first goes."""

TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")

type Labels = tuple[tuple[str, str], ...] | Mapping[str, str]

BUCKETS: Final = {
    spec.name: spec.buckets
    for spec in vars(catalogue).values()
    if isinstance(spec, catalogue.Spec) and spec.kind == "histogram"
}


class _Noted(NamedTuple):
    metric: str
    labels: dict[str, str]
    value: float
    trace_id: str
    at: float
    """Unix time."""


class Exemplars:
    """One worker's. Without a file they are kept, and nobody is told."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._last: dict[tuple[str, Labels, int], tuple[float, str, float]] = {}
        self._changed = False
        self._failed = False

    def note(self, metric_name: str, labels: Labels, value: float, trace_id: str) -> None:
        """Remember a measurement as its bucket's exemplar. A trace id that is not 32 hex digits in lower case is left out."""
        if not TRACE_ID.fullmatch(trace_id):
            return
        if isinstance(labels, Mapping):
            labels = tuple(labels.items())
        key = (metric_name, labels, bisect_left(BUCKETS.get(metric_name, catalogue.SECONDS), value))
        if key not in self._last and len(self._last) >= MAX_EXEMPLARS:
            del self._last[next(iter(self._last))]
        self._last[key] = (value, trace_id, time.time())
        self._changed = True

    async def flush(self) -> None:
        """Write what there is, if something changed; to be called about every second. The event loop does not wait for the disk."""
        if self._file is None or not self._changed:
            return
        self._changed = False
        noted = [(name, dict(labels), *rest) for (name, labels, _), rest in self._last.items()]
        try:
            await asyncio.to_thread(_write, self._file, noted)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("exemplars_not_written", error=type(error).__name__)
            self._changed = self._failed = True


def _write(file: Path, noted: Sequence[object]) -> None:
    part = file.with_suffix(".part")
    part.write_bytes(orjson.dumps(noted))
    part.replace(file)


def read_exemplars(folder: Path) -> list[_Noted]:
    """What all workers left, the newest last. A file that can't be read is left out."""
    return sorted(
        (noted for file in folder.glob("exemplars_*.json") for noted in _read(file)), key=lambda noted: noted.at
    )


def _read(file: Path) -> Iterator[_Noted]:
    try:
        for metric, labels, value, trace_id, at in orjson.loads(file.read_bytes()):
            if TRACE_ID.fullmatch(trace_id):
                yield _Noted(metric, dict(labels), float(value), trace_id, float(at))
    except (OSError, ValueError, TypeError) as error:
        log.debug("exemplars_unreadable", file=file.name, error=type(error).__name__)


def attach(metrics: Iterable[Metric], exemplars: list[_Noted]) -> None:
    """Put each at the bucket with the smallest ``le`` that is not below its value. Of several for one bucket the last counts."""
    wanted: dict[str, dict[frozenset[tuple[str, str]], list[_Noted]]] = {}
    for noted in exemplars:
        wanted.setdefault(noted.metric, {}).setdefault(frozenset(noted.labels.items()), []).append(noted)
    for metric in metrics:
        series = wanted.get(metric.name)
        if series is None or metric.type != "histogram":
            continue
        buckets: dict[frozenset[tuple[str, str]], list[tuple[float, int]]] = {}
        for index, sample in enumerate(metric.samples):
            if "le" in sample.labels and sample.name == f"{metric.name}_bucket":
                rest = frozenset(item for item in sample.labels.items() if item[0] != "le")
                if rest in series:
                    buckets.setdefault(rest, []).append((float(sample.labels["le"]), index))
        for rest, ends in buckets.items():
            ends.sort()
            for noted in series[rest]:
                index = ends[min(bisect_left(ends, (noted.value, -1)), len(ends) - 1)][1]
                exemplar = Exemplar({"trace_id": noted.trace_id}, noted.value, noted.at)
                metric.samples[index] = metric.samples[index]._replace(exemplar=exemplar)
