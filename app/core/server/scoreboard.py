"""What the processes of one server know of each other: a page of memory that they share.

It is mapped before the fork and holds whole numbers only: no lock, no thread, no descriptor. Every number has one writer at a time (the
arbiter claims and frees a slot, its worker writes in between, the admin process keeps the accounts of CPU time), and an aligned 64-bit
store is not torn on the platforms we run on, so readers need no lock either. Times are CLOCK_MONOTONIC, which all processes of a
machine share.
"""

import mmap
import os
import time
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

SLOTS = 256
"""More than twice the most workers that settings allow: a reload has the old and the new ones at once."""

_DRAINING, _SCHEMA_REVISION, _RESTARTS, _ARBITER, _HEADER = range(5)
_STATE, _PID, _BEAT, _TICK, _LATENESS, _FIELDS = range(6)
_ACCOUNT_PID, _ACCOUNT_SEEN, _ACCOUNT_TOTAL, _ACCOUNT_FIELDS = range(4)
_ACCOUNTS = _HEADER + SLOTS * _FIELDS
_NANOSECONDS = 1_000_000_000

ADMIN_ACCOUNT = SLOTS
"""The account of the admin process; the others are those of the slots."""


class WorkerState(IntEnum):
    """Where a worker is in its life."""

    FREE = 0
    STARTING = 1
    READY = 2
    STOPPING = 3


class WorkerEntry(NamedTuple):
    """One worker as the others see it."""

    pid: int
    """0 until the worker has said its own."""
    state: WorkerState
    silence: float
    """Seconds since its last heartbeat."""


class Tick(NamedTuple):
    """What a worker's event loop said of itself last."""

    at: int
    """Nanoseconds of the monotonic clock."""
    lateness: int
    """Nanoseconds that it was late."""


