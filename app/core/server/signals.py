"""Signals that must not be lost, and from when on they can't be."""

import signal
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Blocked around a fork, until the child has handlers of its own: one that arrives in between would be lost."""

DRAIN_SIGNAL: Final = signal.SIGUSR1


def hold_signals() -> None:
    """Let those that arrive from now on wait until ``release_signals``.

    Called first of all by ``gantry serve``: loading the application takes a second, in which a signal to drain would end the
    process, and in a container (where the kernel keeps from process 1 what it has no handler for) would be lost, as would one
    to stop.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, (DRAIN_SIGNAL, *STOP_SIGNALS))


def release_signals() -> None:
    """There are handlers now: what has waited arrives."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (DRAIN_SIGNAL, *STOP_SIGNALS))
