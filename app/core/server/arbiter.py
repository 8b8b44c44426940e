"""The parent of all: gunicorn's arbiter, which also keeps the admin process, and stops everything in an order that drops no request."""

import os
import signal
from typing import Any

from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]  # gunicorn has no type hints
from gunicorn.errors import HaltServer  # type: ignore[import-untyped]

from app.core.logs.level import look_for_level
from app.core.server.admin_process import AdminProcess
from app.core.server.scoreboard import Scoreboard
from app.core.server.signals import STOP_SIGNALS, release_signals


class GantryArbiter(Arbiter):  # type: ignore[misc]  # untyped base
    """Every way of stopping it is graceful, and a second SIGINT or SIGQUIT hurries it, as gunicorn has it.

    SIGUSR1 comes before that: the server drains, which is to say that it works as always, and sends clients elsewhere.
    """

    def __init__(self, app: Any, scoreboard: Scoreboard, admin: AdminProcess) -> None:
        self.scoreboard = scoreboard
        self.admin = admin
        self.stopping = False
        """Whether it was told to stop: workers that end are wanted to. It drains from then on, if it did not before."""
        super().__init__(app)

    def start(self) -> None:
        """Take the ports, the admin port first: gunicorn tries its own for some seconds."""
        self.admin.bind()
        super().start()

    def init_signals(self) -> None:
        """The handlers; ``gantry serve`` has held signals back until now."""
        super().init_signals()
        release_signals()

    def manage_workers(self) -> None:
        """Called at start, and then every second or after a signal."""
        self.scoreboard.beat_arbiter()
        look_for_level()
        self._fork_safely(lambda: self.admin.ensure(self.LISTENERS))
        super().manage_workers()

    def spawn_worker(self) -> Any:
        """Fork a worker. In the child this call lasts for the worker's life."""
        return self._fork_safely(super().spawn_worker)

    def _fork_safely(self, fork: Any) -> Any:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        parent = os.getpid()
        try:
            return fork()
        finally:
            if os.getpid() == parent:  # a child does so itself when it has its handlers
                signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def reap_workers(self) -> None:
        """Called when children end, and all the time while stopping."""
        self.scoreboard.beat_arbiter()
        self.admin.alive()
        try:
            super().reap_workers()
        except HaltServer:
            # A worker that could not start ends the server, but not before the others have stopped.
            if not self.stopping:
                raise

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers, then the admin process: it says that the server drains as long as that takes."""
        self.stopping = True
        self.scoreboard.drain()
        super().stop(graceful)
        self.admin.stop()

    def handle_int(self) -> None:
        """SIGINT stops as SIGTERM does."""
        self.handle_term()

    def handle_quit(self) -> None:
        """SIGQUIT stops as SIGTERM does."""
        self.handle_term()

    def handle_usr1(self) -> None:
        """Not gunicorn's reopening of log files, of which there are none: drain. Workers see it on the scoreboard."""
        if not self.scoreboard.draining:
            self.scoreboard.drain()
            self.log.info("Draining: not ready any more, and asking clients to connect elsewhere, until told to stop")

    def handle_usr2(self) -> None:
        """gunicorn would replace itself by a new arbiter, which knows nothing of this one's admin process."""
        self.log.warning("SIGUSR2 is ignored: deploy a new version beside this one instead")
