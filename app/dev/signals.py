"""Ctrl-C and its relatives as something to wait for, instead of an exception at a random line.

An exception raised by a signal handler may strike between the start of a server and the line that remembers it, and
then nobody stops that server. So the handlers only take note; whoever waits, waits here.
"""

import select
import signal
import socket
import time
from types import FrameType, TracebackType
from typing import Any, Self

from app.dev.errors import StopRequested

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

SAME_PRESS = 0.5
"""Seconds within which several signals are one wish: a process group gets SIGTERM, and ``make`` passes it on again."""


class Signals:
    """Takes note of stop signals and of children that end. A context manager, for the main thread."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._hurried = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            self._former[number] = signal.signal(number, self._note)
        self._former_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._former_fd)
        for number, handler in self._former.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGCHLD:
            return
        now = time.monotonic()
        if self._first is None:
            self._first = now
        elif now - self._first > SAME_PRESS:
            self._hurried = True

    def pause(self, seconds: float | None) -> None:
        """Wait for a signal or the end of a child, at most ``seconds`` (``None``: without end).

        Raises ``StopRequested`` once a stop was asked for.
        """
        if self._first is None and select.select([self._reader], [], [], seconds)[0]:
            self._reader.recv(4096)
        if self._first is not None:
            raise StopRequested

    def hurried(self) -> bool:
        """Whether a stop was asked for again after the first time."""
        return self._hurried
