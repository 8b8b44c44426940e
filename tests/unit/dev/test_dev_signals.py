"""Signals as something to wait for."""

import os
import signal
import subprocess
import time

import pytest

from app.dev import signals
from app.dev.errors import StopRequested
from app.dev.signals import Signals


def test_a_pause_ends_by_itself() -> None:
    with Signals() as noted:
        noted.pause(0.01)


@pytest.mark.parametrize("number", signals.STOP_SIGNALS)
def test_a_stop_signal_ends_every_pause(number: signal.Signals) -> None:
    with Signals() as noted:
        os.kill(os.getpid(), number)
        for _ in range(2):
            with pytest.raises(StopRequested):
                noted.pause(None)
        assert not noted.hurried()


def test_the_end_of_a_child_ends_the_pause() -> None:
    with Signals() as noted:
        begun = time.monotonic()
        with subprocess.Popen(["/bin/true"]):
            noted.pause(60)
        assert time.monotonic() - begun < 30


def test_a_later_signal_hurries(monkeypatch: pytest.MonkeyPatch) -> None:
    with Signals() as noted:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not noted.hurried(), "passed on twice, but one wish"
        monkeypatch.setattr(signals, "SAME_PRESS", 0.0)
        os.kill(os.getpid(), signal.SIGINT)
        assert noted.hurried()


def test_the_former_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (*signals.STOP_SIGNALS, signal.SIGCHLD)]
    with Signals():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in (*signals.STOP_SIGNALS, signal.SIGCHLD)] == before
