"""The event loops of workers, seen from outside: which lag is theirs, and which is only ours."""

import time
from collections.abc import Callable

import pytest

from app.core.server.lag import LoopLag
from app.core.server.scoreboard import Scoreboard, Tick, WorkerStatus
from app.core.status import TICK_SECONDS


class Clock:
    """The monotonic clock of all processes, in the test's hands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000_000_000
        self.meanwhile: Callable[[], None] = lambda: None
        """What happens right after the next reading of the clock."""
        monkeypatch.setattr(time, "monotonic_ns", self.read)

    def read(self) -> int:
        """Nanoseconds."""
        now, meanwhile = self.now, self.meanwhile
        self.meanwhile = lambda: None
        meanwhile()
        return now

    def go(self, seconds: float) -> None:
        """Forward."""
        self.now += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Stands still, unless told."""
    return Clock(monkeypatch)


def worker(board: Scoreboard) -> WorkerStatus:
    """One whose loop ticks."""
    status = WorkerStatus(board, board.claim(), workers=1)
    status.tick(0.0)
    return status


def seen(lag: LoopLag) -> tuple[float, object]:
    """How many samples, and their sum."""
    histogram = next(iter(lag.collect()))
    values = {sample.name.rpartition("_")[2]: sample.value for sample in histogram.samples}
    return values["count"], pytest.approx(values["sum"])


def test_a_loop_on_time_has_no_lag_whenever_one_looks(clock: Clock) -> None:
    board = Scoreboard()
    one = worker(board)
    lag = LoopLag(board)
    for step in range(100):
        clock.go(0.03)
        if step % 3 == 2:
            one.tick(0.0)
        lag.sample()
    assert seen(lag) == (100, 0.0)
    assert lag.stalled() == 0


def test_a_loop_that_is_stuck_counts_while_it_is(clock: Clock) -> None:
    board = Scoreboard()
    stuck, fine = worker(board), worker(board)
    lag = LoopLag(board)
    for expected in (0.0, 0.1, 0.2, 0.3):
        clock.go(TICK_SECONDS)
        fine.tick(0.0)
        lag.sample()
        assert lag.stalled() == pytest.approx(expected)
    assert seen(lag) == (8, 0.6)
    stuck.tick(0.3)
    assert lag.stalled() == 0
    lag.sample()
    assert seen(lag) == (10, 0.9)
    clock.go(TICK_SECONDS)
    stuck.tick(0.0)
    lag.sample()
    assert seen(lag) == (12, 0.9), "it is over"


def test_our_own_lateness_is_not_a_workers(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    board = Scoreboard()
    one = worker(board)
    lag = LoopLag(board)
    for _ in range(50):  # five seconds in which nobody looks
        clock.go(TICK_SECONDS)
        one.tick(0.0)
    lag.sample()
    assert seen(lag) == (1, 0.0)

    real = board.ticks

    def ticks() -> list[Tick]:
        found = real()
        clock.read()
        return found

    def five_seconds_without_a_cpu() -> None:
        for _ in range(50):
            clock.go(TICK_SECONDS)
            one.tick(0.0)

    # Between reading the clock and reading the ticks, in whichever order that is done.
    monkeypatch.setattr(board, "ticks", ticks)
    clock.meanwhile = five_seconds_without_a_cpu
    lag.sample()
    assert seen(lag) == (2, 0.0)


def test_workers_that_do_not_tick_are_not_stuck(clock: Clock) -> None:
    board = Scoreboard()
    board.claim()  # starts
    ended, dead = worker(board), worker(board)
    ended.ticks_end()
    clock.go(10)
    lag = LoopLag(board)
    lag.sample()
    assert seen(lag) == (1, 10 - TICK_SECONDS)
    board.free(2)
    lag.sample()
    assert seen(lag) == (1, 10 - TICK_SECONDS)
    assert board.claim() == 2
    lag.sample()
    assert seen(lag) == (1, 10 - TICK_SECONDS), "the next one has not ticked"
    dead.tick(0.0)
    assert len(board.ticks()) == 1


def test_buckets_are_cumulative(clock: Clock) -> None:
    board = Scoreboard()
    lag = LoopLag(board)
    one = worker(board)
    for lateness in (0.0, 0.001, 0.0011, 0.5, 60.0):
        one.tick(lateness)
        lag.sample()
    histogram = next(iter(lag.collect()))
    buckets = {s.labels["le"]: s.value for s in histogram.samples if "le" in s.labels}
    assert (buckets["0.001"], buckets["0.0025"], buckets["0.25"], buckets["0.5"], buckets["10.0"]) == (2, 3, 3, 4, 4)
    assert buckets["+Inf"] == 5
