"""Where log lines go. A server's go through a bounded buffer, so that nobody who logs ever waits for whoever reads them.

A pipe that nobody reads (a container runtime that hangs, a full disk behind it) blocks ``write(2)``. In an event loop that would stop every
request, so a thread of each process writes, and lines over the bound are dropped and counted.

What may be lost: lines over the bound; what is in the buffer when the process is killed by SIGKILL or ends by ``os._exit``, which is the
last ~10 ms unless the reader is slower; and at a normal end what the reader does not take within ``FLUSH_SECONDS``.
"""

import atexit
import errno
import fcntl
import os
import select
import signal
import stat
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, Protocol, TextIO

PIPE_BUF: Final = 4096
"""Bytes that Linux writes to a pipe in one piece (pipe(7)): lines of several processes don't mix within that."""

PAUSE_SECONDS: Final = 0.005
"""Between two batches: a line under load wakes nobody."""

FLUSH_SECONDS: Final = 1.0
"""At the end of a process."""

FORK_SECONDS: Final = 0.1
"""How long a fork waits for the thread to end; one that is stuck in ``write(2)`` is forked beside."""

SAY_AGAIN_SECONDS: Final = 5.0
"""Between two notes of lost lines, while the reader is too slow for all of them."""


class LineWriter(Protocol):
    """Takes whole lines, each with its line feed."""

    dropped: int
    """Lines of this process that were not written."""

    def write(self, line: bytes) -> None:
        """Write the line, now or soon. Never raises."""


class DirectWriter:
    """Writes each line at once, with one call: for a terminal, and for commands that have nothing to do meanwhile."""

    def __init__(self, stream: TextIO) -> None:
        self.dropped = 0
        self._stream = stream

    def write(self, line: bytes) -> None:
        """Write the line; one that can't be written is counted."""
        try:
            self._stream.write(line.decode())
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads any more, or the stream is closed
            self.dropped += 1


