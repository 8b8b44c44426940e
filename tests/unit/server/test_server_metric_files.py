"""The files that workers count in: added up, continued by the next worker of the slot, and damaged."""

import random
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary, values
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from app.core.server.metric_files import ASIDE, Damaged, MetricFiles, leave_slot, read_values, take_slot


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where this process' metrics are, once it has a slot."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    yield tmp_path
    values.close_all_multiprocess_files()  # type: ignore[no-untyped-call]


class Worker:
    """Counts in a slot."""

    def __init__(self, folder: Path, slot: int) -> None:
        take_slot(folder, slot)
        registry = CollectorRegistry()
        self.counter = Counter("c", "A counter.", ["a", "b"], registry=registry)
        self.histogram = Histogram("h", "A histogram.", ["route"], registry=registry, buckets=(0.1, 1, 10))
        self.bare = Histogram("bare", "Without labels.", registry=registry)
        self.summary = Summary("s", "A summary.", ["x"], registry=registry)
        self.live = Gauge("live", "Live.", registry=registry, multiprocess_mode="livesum")
        self.each = Gauge("each", "Each.", registry=registry, multiprocess_mode="liveall")

    def work(self, chance: random.Random) -> None:
        """Count something."""
        self.counter.labels(chance.choice("xyz"), "1").inc(chance.randrange(5))
        self.histogram.labels(chance.choice("xyz")).observe(chance.random() * 20)
        self.bare.observe(chance.random())
        self.summary.labels("1").observe(chance.random())
        self.live.inc()
        self.each.set(chance.random())


def samples(metrics: Iterable[Metric]) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """All values."""
    return {(s.name, frozenset(s.labels.items())): s.value for metric in metrics for s in metric.samples}


def test_they_are_added_up_as_prometheus_client_does(folder: Path) -> None:
    chance = random.Random(1)
    ours = MetricFiles(folder)
    workers = [Worker(folder, slot) for slot in (0, 1, 11)]
    for _ in range(50):
        for worker in workers:
            worker.work(chance)
        theirs = list(MultiProcessCollector(None, path=str(folder)).collect())  # type: ignore[no-untyped-call]
        metrics, complete = ours.collect()
        assert complete
        assert samples(metrics) == pytest.approx(samples(theirs))
        described = {(m.name, m.type, m.documentation) for m in metrics}
        assert described == {(m.name, m.type, m.documentation) for m in theirs}


def test_a_successor_goes_on_and_gauges_go(folder: Path) -> None:
    chance = random.Random(1)
    for generation in range(1, 6):
        worker = Worker(folder, 3)
        assert samples(MetricFiles(folder).collect()[0]).get(("live", frozenset())) == 0
        worker.bare.observe(1)
        worker.work(chance)
        found = samples(MetricFiles(folder).collect()[0])
        assert found["bare_count", frozenset()] == 2 * generation
        assert found["live", frozenset()] == 1
        leave_slot(folder, 3)
        found = samples(MetricFiles(folder).collect()[0])
        assert found["bare_count", frozenset()] == 2 * generation
        assert not [name for name, _ in found if name in ("live", "each")]
    assert len(list(folder.iterdir())) == 3


def test_gauges_whose_worker_was_not_missed_go_with_the_next(folder: Path) -> None:
    Worker(folder, 3).live.inc()
    Worker(folder, 13).live.inc()
    take_slot(folder, 3)
    assert samples(MetricFiles(folder).collect()[0])["live", frozenset()] == 1


ENTRY = struct.pack("i4sdd", 4, b"[1] ", 1.0, 0.0)
DAMAGES = {
    "nonsense": b"\x7f" * 4096,
    "text": b"hello\n",
    "length beyond the end": struct.pack("i", 1 << 20) + bytes(4092),
    "negative length": struct.pack("i", -1) + bytes(4092),
    "an entry that goes backwards": struct.pack("iii", 64, 0, -40) + bytes(4084),
    "an entry beyond the end": struct.pack("iii", 64, 0, 400) + bytes(4084),
    "a key that is no JSON": struct.pack("ii", 40, 0) + struct.pack("i4s", 5, b"hell") + b"o" + b" " * 7 + bytes(4000),
    "a key of something else": struct.pack("ii", 8 + len(ENTRY), 0) + ENTRY + bytes(4000),
    "used, and nothing in it": struct.pack("i", 0) + b"\1" * 4092,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_stops_nobody(folder: Path, damage: str) -> None:
    Worker(folder, 1).bare.observe(1)
    file = folder / "histogram_0.db"
    file.write_bytes(DAMAGES[damage])
    found, complete = MetricFiles(folder).collect()
    assert samples(found)["bare_count", frozenset()] == 1
    assert not complete
    Worker(folder, 0).bare.observe(1)
    found, complete = MetricFiles(folder).collect()
    assert samples(found)["bare_count", frozenset()] == 2
    assert not complete, "something was lost, and that stays so"
    assert file.with_name(file.name + ASIDE).read_bytes() == DAMAGES[damage]


def test_every_moment_at_which_a_worker_can_be_killed_leaves_a_good_file(folder: Path, tmp_path: Path) -> None:
    """What a kill leaves is what was stored so far: the file without a size, without a length, with an entry that does not count yet."""
    whole = folder / "counter_0.db"
    entries = MmapedDict(str(whole))  # type: ignore[no-untyped-call]
    keys = [f'["c", "c_total", {{"a": "{number}"}}, "C."]' for number in range(3)]
    for key in keys:
        entries.write_value(key, 1.0, 0.0)  # type: ignore[no-untyped-call]
    entries.close()  # type: ignore[no-untyped-call]
    data = whole.read_bytes()
    ends = [8 + number * (used := (struct.unpack_from("i", data)[0] - 8) // 3) for number in range(4)]
    assert ends[-1] == 8 + 3 * used
    states = [b"", bytes(65536), struct.pack("i", 8) + bytes(65532)]
    states += [struct.pack("i", end) + data[4:cut] + bytes(65536 - cut) for end in ends for cut in range(end, ends[-1])]
    for state in states:
        whole.write_bytes(state)
        counted = len(list(read_values(whole)))
        assert counted <= 3
        successor = MmapedDict(str(whole))  # type: ignore[no-untyped-call]
        for key in keys:
            successor.write_value(key, 5.0, 0.0)  # type: ignore[no-untyped-call]
        successor.close()  # type: ignore[no-untyped-call]
        assert [value for _, value in read_values(whole)] == [5.0] * 3


def test_a_series_that_is_only_half_made_is_left_out(folder: Path) -> None:
    worker = Worker(folder, 0)
    worker.histogram.labels("whole").observe(1)
    half = MmapedDict(str(folder / "histogram_1.db"))  # type: ignore[no-untyped-call]
    half.write_value('["h", "h_sum", {"route": "half"}, "A histogram."]', 0.0, 0.0)  # type: ignore[no-untyped-call]
    half.write_value('["h", "h_bucket", {"le": "0.1", "route": "half"}, "A histogram."]', 0.0, 0.0)  # type: ignore[no-untyped-call]
    half.close()  # type: ignore[no-untyped-call]
    found, complete = MetricFiles(folder).collect()
    assert complete
    assert {dict(labels).get("route") for name, labels in samples(found) if name.startswith("h_")} == {"whole"}


def test_a_folder_that_is_gone(folder: Path) -> None:
    assert MetricFiles(folder / "none").collect() == ([], False)
    with pytest.raises(Damaged):
        list(read_values(folder))
    assert list(read_values(folder / "none")) == []
