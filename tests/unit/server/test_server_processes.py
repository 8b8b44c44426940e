"""What processes use: counters that never go back, whoever dies."""

import os
from pathlib import Path

import pytest

from app.core.server import processes
from app.core.server.processes import Processes, Usage, usage
from app.core.server.scoreboard import ADMIN_ACCOUNT, SLOTS, Scoreboard, WorkerStatus

SECOND = 1_000_000_000


def shown(source: Processes) -> dict[tuple[str, str], float]:
    """All values, by metric and process."""
    return {(s.name, s.labels.get("process", "")): s.value for metric in source.collect() for s in metric.samples}


def test_what_this_process_uses() -> None:
    used = usage(os.getpid())
    assert used is not None
    assert used.cpu > 0
    assert used.threads >= 1
    assert used.memory > 10_000_000
    assert used.started > 0


def test_accounts_only_grow() -> None:
    board = Scoreboard()
    totals = []
    for pid, seconds in [(10, 1), (10, 3), (10, 3), (11, 1), (11, 2), (11, 1), (12, 5)]:
        board.account(4, pid, seconds * SECOND)
        totals.append(board.accounted(4))
    assert totals == [1, 3, 3, 4, 5, 6, 11]
    assert board.accounted(*range(SLOTS)) == 11
    assert board.accounted(ADMIN_ACCOUNT) == 0


def test_workers_and_admin_processes_that_are_gone_stay_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[int, int] = {}
    monkeypatch.setattr(processes, "usage", lambda pid: Usage(used[pid], 1, 1.0, 1000) if pid in used else None)
    admin = 500
    monkeypatch.setattr(os, "getpid", lambda: admin)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    board = Scoreboard()
    used.update({1: SECOND, 500: SECOND})

    def add_worker(slot: int, pid: int) -> None:
        assert board.claim() == slot
        monkeypatch.setattr(os, "getpid", lambda: pid)
        WorkerStatus(board, slot, workers=2).heartbeat()
        monkeypatch.setattr(os, "getpid", lambda: admin)
        used[pid] = 2 * SECOND

    add_worker(0, 100)
    add_worker(1, 101)
    source = Processes(board)
    source.sample()
    name = "gantry_process_cpu_seconds_total"
    assert [shown(source)[name, role] for role in ("arbiter", "worker", "admin")] == [1, 4, 1]
    assert shown(source)["gantry_process_resident_memory_bytes", "worker"] == 2000
    del used[100]
    board.free(0)
    source.sample()
    assert shown(source)[name, "worker"] == 4
    assert shown(source)["gantry_process_threads", "worker"] == 1
    del used[500]  # the admin process dies, and a worker while it is away
    board.free(1)
    del used[101]
    add_worker(0, 102)
    admin = 501
    used[501] = 0
    source = Processes(board)
    source.sample()
    assert (shown(source)[name, "worker"], shown(source)[name, "admin"]) == (6, 1)
    used[102] += SECOND
    used[501] += SECOND
    source.sample()
    assert (shown(source)[name, "worker"], shown(source)[name, "admin"]) == (7, 2)


def test_without_proc_there_is_nothing_and_nothing_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(processes, "PROC", tmp_path)
    source = Processes(Scoreboard())
    source.sample()
    assert shown(source) == {}
    (tmp_path / str(os.getppid())).mkdir()
    (tmp_path / str(os.getppid()) / "stat").write_text("nonsense")
    assert shown(source) == {}
