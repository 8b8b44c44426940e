"""The process behind the admin port, as the arbiter sees it: started before the workers, replaced when it dies, stopped after them."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from app.core.config import ServerSettings
from app.core.logs.level import look_for_level

log: structlog.stdlib.BoundLogger = structlog.get_logger("gantry.admin")

RESPAWN_SECONDS: Final = 1.0
"""At least this long between two starts, should it die at once each time."""

STOP_SECONDS: Final = 3.0
IGNORED_SIGNALS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What a terminal or an operator sends to the whole process group is meant for the arbiter, which ends this process last."""


Watch = Callable[[int], None]
"""What the process does beside answering, ten times a second; it gets the number of the call."""


class AdminServer(uvicorn.Server):
    """Ends on SIGTERM, or when the arbiter is gone."""

    def __init__(self, config: uvicorn.Config, arbiter: int, watch: Watch) -> None:
        super().__init__(config)
        self._arbiter = arbiter
        self._watch = watch

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Only SIGTERM, and it is not raised again at the end."""
        signal.signal(signal.SIGTERM, self.handle_exit)
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether to end."""
        if counter % 10 == 0:
            look_for_level()
        self._watch(counter)
        return await super().on_tick(counter) or os.getppid() != self._arbiter


class AdminProcess:
    """The child process. The listening socket stays with the arbiter, so a new child serves the same port at once."""

    _listener: socket.socket

    def __init__(self, settings: ServerSettings, app: ASGIApp, watch: Watch) -> None:
        self._settings = settings
        self._app = app
        self._watch = watch
        self._pid = 0
        self._started = -RESPAWN_SECONDS

    def bind(self) -> None:
        """Take the port. Exits with a message when that is not possible."""
        host, port = self._settings.admin_host, self._settings.admin_port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            reason = error.strerror or str(error)
            remedy = "stop what uses it, or set GANTRY_SERVER__ADMIN_PORT and GANTRY_SERVER__ADMIN_HOST"
            log.critical("admin_port_unavailable", host=host, port=port, reason=reason, remedy=remedy)
            sys.exit(1)
        log.info("admin_port_open", host=host, port=self._listener.getsockname()[1])

    def ensure(self, inherited: list[socket.socket]) -> None:
        """Start the process if there is none. ``inherited`` are sockets that it closes: they are not its business."""
        if self.alive() or time.monotonic() - self._started < RESPAWN_SECONDS:
            return
        self._started = time.monotonic()
        arbiter = os.getpid()
        pid = os.fork()
        if pid:
            self._pid = pid
            return
        try:
            for listener in inherited:
                listener.close()
            self._serve(arbiter)
            sys.exit(0)
        except Exception:
            log.exception("admin_process_failed")
            sys.exit(1)

    def alive(self) -> bool:
        """Whether the process runs; one that ended is reaped and logged."""
        if not self._pid:
            return False
        try:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
        except ChildProcessError:  # gunicorn's own loop reaps every child that it finds, and tells nobody
            pid, status = self._pid, None
        if not pid:
            return True
        log.info("admin_process_ended", pid=pid, code=None if status is None else os.waitstatus_to_exitcode(status))
        self._pid = 0
        return False

    def stop(self) -> None:
        """End the process and give the port back."""
        if self.alive():
            os.kill(self._pid, signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        while self.alive() and time.monotonic() < until:
            time.sleep(0.02)
        if self.alive():
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        self.forget()

    def forget(self) -> None:
        """Close this process's end of the port; in a worker that is all it has to do with it."""
        self._listener.close()

    def _serve(self, arbiter: int) -> None:
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        config = uvicorn.Config(
            self._app,
            loop="asyncio",
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            workers=1,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        log.info("admin_process_started", pid=os.getpid())
        AdminServer(config, arbiter, self._watch).run(sockets=[self._listener])
