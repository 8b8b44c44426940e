"""The buffer of log lines: it never blocks, has a bound, keeps lines whole, belongs to one process, and is written at the end."""

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from app.core.logs.writer import PIPE_BUF, BufferedWriter, DirectWriter

CAPACITY = 4096
"""Bytes that the tests' pipes hold."""

WITH_WRITER = """
import os, signal, sys, time
from app.core.logs.writer import BufferedWriter
writer = BufferedWriter(1, 100, lambda lost: b"lost %d\\n" % lost)
def say(*words):
    writer.write(" ".join(map(str, words)).encode() + b"\\n")
"""


class Pipe:
    """A pipe that nobody reads, until told to."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, CAPACITY)
        self.lines: list[bytes] = []

    def read(self, enough: int) -> list[bytes]:
        """Read until there are so many lines."""
        data, until = b"", time.monotonic() + 30
        while data.count(b"\n") < enough:
            assert time.monotonic() < until, data
            data += os.read(self.out, 65536)
        return data.splitlines(keepends=True)

    def close(self) -> None:
        """Both ends: a thread that is stuck gets an error."""
        for descriptor in (self.out, self.into):
            os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


def note(lost: int) -> bytes:
    return b"lost %d\n" % lost


def run(code: str) -> list[str]:
    """Run code with a writer to standard output, a pipe, and return its lines. A warning is an error."""
    command = [sys.executable, "-W", "error", "-c", WITH_WRITER + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_a_reader_that_hangs_holds_nobody_and_lines_over_the_bound_are_counted(pipe: Pipe) -> None:
    writer = BufferedWriter(pipe.into, 10, note)
    line = b"x" * 1023 + b"\n"
    slowest = 0.0
    for _ in range(200):
        started = time.perf_counter()
        writer.write(line)
        slowest = max(slowest, time.perf_counter() - started)
        time.sleep(0.001)
    assert slowest < 1.0
    assert writer.dropped >= 200 - 10 - 2 * CAPACITY // len(line)  # the pipe holds some, and so does the thread's hand
    kept = 200 - writer.dropped
    read = pipe.read(kept + 1)
    assert read.count(line) == kept
    assert read.count(note(writer.dropped)) == 1
    assert len(read) == kept + 1
    writer.write(b"more\n")
    assert pipe.read(1) == [b"more\n"]


def test_lines_are_grouped_whole_and_in_order(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    write = os.write

    def noted(descriptor: int, data: bytes) -> int:
        if descriptor == pipe.into:
            writes.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", noted)
    writer = BufferedWriter(pipe.into, 1000, note)
    lines = [b"%03d" % n + b"." * (n * 37 % 900) + b"\n" for n in range(300)] + [b"long" * PIPE_BUF + b"\n", b"last\n"]
    for line in lines:
        writer.write(line)
    assert pipe.read(len(lines)) == lines
    grouped = [data for data in writes if len(data) <= PIPE_BUF]
    assert all(data.endswith(b"\n") for data in grouped)
    assert len(grouped) < 80
    assert b"".join(data for data in writes if len(data) > PIPE_BUF) == lines[-2]


def test_a_line_that_comes_while_the_thread_ends_is_written(pipe: Pipe) -> None:
    writer = BufferedWriter(pipe.into, 10, note)
    turn = writer._turn

    class Turn:
        """Whoever writes just before the release finds the turn taken."""

        def __init__(self) -> None:
            self.late = [b"late\n"]

        def release(self) -> None:
            if self.late:
                writer.write(self.late.pop())
            turn.release()

        def __getattr__(self, name: str) -> Any:
            return getattr(turn, name)

    writer._turn = cast("threading.Lock", Turn())
    writer.write(b"early\n")
    writer.before_fork()
    writer.after_fork_in_parent()
    assert pipe.read(2) == [b"early\n", b"late\n"]


def test_many_threads_lose_no_line(pipe: Pipe) -> None:
    writer = BufferedWriter(pipe.into, 100_000, note)

    def say(name: int) -> None:
        for n in range(500):
            writer.write(b"%d %d\n" % (name, n))
            if n % 50 == 0:
                time.sleep(0.006)  # so that the thread falls asleep in between

    threads = [threading.Thread(target=say, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    read = pipe.read(2000)
    for thread in threads:
        thread.join()
    for name in range(4):
        assert [line for line in read if line.startswith(b"%d " % name)] == [b"%d %d\n" % (name, n) for n in range(500)]


def test_long_lines_of_several_processes_do_not_mix(pipe: Pipe) -> None:
    code = WITH_WRITER + "for _ in range(20): say(sys.argv[1] * 9000); say(sys.argv[1] * 90)"
    processes = [subprocess.Popen([sys.executable, "-c", code, name], stdout=pipe.into) for name in "abc"]
    read = pipe.read(120)
    assert [process.wait(30) for process in processes] == [0, 0, 0]
    assert all(len(set(line)) == 2 for line in read)  # one letter, and the line feed
    assert sorted(map(len, read)) == [91] * 60 + [9001] * 60


def test_a_reader_that_is_gone_is_survived(pipe: Pipe) -> None:
    out, into = os.pipe()
    os.close(out)
    writer = BufferedWriter(into, 10, note)
    for n in range(3):
        writer.write(b"%d\n" % n)
        time.sleep(0.02)
    assert writer.dropped == 3
    os.dup2(pipe.into, into)  # somebody reads again
    writer.write(b"3\n")
    assert pipe.read(2) == [b"3\n", b"lost 3\n"]
    os.close(into)


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe.into, False)
    writer = BufferedWriter(pipe.into, 1000, note)
    lines = [b"%d" % n * 500 + b"\n" for n in range(100)]
    for line in lines:
        writer.write(line)
    time.sleep(0.1)
    assert pipe.read(100) == lines
    assert writer.dropped == 0


def test_a_direct_writer_survives_a_closed_stream(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w")
    writer = DirectWriter(stream)
    writer.write(b"said\n")
    stream.close()
    writer.write(b"not said\n")
    assert writer.dropped == 1
    assert (tmp_path / "log").read_text() == "said\n"


def test_the_last_lines_are_written_at_the_end() -> None:
    code = "import atexit; atexit.register(say, 'late')\nfor n in range(99): say(n)\nsys.exit(0)"
    assert run(code) == [*map(str, range(99)), "late"]


def test_an_end_waits_a_second_for_a_reader_that_hangs(pipe: Pipe) -> None:
    code = WITH_WRITER + "for n in range(99): say('x' * 900)\nprint('ends', file=sys.stderr)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=pipe.into, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"ends\n"
        said = time.monotonic()
        assert process.wait(10) == 0
        assert 0.5 < time.monotonic() - said < 3


def test_a_child_does_not_repeat_the_parents_lines_and_writes_its_own() -> None:
    # A fork beside a thread would be a warning.
    code = """