class BufferedWriter:
    """Writes lines to a file descriptor from a thread, which there is only while there is something to write in this process.

    A forked child has its own, empty, buffer. Before a fork the thread ends, when it can, and begins again with the next line.
    """

    def __init__(self, descriptor: int, limit: int, note: Callable[[int], bytes]) -> None:
        """``limit`` is in lines; ``note`` renders the line that says how many were lost."""
        self._descriptor = descriptor
        self._limit = limit
        self._note = note
        # Lines of several processes may mix when one is longer than PIPE_BUF, so on a pipe each takes its turn (fcntl(2) locks are
        # let go when their process ends, however it does).
        self._shared = stat.S_ISFIFO(os.fstat(descriptor).st_mode)
        self._begin()
        _writers.add(self)

    def _begin(self) -> None:
        """All that belongs to one process. Nothing of the parent's is looked at: its locks may be held, by threads that are not here."""
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._turn = threading.Lock()
        """Held by the thread, or on behalf of it: there is at most one."""
        self._thread: threading.Thread | None = None
        self._ending = False
        self._closed = False
        self.dropped = 0
        self._said = 0
        self._said_at = 0.0

    def write(self, line: bytes) -> None:
        """Put the line into the buffer. Takes no lock that a thread, a fork or a signal's handler could be in the way of."""
        if self._lines.qsize() >= self._limit:
            self.dropped += 1  # no call between reading and storing: CPython switches no thread there
            return
        self._lines.put(line)
        if not self._turn.locked():
            self._start()

    def close(self) -> None:
        """Write what is in the buffer, for at most ``FLUSH_SECONDS``. Later lines are written if that is possible at once."""
        if self._closed:
            return
        self._end_thread(FLUSH_SECONDS)
        self._closed = True
        if not self._turn.locked():
            self._start()

    def _start(self) -> None:
        if not self._turn.acquire(blocking=False):
            return
        if not self._closed:
            thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
            # A signal that the kernel gave to the thread would not interrupt what the main thread waits in.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter is about to end
                pass
            else:
                self._thread = thread
                return
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            self._drain(may_wait=False)
        finally:
            self._turn.release()

    def _end_thread(self, seconds: float) -> None:
        """Let the thread write everything, and wait for its end."""
        thread = self._thread
        if thread is None or not thread.is_alive():
            return
        self._ending = True
        self._lines.put(b"")  # wakes it
        thread.join(seconds)

    def _run(self) -> None:
        while True:
            try:
                self._work()
            finally:
                self._turn.release()
            # A line that came before the release found the turn taken; this is the other half of write().
            if self._lines.empty() or not self._turn.acquire(blocking=False):
                return

    def _work(self) -> None:
        while True:
            wrote = self._drain()
            if self._ending:
                return
            if wrote:
                time.sleep(PAUSE_SECONDS)
            else:
                self._await_line()

    def _await_line(self) -> None:
        line = self._lines.get()
        if not self._ending:
            time.sleep(PAUSE_SECONDS)  # more may come
        self._drain(line)

    def _drain(self, first: bytes = b"", *, may_wait: bool = True) -> bool:
        """Write what there is, whole lines up to ``PIPE_BUF`` at a time. Returns whether there was anything."""
        chunk = [first] if first else []
        size, wrote = len(first), bool(first)
        while True:
            try:
                line = self._lines.get_nowait()
            except Empty:
                break
            wrote = True
            if chunk and size + len(line) > PIPE_BUF:
                self._put(chunk, may_wait)
                chunk, size = [], 0
                if time.monotonic() - self._said_at > SAY_AGAIN_SECONDS:
                    self._say_lost(may_wait)
            chunk.append(line)
            size += len(line)
        if chunk:
            self._put(chunk, may_wait)
        self._say_lost(may_wait)
        return wrote

    def _say_lost(self, may_wait: bool) -> None:
        lost = self.dropped - self._said
        if lost and self._put([self._note(lost)], may_wait, counts=False):
            self._said += lost
            self._said_at = time.monotonic()

    def _put(self, chunk: list[bytes], may_wait: bool, *, counts: bool = True) -> bool:
        """Write some lines as a whole; whether that was possible. What can't be written is counted, and nothing else happens."""
        try:
            self._write_all(b"".join(chunk), may_wait)
        except OSError:
            if counts:
                lost = len(chunk) - chunk.count(b"")
                self.dropped += lost
            return False
        return True

    def _write_all(self, data: bytes, may_wait: bool) -> None:
        if not data:
            return
        locked = self._lock(may_wait)
        try:
            while data:
                if not may_wait and not self._writable(0):
                    raise BlockingIOError(errno.EAGAIN, "the reader takes nothing")
                try:
                    data = data[os.write(self._descriptor, data) :]
                except BlockingIOError:  # somebody made it non-blocking
                    self._writable(None)
        finally:
            if locked:
                with suppress(OSError):
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _lock(self, may_wait: bool) -> bool:
        if not self._shared:
            return False
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX if may_wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # not every system locks pipes
            return False
        return True

    def _writable(self, milliseconds: int | None) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(milliseconds))

    def before_fork(self) -> None:
        """A process with one thread forks safely."""
        self._end_thread(FORK_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Lines may come again."""
        self._ending = False

    def after_fork_in_child(self) -> None:
        """What the parent has not written yet is the parent's to write."""
        self._begin()


_writers: Final[weakref.WeakSet[BufferedWriter]] = weakref.WeakSet()


def _each(action: Callable[[BufferedWriter], None]) -> Callable[[], None]:
    def act() -> None:
        for writer in tuple(_writers):
            action(writer)

    return act


os.register_at_fork(
    before=_each(BufferedWriter.before_fork),
    after_in_parent=_each(BufferedWriter.after_fork_in_parent),
    after_in_child=_each(BufferedWriter.after_fork_in_child),
)
atexit.register(_each(BufferedWriter.close))
