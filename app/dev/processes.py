"""Child processes that never outlive the runner.

Each child leads a session of its own, so that the terminal's Ctrl-C reaches the runner only, which stops them in order.
On Linux the kernel also signals a child when the runner dies (``PR_SET_PDEATHSIG``, prctl(2)), even by ``kill -9``.
"""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from app.dev.errors import DevelopmentError

Pause = Callable[[float], None]
"""Waits that many seconds, or less; may raise ``StopRequested``. ``time.sleep`` where nobody can interrupt."""

QUICK_STOP = 10.0
"""Seconds for a stop that was hurried."""
COMMAND_STOP = 5.0
"""Seconds for a command that is no longer wanted."""
KILL = 5.0
"""Seconds for a killed process to be gone."""

PROC = Path("/proc")
"""Where Linux shows the processes; other systems have ``ps``."""

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """The user and group that a server runs as."""

    uid: int
    gid: int


def signal_when_parent_dies(number: signal.Signals) -> None:
    """Have the kernel send ``number`` to this process when its parent ends. Linux only: elsewhere nothing happens."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


class Child:
    """A running child process.

    ``stop_signal`` asks it to stop in good order, ``hurry_signal`` to stop at once.
    Its output goes to ``log``, or to the runner's own.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        environment: Mapping[str, str],
        log: Path | None = None,
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        hurry_signal: signal.Signals = signal.SIGKILL,
    ) -> None:
        self.name = name
        self.log = log
        self._stop_signal = stop_signal
        self._hurry_signal = hurry_signal
        self._gone = False
        with log.open("wb") if log else nullcontext() as output:
            self._process = start(
                command, environment=environment, output=output, error=output, account=account, death_signal=stop_signal
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """``None`` while it runs, then the exit status (negative: the signal that ended it)."""
        return self._process.poll()

    def stop(self, patience: float, *, hurried: Callable[[], bool] = lambda: False) -> None:
        """Stop it and what is left of its session; returns when it is gone.

        It gets ``patience`` seconds for a stop in good order, unless ``hurried()``; then a few for a quick one; then it is killed.
        """
        if self._gone:
            return
        self._ask(self._stop_signal, patience, hurried)
        self._ask(self._hurry_signal, QUICK_STOP, lambda: False)
        with suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says EPERM for a zombie
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._gone = True

    def _ask(self, number: signal.Signals, patience: float, hurried: Callable[[], bool]) -> None:
        if self.status is None:
            self._process.send_signal(number)
        deadline = time.monotonic() + patience
        while self.status is None and time.monotonic() < deadline and not hurried():
            time.sleep(0.02)

    def ended(self) -> str:
        """Say how it ended, with the end of its log."""
        status = self.status or 0
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        return f"{self.name} {how}; " + (
            f"the end of {self.log}:\n{tail(self.log)}" if self.log else "see its output above"
        )


def start(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    output: IO[bytes] | None = None,
    error: IO[bytes] | None = None,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, tied to this one's life.

    Raises ``DevelopmentError`` when it can't be executed.
    """
    parent = os.getpid()

    def tie() -> None:  # pragma: no cover - between fork and exec nothing is measured
        # In the child, after setuid(2), which would clear the request. The parent may have died before it is made.
        signal_when_parent_dies(death_signal)
        if os.getppid() != parent:
            os._exit(1)

    try:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            env=dict(environment),
            cwd="/" if account else None,  # the account may not be allowed into the present directory
            start_new_session=True,
            preexec_fn=tie,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        raise DevelopmentError(f"{command[0]} can't be started: {problem}") from problem


def run(
    name: str,
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    account: Account | None = None,
    timeout: float = 120,
    pause: Pause = time.sleep,
) -> str:
    """Run a command to its end and return its standard output.

    Raises ``DevelopmentError`` with what it printed when it fails or takes longer than ``timeout`` seconds.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as error:
        process = start(command, environment=environment, output=output, error=error, account=account)
        deadline = time.monotonic() + timeout
        try:
            while process.poll() is None and time.monotonic() < deadline:
                pause(0.02)
            late = process.poll() is None
        finally:
            if process.poll() is None:
                end(process)
        output.seek(0)
        error.seek(0)
        printed, complaint = output.read().decode(errors="replace"), error.read().decode(errors="replace")
    if late or process.returncode:
        how = f"took longer than {timeout:g} s" if late else f"failed with status {process.returncode}"
        raise DevelopmentError(f"{name} {how}:\n{indent(printed + complaint)}")
    return printed


def end(process: subprocess.Popen[bytes]) -> None:
    """End a command that is no longer wanted: SIGTERM, and SIGKILL when that does not help."""
    process.terminate()
    try:
        process.wait(COMMAND_STOP)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def command_lines() -> dict[int, str]:
    """The arguments of every process, separated by spaces, by pid. Zombies have none and are left out."""
    found: dict[int, str] = {}
    if (PROC / "self/cmdline").exists():
        for path in PROC.glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it has just ended
                found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    else:
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True, check=False)
        for line in listed.stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            found[int(pid)] = command.strip()
    return {pid: command for pid, command in found.items() if command}


def stop_leftovers(mark: str, first: signal.Signals, patience: float = 15) -> int:
    """Stop the processes that a killed runner left: those with ``mark`` in their command line. Returns how many.

    ``first`` asks them to stop, after ``patience`` seconds they are killed.
    Raises ``DevelopmentError`` when they are still there (or are another user's).
    """
    total = 0
    for number, seconds in ((first, patience), (signal.SIGKILL, KILL)):
        left = [pid for pid, command in command_lines().items() if mark in command]
        total = total or len(left)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            time.sleep(0.02)
            left = [pid for pid, command in command_lines().items() if mark in command]
        if not left:
            return total
    raise DevelopmentError(f"processes {left} are left from an earlier run and can't be stopped; end them by hand")


def tail(path: Path, lines: int = 20) -> str:
    """The last lines of a log, indented; a remark when there are none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        text = ""
    return indent("\n".join(text.splitlines()[-lines:]))


def indent(text: str) -> str:
    """``text`` with each line set in by four spaces."""
    return "\n".join(f"    {line}" for line in (text.strip() or "(nothing was printed)").splitlines())
