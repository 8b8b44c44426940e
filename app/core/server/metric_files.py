"""What workers counted, from the files they count in: one set of files for each slot of the scoreboard, continued by who comes next in it.

``prometheus_client`` names files by process id, so that each restart leaves some more to be read by every scrape. By slot their number is
bounded, a successor goes on where its predecessor ended, and no counter ever goes back. A worker that is killed leaves no torn
file: an entry counts once the file's length says so, in one aligned store, and so do values. A disk may still damage one.
"""

import json
import math
import struct
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from prometheus_client import Metric, values
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.samples import Sample
from prometheus_client.values import MultiProcessValue

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.metrics")

ASIDE: Final = ".damaged"
"""Added to the name of a file that can't be read, when its slot gets a new worker."""

_INTEGER: Final = struct.Struct("i")
_DOUBLE: Final = struct.Struct("d")


class Damaged(Exception):
    """A file that is none of ``prometheus_client``'s, or not any more."""


class Key(NamedTuple):
    """One entry of a file: a sample of one process."""

    metric: str
    name: str
    labels: dict[str, str]
    meaning: str
    series: tuple[tuple[str, str], ...]
    """The labels without a bucket's."""
    le: float | None
    """A bucket's upper end."""


def take_slot(folder: Path, slot: int) -> None:
    """Let metrics that are made in this process from now on live in the slot's files.

    For a worker, after the fork. Gauges that a dead worker of the slot left are removed, and damaged files set aside. Raises ``OSError``
    when the folder can't be written to.
    """
    leave_slot(folder, slot)
    for file in folder.glob(f"*_{slot}.db"):
        try:
            for raw, _ in read_values(file):
                parse_key(raw)
        except Damaged as error:
            file.replace(file.with_name(file.name + ASIDE))
            log.warning("worker_metrics_damaged", file=file.name, reason=str(error), done="counting from 0 again")
    values.ValueClass = MultiProcessValue(process_identifier=lambda: slot)  # type: ignore[no-untyped-call]


def leave_slot(folder: Path, slot: int) -> None:
    """Remove the gauges of a worker that is gone: what it had in hand is nobody's now. What it counted stays."""
    mark_process_dead(slot, str(folder))  # type: ignore[no-untyped-call]


def read_values(file: Path) -> Iterator[tuple[bytes, float]]:
    """The entries of a file: key and value. Raises ``Damaged``. ``prometheus_client``'s reader trusts lengths, and may never end."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise Damaged(type(error).__name__) from error
    used = _INTEGER.unpack_from(data)[0] if len(data) >= _INTEGER.size else 0
    if used == 0 and not any(data):
        return  # just being made
    if not 8 <= used <= len(data):
        raise Damaged("its length is impossible")
    position = 8
    while position < used:
        length = _INTEGER.unpack_from(data, position)[0] if position + 4 <= used else -1
        start = position + 4
        position = start + length + 8 - (length + 4) % 8
        if length <= 0 or position + 16 > used:
            raise Damaged("an entry reaches beyond the end")
        yield data[start : start + length], _DOUBLE.unpack_from(data, position)[0]
        position += 16


def parse_key(raw: bytes) -> Key:
    """What an entry's key says. Raises ``Damaged``."""
    try:
        metric, name, labels, meaning = json.loads(raw)
        le = labels.get("le")
        series = tuple(sorted(item for item in labels.items() if item[0] != "le"))
        return Key(metric, name, labels, meaning, series, None if le is None else float(le))
    except (ValueError, TypeError, AttributeError) as error:
        raise Damaged("a key can't be read") from error


class MetricFiles:
    """Adds up the files of a folder.

    Counters and histograms by ourselves: it takes a fifth of the time of ``MultiProcessCollector``, which parses every key of every
    file each time. Gauges are few and have many ways to be added up: they are left to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[bytes, Key] = {}
        self._said: set[str] = set()

    def collect(self) -> tuple[list[Metric], bool]:
        """The metrics of all workers, and whether that is all: what can't be read is left out, and logged once."""
        totals: dict[str, dict[bytes, float]] = {}
        gauges: list[str] = []
        complete = self._folder.is_dir() and not any(self._folder.glob(f"*{ASIDE}"))
        for file in sorted(self._folder.glob("*.db")):
            try:
                entries = list(read_values(file))
                self._keys |= {raw: parse_key(raw) for raw, _ in entries if raw not in self._keys}
            except Damaged as error:
                complete = False
                if file.name not in self._said:
                    self._said.add(file.name)
                    log.warning("worker_metrics_unreadable", file=file.name, reason=str(error))
                continue
            kind = file.name.partition("_")[0]
            if kind == "gauge":
                gauges.append(str(file))
                continue
            total = totals.setdefault(kind, {})
            for raw, value in entries:
                total[raw] = total.get(raw, 0.0) + value
        metrics = [metric for kind, total in totals.items() for metric in self._add_up(kind, total)]
        metrics += MultiProcessCollector.merge(gauges)  # type: ignore[no-untyped-call]
        return metrics, complete

    def _add_up(self, kind: str, total: dict[bytes, float]) -> Iterator[Metric]:
        found: dict[str, dict[tuple[tuple[str, str], ...], list[tuple[Key, float]]]] = {}
        meanings: dict[str, str] = {}
        for raw, value in total.items():
            key = self._keys[raw]
            meanings[key.metric] = key.meaning
            found.setdefault(key.metric, {}).setdefault(key.series, []).append((key, value))
        for name, series in found.items():
            metric = Metric(name, meanings[name], kind)
            for entries in series.values():
                metric.samples += _histogram(entries) if kind == "histogram" else _plain(entries)
            yield metric


def _plain(entries: list[tuple[Key, float]]) -> list[Sample]:
    return [Sample(key.name, key.labels, value) for key, value in entries]


def _histogram(entries: list[tuple[Key, float]]) -> list[Sample]:
    """Buckets are cumulative in the exposition, and each by itself in the files."""
    buckets = sorted(((key.le, key, value) for key, value in entries if key.le is not None), key=itemgetter(0))
    if not buckets or buckets[-1][0] != math.inf:
        return []  # its worker was killed while it made this series
    samples, reached = [], 0.0
    for _, key, value in buckets:
        reached += value
        samples.append(Sample(key.name, key.labels, reached))
    key = buckets[-1][1]
    samples.append(Sample(key.metric + "_count", dict(key.series), reached))
    return samples + _plain([entry for entry in entries if entry[0].le is None])
