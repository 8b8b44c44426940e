"""Signals that must not be lost, and from when on they can't be."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Blocked around a fork, until the child has handlers of its own: one that arrives in between would be lost."""

DRAIN_SIGNAL: Final = signal.SIGUSR1


@contextmanager
def signals_held() -> Iterator[None]:
    """Let those that arrive from now on wait until ``release_signals``.

    ``gantry serve`` begins with it: loading the application takes a second, in which a signal to drain would end the
    process, and in a container (where the kernel keeps from process 1 what it has no handler for) would be lost, as would one
    to stop. A start that fails leaves nothing held: whatever the caller starts next would inherit that.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (DRAIN_SIGNAL, *STOP_SIGNALS))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals() -> None:
    """There are handlers now: what has waited arrives."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (DRAIN_SIGNAL, *STOP_SIGNALS))
