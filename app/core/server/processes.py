"""CPU time, memory, descriptors and threads of the server's processes, read from /proc (proc(5)); without it there is none of this.

A process that ended takes its CPU time with it, and a counter must not go back. So what was seen of each is kept on the scoreboard, where
it also outlives the admin process. What a process used after it was last seen is lost.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from app.core.server.scoreboard import ADMIN_ACCOUNT, SLOTS, Scoreboard
from app.core.telemetry.catalogue import (
    PROCESS_CPU,
    PROCESS_FDS,
    PROCESS_MEMORY,
    PROCESS_START,
    PROCESS_THREADS,
    Spec,
)

PROC: Final = Path("/proc")
_TICK_NANOSECONDS: Final = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Usage(NamedTuple):
    """One process."""

    cpu: int
    """Nanoseconds since its start, to a hundredth of a second."""
    threads: int
    started: float
    """Seconds after the machine's start."""
    memory: int
    """Resident bytes."""


def usage(pid: int) -> Usage | None:
    """What a process uses; ``None`` when it is gone, or there is no /proc."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) * _TICK_NANOSECONDS
        return Usage(cpu, int(fields[17]), int(fields[19]) / _TICKS, int(fields[21]) * _PAGE)
    except (OSError, ValueError, IndexError):
        return None


class Processes:
    """Of the server that this admin process belongs to."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._scoreboard = scoreboard

    def sample(self) -> None:
        """Keep what each process has used until now; to be called every second, by one thread of one process."""
        for account, pid in {**self._scoreboard.pids(), ADMIN_ACCOUNT: os.getpid()}.items():
            if (used := usage(pid)) is not None:
                self._scoreboard.account(account, pid, used.cpu)

    def collect(self) -> Iterator[Metric]:
        """The metrics, as far as they can be had."""
        arbiter = usage(os.getppid())
        if arbiter is None:
            return
        seconds = {
            "arbiter": arbiter.cpu / 1e9,
            "worker": self._scoreboard.accounted(*range(SLOTS)),
            "admin": self._scoreboard.accounted(ADMIN_ACCOUNT),
        }
        cpu = CounterMetricFamily(PROCESS_CPU.name, PROCESS_CPU.meaning, labels=PROCESS_CPU.labels)
        for role, value in seconds.items():
            cpu.add_metric([role], value)
        yield cpu
        pids = {"arbiter": [os.getppid()], "worker": [*self._scoreboard.pids().values()], "admin": [os.getpid()]}
        known = {role: [used for pid in group if (used := usage(pid))] for role, group in pids.items()}
        yield _gauge(PROCESS_MEMORY, {role: sum(used.memory for used in group) for role, group in known.items()})
        yield _gauge(PROCESS_THREADS, {role: sum(used.threads for used in group) for role, group in known.items()})
        yield _gauge(PROCESS_FDS, {role: sum(map(_descriptors, group)) for role, group in pids.items()})
        if (booted := _boot_time()) is not None:
            yield GaugeMetricFamily(PROCESS_START.name, PROCESS_START.meaning, booted + arbiter.started)


def _gauge(spec: Spec, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(spec.name, spec.meaning, labels=spec.labels)
    for role, value in values.items():
        family.add_metric([role], value)
    return family


def _descriptors(pid: int) -> int:
    try:
        return len(os.listdir(PROC / str(pid) / "fd"))  # noqa: PTH208 - no path is made of each
    except OSError:
        return 0


def _boot_time() -> int | None:
    try:
        line = next(line for line in (PROC / "stat").read_text().splitlines() if line.startswith("btime "))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1])
