"""Collections of garbage are counted, wherever they begin."""

import gc

from prometheus_client import CollectorRegistry

from app.core.telemetry.garbage import GarbageWatch


def test_collections_are_counted_by_generation() -> None:
    registry = CollectorRegistry()
    watch = GarbageWatch(registry)
    gc.collect()
    with watch.watching():
        before = registry.get_sample_value("gantry_gc_pauses_total", {"generation": "2"})
        gc.collect()
        gc.collect()
        assert registry.get_sample_value("gantry_gc_pauses_total", {"generation": "2"}) == before == 0, "not flushed"
        watch.flush()
        assert registry.get_sample_value("gantry_gc_pauses_total", {"generation": "2"}) == 2
        seconds = registry.get_sample_value("gantry_gc_pause_seconds_total", {"generation": "2"})
        assert seconds is not None
        assert 0 < seconds < 10
        gc.collect(0)
    assert registry.get_sample_value("gantry_gc_pauses_total", {"generation": "0"}) == 1
    gc.collect()
    watch.flush()
    assert registry.get_sample_value("gantry_gc_pauses_total", {"generation": "2"}) == 2, "it is over"
    assert watch._collected not in gc.callbacks


def test_one_that_begins_inside_a_counter_locks_nothing() -> None:
    registry = CollectorRegistry()
    watch = GarbageWatch(registry)
    counter = watch._counters[2][0]
    with watch.watching(), counter._value._lock:
        gc.collect()  # would never end if the callback counted
    assert registry.get_sample_value("gantry_gc_pauses_total", {"generation": "2"}) == 1
