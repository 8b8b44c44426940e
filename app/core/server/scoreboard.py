"""What the processes of one server know of each other: a page of memory that they share.

It is mapped before the fork and holds whole numbers only: no lock, no thread, no descriptor. Every number has one writer at a time (the
arbiter claims and frees a slot, its worker writes in between), and an aligned 64-bit store is not torn on the platforms we run
on, so readers need no lock either. Times are CLOCK_MONOTONIC, which all processes of a machine share.
"""

import mmap
import os
import time
from enum import IntEnum
from typing import NamedTuple

SLOTS = 256
"""More than twice the most workers that settings allow: a reload has the old and the new ones at once."""

_DRAINING, _SCHEMA_SEEN, _RESTARTS, _ARBITER, _HEADER = range(5)
_STATE, _PID, _BEAT, _FIELDS = range(4)
_NANOSECONDS = 1_000_000_000


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


class Scoreboard:
    """The shared page. Make it before the first fork."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 8 * (_HEADER + SLOTS * _FIELDS))).cast("q")
        self._cells[_ARBITER] = time.monotonic_ns()

    def claim(self) -> int:
        """Take a free slot for a worker about to be forked. Raises ``RuntimeError`` when there is none."""
        for slot in range(SLOTS):
            base = _HEADER + slot * _FIELDS
            if self._cells[base + _STATE] == WorkerState.FREE:
                self._cells[base + _PID] = 0
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

    def workers(self) -> list[WorkerEntry]:
        """All workers that there are."""
        now = time.monotonic_ns()
        entries = []
        for base in range(_HEADER, len(self._cells), _FIELDS):
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

    def see_schema(self) -> None:
        """The schema was found usable. There is no way back: losing the database later does not make the server unready."""
        self._cells[_SCHEMA_SEEN] = 1

    @property
    def schema_seen(self) -> bool:
        """Whether the schema was ever found usable."""
        return self._cells[_SCHEMA_SEEN] == 1

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

    def __init__(self, scoreboard: Scoreboard, slot: int, workers: int) -> None:
        self._scoreboard = scoreboard
        self._slot = slot
        self.workers = workers

    def heartbeat(self) -> None:
        """The worker's event loop turns."""
        self._scoreboard.write(self._slot)

    def ready(self) -> None:
        """The app has started and connections are accepted."""
        self._scoreboard.write(self._slot, WorkerState.READY)

    def stopping(self) -> None:
        """No new connections are accepted; requests in flight finish."""
        self._scoreboard.write(self._slot, WorkerState.STOPPING)

    def schema_seen(self) -> None:
        """The schema was found usable."""
        self._scoreboard.see_schema()

    def draining(self) -> bool:
        """Whether the server is to stop soon, or is stopping."""
        return self._scoreboard.draining
