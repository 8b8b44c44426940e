"""How many workers to run: as many as the CPUs this process may use.

A container sees all CPUs of its node; what it may use of them is a quota of its control group. A part of a CPU counts as one, since
rounding down would leave that part of the quota unused.
"""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def worker_count(wanted: int | None, *, cgroups: Path = CGROUPS, own_groups: Path = OWN_GROUPS) -> int:
    """``wanted`` if given, else the CPUs that affinity and the control group's quota allow, rounded up, at least 1.

    ``cgroups`` is where control groups are mounted, ``own_groups`` the file that names this process's own (cgroups(7)).
    """
    if wanted is not None:
        return wanted
    cpus = float(len(os.sched_getaffinity(0)))
    for quota in _quotas(cgroups, own_groups):
        cpus = min(cpus, quota)
    return max(1, math.ceil(cpus))


def _quotas(cgroups: Path, own_groups: Path) -> list[float]:
    """Every quota that applies, in CPUs. A group is bound by those above it too; in a container its own group is the mount's root."""
    quotas: list[float] = []
    for line in _read(own_groups).splitlines() or ["0::/"]:
        _, controllers, path = line.split(":", 2)
        group = path.strip("/")
        for name in [group, *(str(parent) for parent in Path(group).parents)]:
            if not controllers:
                quotas += _quota(*_read(cgroups / name / "cpu.max").split())
            elif "cpu" in controllers.split(","):
                folder = cgroups / "cpu" / name
                quotas += _quota(*(_read(folder / file).strip() for file in ("cpu.cfs_quota_us", "cpu.cfs_period_us")))
    return quotas


def _quota(quota: str = "", period: str = "") -> list[float]:
    """Microseconds of CPU time per period; ``max`` (version 2) and ``-1`` (version 1) mean no limit."""
    return [int(quota) / int(period)] if quota.isdigit() and period.isdigit() and int(quota) and int(period) else []


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
