"""The scoreboard across processes, and what the probes make of it."""

import os
import time
from collections.abc import Callable

import pytest

from app.core.server.health import Conditions, liveness, readiness
from app.core.server.scoreboard import SLOTS, Scoreboard, WorkerState, WorkerStatus
from app.core.status import LocalStatus, ProcessStatus

TIMEOUT = 10.0


def in_child(action: Callable[[], None]) -> int:
    """Do it in a forked process, and return that process's id."""
    pid = os.fork()
    if pid == 0:
        action()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    return pid


@pytest.fixture
def advance(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the scoreboard's clock."""
    offset = 0

    def move(seconds: float) -> None:
        nonlocal offset
        offset += int(seconds * 1_000_000_000)

    real = time.monotonic_ns
    monkeypatch.setattr(time, "monotonic_ns", lambda: real() + offset)
    return move


def verdict(conditions: Conditions) -> list[str]:
    """Names of the conditions that fail."""
    return [name for name, condition in conditions.items() if not condition.ok]


def test_a_worker_of_another_process_is_seen() -> None:
    board = Scoreboard()
    slot = board.claim()
    assert board.workers()[0][:2] == (0, WorkerState.STARTING)
    status = WorkerStatus(board, slot, workers=1)
    pid = in_child(status.ready)
    assert board.workers()[0][:2] == (pid, WorkerState.READY)
    assert 0 <= board.workers()[0].silence < 5
    pid = in_child(status.stopping)
    assert board.workers()[0][:2] == (pid, WorkerState.STOPPING)
    board.free(slot)
    assert board.workers() == []


def test_flags_are_shared_and_one_way() -> None:
    board = Scoreboard()
    status: ProcessStatus = WorkerStatus(board, board.claim(), workers=3)
    assert (status.workers, status.draining(), board.draining, board.schema_seen, board.restarts) == (
        3,
        False,
        False,
        False,
        0,
    )
    in_child(lambda: status.schema_seen(3))
    in_child(board.drain)
    in_child(board.count_restart)
    assert (status.draining(), board.draining, board.schema_seen, board.restarts) == (True, True, True, 1)


def test_slots_are_found_again_and_run_out() -> None:
    board = Scoreboard()
    assert [board.claim() for _ in range(SLOTS)] == list(range(SLOTS))
    with pytest.raises(RuntimeError, match="256 workers"):
        board.claim()
    board.free(7)
    assert board.claim() == 7
    assert len(board.workers()) == SLOTS


def test_readiness(advance: Callable[[float], None]) -> None:
    board = Scoreboard()
    first, second = (WorkerStatus(board, board.claim(), workers=2) for _ in range(2))
    assert verdict(readiness(board, TIMEOUT)) == ["schema_seen", "workers_ready"]
    first.schema_seen(1)
    assert verdict(readiness(board, TIMEOUT)) == ["workers_ready"]
    first.ready()
    assert verdict(readiness(board, TIMEOUT)) == []
    second.ready()
    assert readiness(board, TIMEOUT)["workers_ready"].value == 2
    advance(TIMEOUT / 2 + 1)
    assert verdict(readiness(board, TIMEOUT)) == ["workers_ready"]
    second.heartbeat()
    assert readiness(board, TIMEOUT)["workers_ready"] == (True, 1)
    second.stopping()
    assert verdict(readiness(board, TIMEOUT)) == ["workers_ready"]
    second.ready()
    board.drain()
    assert verdict(readiness(board, TIMEOUT)) == ["draining"]


def test_liveness(advance: Callable[[float], None]) -> None:
    board = Scoreboard()
    assert verdict(liveness(board, TIMEOUT)) == []
    hung, other = (WorkerStatus(board, board.claim(), workers=2) for _ in range(2))
    hung.ready()
    advance(2 * TIMEOUT + 1)
    board.beat_arbiter()
    assert verdict(liveness(board, TIMEOUT)) == ["workers_silent_seconds"]
    other.heartbeat()
    assert verdict(liveness(board, TIMEOUT)) == []
    advance(2 * TIMEOUT + 1)
    other.heartbeat()
    assert verdict(liveness(board, TIMEOUT)) == ["arbiter_silent_seconds"]


def test_a_process_without_a_server() -> None:
    status: ProcessStatus = LocalStatus()
    status.tick(0.0)
    status.ticks_end()
    status.ready()
    status.schema_seen(1)
    assert status.exemplars_file is None
    assert (status.workers, status.draining(), LocalStatus(stopping=True).draining()) == (1, False, True)
