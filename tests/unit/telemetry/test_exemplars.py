"""Exemplars: noted by workers, left in files, and put at the bucket that they belong to."""

from pathlib import Path

import orjson
import pytest
from prometheus_client.core import HistogramMetricFamily

from app.core.telemetry import exemplars as module
from app.core.telemetry.exemplars import Exemplars, attach, read_exemplars

TRACES = [f"{number:032x}" for number in range(1, 20)]
LABELS = (("route", "/x"), ("status", "200"))


def histogram() -> HistogramMetricFamily:
    """Two series of three buckets."""
    family = HistogramMetricFamily("h", "A histogram.", labels=["route", "status"])
    for route in ("/x", "/y"):
        family.add_metric([route, "200"], [("0.1", 1), ("1.0", 2), ("+Inf", 3)], sum_value=3)
    return family


def placed(family: HistogramMetricFamily) -> dict[tuple[str, str], str]:
    """Trace ids by route and bucket."""
    return {
        (s.labels["route"], s.labels["le"]): s.exemplar.labels["trace_id"]
        for s in family.samples
        if s.exemplar is not None
    }


@pytest.mark.parametrize(
    ("value", "le"), [(0.0, "0.1"), (0.1, "0.1"), (0.1001, "1.0"), (1.0, "1.0"), (1.001, "+Inf"), (1e9, "+Inf")]
)
async def test_it_belongs_to_the_smallest_bucket_that_holds_it(tmp_path: Path, value: float, le: str) -> None:
    exemplars = Exemplars(tmp_path / "exemplars_0.json")
    exemplars.note("h", LABELS, value, TRACES[0])
    await exemplars.flush()
    family = histogram()
    attach([family], read_exemplars(tmp_path))
    assert placed(family) == {("/x", le): TRACES[0]}


async def test_the_newest_wins_whichever_worker_had_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.time", lambda: now)
    workers = [Exemplars(tmp_path / f"exemplars_{slot}.json") for slot in range(3)]
    for now, slot, trace in [(1001.0, 0, 0), (1003.0, 1, 1), (1002.0, 2, 2)]:  # noqa: B007 - the clock reads it
        workers[slot].note("h", dict(LABELS), 0.05, TRACES[trace])
    for worker in workers:
        await worker.flush()
    family = histogram()
    attach([family], read_exemplars(tmp_path))
    assert placed(family) == {("/x", "0.1"): TRACES[1]}
    assert [(e.value, e.timestamp) for s in family.samples if (e := s.exemplar)] == [(0.05, 1003.0)]


@pytest.mark.parametrize(
    "bad", ["", "x" * 32, "A" * 32, "1" * 31, "1" * 33, "1" * 32 + "\n", '1"} 1 # {a="' + "1" * 20]
)
async def test_only_trace_ids_are_taken(tmp_path: Path, bad: str) -> None:
    exemplars = Exemplars(tmp_path / "exemplars_0.json")
    exemplars.note("h", LABELS, 1.0, bad)
    await exemplars.flush()
    assert read_exemplars(tmp_path) == []


async def test_a_file_is_written_when_there_is_something_new(tmp_path: Path) -> None:
    file = tmp_path / "exemplars_0.json"
    exemplars = Exemplars(file)
    exemplars.note("h", LABELS, 1.0, TRACES[0])
    await exemplars.flush()
    before = file.stat().st_ino
    await exemplars.flush()
    assert file.stat().st_ino == before
    exemplars.note("h", LABELS, 1.0, TRACES[1])
    await exemplars.flush()
    assert file.stat().st_ino != before
    assert [noted.trace_id for noted in read_exemplars(tmp_path)] == [TRACES[1]]


async def test_their_number_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EXEMPLARS", 3)
    exemplars = Exemplars(tmp_path / "exemplars_0.json")
    for number in range(5):
        exemplars.note("h", {"route": str(number)}, 1.0, TRACES[number])
        exemplars.note("h", {"route": str(number)}, 1.1, TRACES[number + 6])
    await exemplars.flush()
    assert len(read_exemplars(tmp_path)) == 3


async def test_without_a_file_and_with_one_that_cannot_be_written(tmp_path: Path) -> None:
    exemplars = Exemplars()
    exemplars.note("h", LABELS, 1.0, TRACES[0])
    await exemplars.flush()
    exemplars = Exemplars(tmp_path / "none" / "exemplars_0.json")
    exemplars.note("h", LABELS, 1.0, TRACES[0])
    await exemplars.flush()
    (tmp_path / "none").mkdir()
    await exemplars.flush()
    assert len(read_exemplars(tmp_path / "none")) == 1


@pytest.mark.parametrize("content", [b"", b"nonsense", b"{}", b"[1]", b'[["h", 1, 2, "3", 4]]', b'["h"]', b"\xff"])
def test_a_damaged_file_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "exemplars_0.json").write_bytes(content)
    (tmp_path / "exemplars_1.json").write_bytes(orjson.dumps([["h", {"route": "/x"}, 1.0, TRACES[0], 1.0]]))
    assert len(read_exemplars(tmp_path)) == 1


async def test_metrics_that_are_not_there_get_none(tmp_path: Path) -> None:
    exemplars = Exemplars(tmp_path / "exemplars_0.json")
    exemplars.note("gone", LABELS, 1.0, TRACES[0])
    exemplars.note("h", {"route": "/z"}, 1.0, TRACES[0])
    await exemplars.flush()
    family = histogram()
    attach([family], read_exemplars(tmp_path))
    assert placed(family) == {}