for n in range(50): say("parent", n)
if os.fork() == 0:
    say("child")
    sys.exit(0)
os.wait()
say("afterwards")
"""
    said = run(code)
    assert said == [*(f"parent {n}" for n in range(50)), "child", "afterwards"]


def test_a_child_of_a_process_whose_thread_is_stuck_works() -> None:
    # The parent's lines wait for a reader that hangs; its child gets another output.
    code = """
import fcntl, warnings
warnings.simplefilter("ignore")  # a fork beside a thread it is
out, into = os.pipe()
saved = os.dup(1)
fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
os.dup2(into, 1)
for n in range(300): say("parent", n, "." * 500)
time.sleep(0.1)
assert writer.dropped > 0
pid = os.fork()
if pid == 0:
    os.dup2(saved, 1)
    assert writer.dropped == 0
    say("child")
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
os._exit(0)
"""
    assert run(code) == ["child"]


def test_the_thread_takes_no_signal_from_whom_it_would_wake() -> None:
    code = """
import re, threading
from pathlib import Path
from typing import Any, cast
say("said")
(thread,) = [thread for thread in threading.enumerate() if thread.name == "log-writer"]
blocked = re.search(r"SigBlk:\\s+(\\w+)", Path(f"/proc/self/task/{thread.native_id}/status").read_text())[1]
assert int(blocked, 16) >> (signal.SIGTERM - 1) & 1
assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
"""
    assert run(code) == ["said"]


def test_a_server_whose_standard_output_is_closed_goes_on() -> None:
    code = """
import gc, os, sys, time
import structlog
from app.core.config import LogSettings
from app.core.logging import configure_logging
configure_logging(LogSettings(), buffered=True)
structlog.get_logger("gantry.test").info("said")
time.sleep(0.05)
gc.collect()
assert os.readlink("/proc/self/fd/1") == os.devnull  # and no socket gets the lines
print("alive", file=sys.stderr)
"""
    command = ["sh", "-c", '"$0" -c "$1" >&-', sys.executable, code]
    assert subprocess.run(command, stderr=subprocess.PIPE, timeout=30, check=True).stderr == b"alive\n"
