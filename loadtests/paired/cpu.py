"""CPU time of other processes by the operating system's accounting, and which CPU a process runs on."""

import ctypes
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system, of all its threads, ended ones included.

    It is the process's CPU-time clock (clock_getcpuclockid(3)): the sum that ``/proc/<pid>/stat`` shows as utime and
    stime, but in nanoseconds and not in steps of 10 ms. Raises ``ProcessLookupError`` when there is no such process.
    """
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise ProcessLookupError(error, os.strerror(error), str(pid))
    return time.clock_gettime(clock.value)


def process_tree(root: int) -> list[int]:
    """The process and all its descendants that run now."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            # The name, in brackets, may hold anything; after it come the state and the parent (proc_pid_stat(5)).
            _, parent, *_ = path.read_text().rpartition(")")[2].split()
            children.setdefault(int(parent), []).append(int(path.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def total_seconds(pids: Iterable[int]) -> float:
    """CPU time of all these processes so far."""
    return sum(cpu_seconds(pid) for pid in pids)


def cpus() -> tuple[int | None, int | None]:
    """The CPU for the server that is measured, and the one for everything else; none when there is only one CPU."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (None, None)


@contextmanager
def pinned(cpu: int | None) -> Iterator[None]:
    """In the block this thread, and the processes that it starts, run on this CPU alone; without one, where they may."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