class Scoreboard:
    """The shared page. Make it before the first fork."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 8 * (_ACCOUNTS + (SLOTS + 1) * _ACCOUNT_FIELDS))).cast("q")
        self._cells[_ARBITER] = time.monotonic_ns()

    def claim(self) -> int:
        """Take a free slot for a worker about to be forked. Raises ``RuntimeError`` when there is none."""
        for slot in range(SLOTS):
            base = _HEADER + slot * _FIELDS
            if self._cells[base + _STATE] == WorkerState.FREE:
                self._cells[base + _PID] = 0
                self._cells[base + _TICK] = 0
                self._cells[base + _BEAT] = time.monotonic_ns()
                self._cells[base + _STATE] = WorkerState.STARTING
                return slot
        raise RuntimeError(f"no more than {SLOTS} workers can run")

    def free(self, slot: int) -> None:
        """Give a slot back; its worker is gone."""
        self._cells[_HEADER + slot * _FIELDS + _STATE] = WorkerState.FREE

    def write(self, slot: int, state: WorkerState | None = None) -> None:
        """A worker's heartbeat, and its new state if it has one."""
        base = _HEADER + slot * _FIELDS
        self._cells[base + _PID] = os.getpid()
        self._cells[base + _BEAT] = time.monotonic_ns()
        if state is not None:
            self._cells[base + _STATE] = state

    def tick(self, slot: int, lateness: int) -> None:
        """A heartbeat that was due at a certain time, and the nanoseconds that it is late."""
        self.write(slot)
        base = _HEADER + slot * _FIELDS
        self._cells[base + _LATENESS] = lateness  # first: with the time before it, it is that time's silence
        self._cells[base + _TICK] = self._cells[base + _BEAT]

    def ticks_end(self, slot: int) -> None:
        """This worker's loop does not say any more that it turns."""
        self._cells[_HEADER + slot * _FIELDS + _TICK] = 0

    def ticks(self) -> list[Tick]:
        """The last tick of each worker whose event loop ticks."""
        cells = self._cells
        bases = [base for base in range(_HEADER, _ACCOUNTS, _FIELDS) if cells[base + _STATE]]
        ticks = [Tick(cells[base + _TICK], cells[base + _LATENESS]) for base in bases]
        return [tick for tick in ticks if tick.at]

    def pids(self) -> dict[int, int]:
        """The process in each slot that has one."""
        cells = self._cells
        pids = {slot: cells[_HEADER + slot * _FIELDS + _PID] for slot in range(SLOTS) if self._taken(slot)}
        return {slot: pid for slot, pid in pids.items() if pid}

    def account(self, account: int, pid: int, nanoseconds: int) -> None:
        """A process has used this much CPU time since it began. Accounts only grow: another process goes on where the last one ended."""
        base = _ACCOUNTS + account * _ACCOUNT_FIELDS
        same = self._cells[base + _ACCOUNT_PID] == pid and nanoseconds >= self._cells[base + _ACCOUNT_SEEN]
        seen = self._cells[base + _ACCOUNT_SEEN] if same else 0
        self._cells[base + _ACCOUNT_PID] = pid
        self._cells[base + _ACCOUNT_SEEN] = nanoseconds
        self._cells[base + _ACCOUNT_TOTAL] += nanoseconds - seen

    def accounted(self, *accounts: int) -> float:
        """Seconds of CPU time in these accounts."""
        cells = self._cells
        return sum(cells[_ACCOUNTS + a * _ACCOUNT_FIELDS + _ACCOUNT_TOTAL] for a in accounts) / _NANOSECONDS

    def _taken(self, slot: int) -> bool:
        return self._cells[_HEADER + slot * _FIELDS + _STATE] != WorkerState.FREE

    def workers(self) -> list[WorkerEntry]:
        """All workers that there are."""
        now = time.monotonic_ns()
        entries = []
        for base in range(_HEADER, _ACCOUNTS, _FIELDS):
            state = WorkerState(self._cells[base + _STATE])
            if state is not WorkerState.FREE:
                silence = (now - self._cells[base + _BEAT]) / _NANOSECONDS
                entries.append(WorkerEntry(self._cells[base + _PID], state, silence))
        return entries

    def drain(self) -> None:
        """The server is to stop soon, or is stopping. There is no way back."""
        self._cells[_DRAINING] = 1

    @property
    def draining(self) -> bool:
        """Whether the server is to stop soon, or is stopping."""
        return self._cells[_DRAINING] == 1

    def see_schema(self, revision: int) -> None:
        """The schema was found usable. There is no way back: losing the database later does not make the server unready."""
        self._cells[_SCHEMA_REVISION] = revision

    @property
    def schema_revision(self) -> int:
        """The revision that was found usable last; 0 before."""
        return self._cells[_SCHEMA_REVISION]

    @property
    def schema_seen(self) -> bool:
        """Whether the schema was ever found usable."""
        return self._cells[_SCHEMA_REVISION] > 0

    def count_restart(self) -> None:
        """A worker ended although nobody stopped the server. Only the arbiter counts."""
        self._cells[_RESTARTS] += 1

    @property
    def restarts(self) -> int:
        """Workers that ended so."""
        return self._cells[_RESTARTS]

    def beat_arbiter(self) -> None:
        """The arbiter's own heartbeat."""
        self._cells[_ARBITER] = time.monotonic_ns()

    @property
    def arbiter_silence(self) -> float:
        """Seconds since the arbiter's last heartbeat."""
        return (time.monotonic_ns() - self._cells[_ARBITER]) / _NANOSECONDS


class WorkerStatus:
    """One worker's view of the scoreboard: the ``ProcessStatus`` that its app gets, and what the worker itself reports."""

    def __init__(self, scoreboard: Scoreboard, slot: int, workers: int, exemplars_file: Path | None = None) -> None:
        self._scoreboard = scoreboard
        self._slot = slot
        self.workers = workers
        self.exemplars_file = exemplars_file

    def heartbeat(self) -> None:
        """The worker's event loop turns."""
        self._scoreboard.write(self._slot)

    def tick(self, lateness: float) -> None:
        """The worker's event loop turns, ``lateness`` seconds later than it should."""
        self._scoreboard.tick(self._slot, int(lateness * _NANOSECONDS))

    def ticks_end(self) -> None:
        """There will be no further tick."""
        self._scoreboard.ticks_end(self._slot)

    def ready(self) -> None:
        """The app has started and connections are accepted."""
        self._scoreboard.write(self._slot, WorkerState.READY)

    def stopping(self) -> None:
        """No new connections are accepted; requests in flight finish."""
        self._scoreboard.write(self._slot, WorkerState.STOPPING)

    def schema_seen(self, revision: int) -> None:
        """The schema was found usable."""
        self._scoreboard.see_schema(revision)

    def draining(self) -> bool:
        """Whether the server is to stop soon, or is stopping."""
        return self._scoreboard.draining
