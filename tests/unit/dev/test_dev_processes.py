"""Child processes: started apart, stopped for sure."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.dev import processes
from app.dev.errors import DevelopmentError, StopRequested
from app.dev.processes import Child

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    return pid in processes.command_lines()


def child(code: str, log: Path | None = None, hurry_signal: signal.Signals = signal.SIGKILL) -> Child:
    command = [sys.executable, "-c", code]
    return Child("the child", command, environment=os.environ, log=log, hurry_signal=hurry_signal)


def test_a_command_gives_its_output() -> None:
    assert processes.run("it", ["/bin/sh", "-c", "echo $WORD; echo noise >&2"], environment={"WORD": "yes"}) == "yes\n"


def test_a_failed_command_says_what_it_printed() -> None:
    with pytest.raises(DevelopmentError, match=r"(?s)^initdb failed with status 3:\n    out\n    because$"):
        processes.run("initdb", ["/bin/sh", "-c", "echo out; echo because >&2; exit 3"], environment={})


def test_a_command_that_takes_too_long_is_ended() -> None:
    with pytest.raises(DevelopmentError, match=r"(?s)took longer than 0.2 s:\n    \(nothing was printed\)"):
        processes.run("it", ["/bin/sleep", "60"], environment={}, timeout=0.2)


def test_a_command_that_does_not_heed_sigterm_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "COMMAND_STOP", 0.1)
    with pytest.raises(DevelopmentError, match="took longer"):
        processes.run("it", [sys.executable, "-c", STUBBORN], environment=os.environ, timeout=1)


def test_a_stop_ends_the_command_that_is_waited_for() -> None:
    mark = f"sleep 61.{os.getpid()}"

    def pause(_seconds: float) -> None:
        raise StopRequested

    with pytest.raises(StopRequested):
        processes.run("it", mark.split(), environment={"PATH": os.defpath}, pause=pause)
    assert mark not in processes.command_lines().values()


def test_what_can_not_be_executed_is_named() -> None:
    with pytest.raises(DevelopmentError, match="/no/such/program can't be started"):
        processes.run("it", ["/no/such/program"], environment={})


def test_a_child_leads_a_session_of_its_own(tmp_path: Path) -> None:
    started = child("import os, time; print(os.getsid(0), flush=True); time.sleep(60)", tmp_path / "log")
    wait_for(lambda: (tmp_path / "log").read_text() != "")
    assert (tmp_path / "log").read_text().strip() == str(started.pid)
    assert started.status is None
    started.stop(5)
    started.stop(5)
    assert started.status == -signal.SIGTERM
    assert not alive(started.pid)


@pytest.mark.parametrize("hurried", [True, False])
def test_a_stubborn_child_is_stopped_too(tmp_path: Path, hurried: bool) -> None:
    started = child(STUBBORN, tmp_path / "log")
    wait_for(lambda: (tmp_path / "log").read_text() != "")
    begun = time.monotonic()
    started.stop(60 if hurried else 0.2, hurried=lambda: hurried)
    assert time.monotonic() - begun < 10
    assert started.status == -signal.SIGKILL


def test_a_child_that_heeds_nothing_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "QUICK_STOP", 0.1)
    started = child(STUBBORN, tmp_path / "log", hurry_signal=signal.SIGTERM)
    wait_for(lambda: (tmp_path / "log").read_text() != "")
    started.stop(0.1)
    assert started.status == -signal.SIGKILL


def test_what_is_left_of_its_session_goes_with_it(tmp_path: Path) -> None:
    code = "import subprocess, time; print(subprocess.Popen(['/bin/sleep', '60']).pid, flush=True); time.sleep(60)"
    started = child(code, tmp_path / "log")
    wait_for(lambda: (tmp_path / "log").read_text().endswith("\n"))
    grandchild = int((tmp_path / "log").read_text())
    assert alive(grandchild)
    started.stop(5)
    wait_for(lambda: not alive(grandchild))


def test_how_a_child_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    started = child("import sys; print(*range(30), sep='\\n'); sys.exit(4)", log)
    wait_for(lambda: started.status is not None)
    expected = "\n".join(f"    {number}" for number in range(10, 30))
    assert started.ended() == f"the child ended with status 4; the end of {log}:\n{expected}"

    quiet = child("import os; os.abort()")
    wait_for(lambda: quiet.status is not None)
    assert quiet.ended() == "the child was ended by signal 6; see its output above"


def test_a_log_that_is_gone_has_no_end(tmp_path: Path) -> None:
    assert processes.tail(tmp_path / "none") == "    (nothing was printed)"


def test_a_killed_parent_takes_its_children_along(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from app.dev.processes import Child\n"
        "print(Child('it', ['/bin/sleep', '60'], environment={}, log=Path(sys.argv[1])).pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline())
        assert alive(grandchild)
        parent.kill()
    wait_for(lambda: not alive(grandchild))


def test_zombies_are_no_processes() -> None:
    with subprocess.Popen(["/bin/true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        assert not alive(zombie.pid)
    assert "pytest" in processes.command_lines()[os.getpid()] or "python" in processes.command_lines()[os.getpid()]


def test_processes_are_found_without_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ps = tmp_path / "ps"
    ps.write_text("#!/bin/sh\necho '    1 /sbin/init'\necho '  210 postgres -D /a b'\necho '  211 '\n")
    ps.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "PROC", tmp_path / "proc")
    assert processes.command_lines() == {1: "/sbin/init", 210: "postgres -D /a b"}


def test_leftovers_are_stopped(tmp_path: Path) -> None:
    mark = f"mark={tmp_path}"
    command = [sys.executable, "-c", "import time; time.sleep(60)", mark]
    with subprocess.Popen(command) as first, subprocess.Popen(command) as second:
        wait_for(lambda: sum(mark in line for line in processes.command_lines().values()) == 2)
        assert processes.stop_leftovers(mark, signal.SIGTERM) == 2
    assert (first.returncode, second.returncode) == (-signal.SIGTERM, -signal.SIGTERM)
    assert processes.stop_leftovers(mark, signal.SIGTERM) == 0


def test_stubborn_leftovers_are_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STUBBORN, f"mark={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as left:
        assert left.stdout is not None
        left.stdout.readline()
        assert processes.stop_leftovers(command[-1], signal.SIGTERM, patience=0.1) == 1
    assert left.returncode == -signal.SIGKILL


def test_leftovers_that_can_not_be_stopped_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_permitted(_pid: int, _number: int) -> None:
        raise PermissionError

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", f"mark={tmp_path}"]) as left:
        wait_for(lambda: any(f"mark={tmp_path}" in line for line in processes.command_lines().values()))
        with monkeypatch.context() as patched:
            patched.setattr(os, "kill", not_permitted)
            patched.setattr(processes, "KILL", 0.1)
            with pytest.raises(DevelopmentError, match=rf"processes \[{left.pid}\] are left from an earlier run"):
                processes.stop_leftovers(f"mark={tmp_path}", signal.SIGTERM, patience=0.1)
        left.kill()
