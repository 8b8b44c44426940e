"""Workers from the CPUs that a control group allows."""

import os
from pathlib import Path

import pytest

from app.core.server.cpus import worker_count


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)))


def count(tmp_path: Path, files: dict[str, str], own: str = "0::/\n") -> int:
    """The count where control groups have these files, and this process is in these groups."""
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "own").write_text(own)
    return worker_count(None, cgroups=tmp_path / "cgroup", own_groups=tmp_path / "own")


@pytest.mark.parametrize(
    ("quota", "workers"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1000 100000", 1),
        ("max 100000", 16),
        ("", 16),
        ("9900000 100000", 16),
    ],
)
def test_version_2(tmp_path: Path, quota: str, workers: int) -> None:
    assert count(tmp_path, {"cpu.max": f"{quota}\n"}) == workers


def test_version_2_is_bound_by_the_groups_above(tmp_path: Path) -> None:
    files = {"pods/pod/cpu.max": "max 100000\n", "pods/cpu.max": "300000 100000\n"}
    assert count(tmp_path, files, "0::/pods/pod\n") == 3


@pytest.mark.parametrize(("quota", "workers"), [("250000\n", 3), ("-1\n", 16)])
def test_version_1(tmp_path: Path, quota: str, workers: int) -> None:
    files = {"cpu/docker/x/cpu.cfs_quota_us": quota, "cpu/docker/x/cpu.cfs_period_us": "100000\n"}
    assert count(tmp_path, files, "4:memory:/docker/x\n2:cpu,cpuacct:/docker/x\n1:name=systemd:/docker/x\n") == workers


def test_no_control_groups(tmp_path: Path) -> None:
    assert worker_count(None, cgroups=tmp_path / "none", own_groups=tmp_path / "none") == 16


def test_affinity_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3})
    assert count(tmp_path, {"cpu.max": "400000 100000"}) == 1


def test_what_the_settings_say_wins(tmp_path: Path) -> None:
    assert worker_count(5, cgroups=tmp_path, own_groups=tmp_path / "none") == 5


def test_this_machine() -> None:
    assert worker_count(None) >= 1
