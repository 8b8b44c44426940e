"""Worker processes: uvicorn's, made to stop well, to be noticed when they hang, and to notice when the arbiter is gone.

The stock ``UvicornWorker`` passes no graceful time-out on to uvicorn, ignores SIGQUIT, leaves a core dump when the arbiter aborts it,
and outlives an arbiter that was killed.
"""

import asyncio
import os
import signal
import socket
import traceback
from types import FrameType
from typing import Any, Final

import uvicorn
from gunicorn.workers.gasgi import ASGIWorker  # type: ignore[import-untyped]  # gunicorn has no type hints
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from app.core.config import Settings
from app.core.server.problems import ProblemBody
from app.core.server.protocol import Edge, guarded_protocol
from app.core.server.scoreboard import WorkerStatus
from app.core.server.signals import STOP_SIGNALS

HEARTBEAT_SECONDS: Final = 1.0
LATE_CONNECTION_SECONDS: Final = 0.1


class DrainingServer(uvicorn.Server):
    """uvicorn's server, telling the scoreboard where it is."""

    def __init__(self, config: uvicorn.Config, status: WorkerStatus) -> None:
        super().__init__(config)
        self._status = status

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """The app starts, then connections are accepted."""
        await super().startup(sockets)
        self._status.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Requests in flight finish, within the graceful time; then the app stops."""
        self._status.stopping()
        late = asyncio.create_task(self._shut_late_connections())
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    async def _shut_late_connections(self) -> None:
        # uvicorn tells the connections that it knows, once; one that was just being accepted would be kept alive.
        while True:
            await asyncio.sleep(LATE_CONNECTION_SECONDS)
            for connection in list(self.server_state.connections):
                connection.shutdown()


class GantryUvicornWorker(UvicornWorker):  # type: ignore[misc]  # untyped base
    """uvicorn in a gunicorn worker. ``worker_class`` makes the class with the settings in ``CONFIG_KWARGS``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.log.adopt("uvicorn.error")

    def init_signals(self) -> None:
        """Handlers for the time until uvicorn installs its own, and after it has put these back."""
        super().init_signals()
        for stop in STOP_SIGNALS:
            signal.signal(stop, self.handle_exit)
        signal.signal(signal.SIGABRT, self.handle_abort)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def handle_abort(self, sig: int, frame: FrameType | None) -> None:
        """The arbiter has not heard from the event loop for too long: say what it is stuck in, and end.

        gunicorn's part raises ``SystemExit`` in what is stuck. If that lets the loop turn again, the other requests finish, and the
        watch ends the worker; else the arbiter kills it a second later.
        """
        stack = "".join(traceback.format_stack(frame))
        self.log.critical("this worker's event loop did not turn for %s seconds; it is at\n%s", self.cfg.timeout, stack)
        super().handle_abort(sig, frame)

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        server = DrainingServer(self.config, self.app.status)

        def stop_now() -> None:
            server.should_exit = server.force_exit = True

        asyncio.get_running_loop().add_signal_handler(signal.SIGQUIT, stop_now)
        watch = asyncio.create_task(self._watch(server))
        try:
            # The plain sockets: uvloop closes what it is given, and gunicorn's wrappers would log that they are closed twice.
            await server.serve(sockets=[listener.sock for listener in self.sockets])
        finally:
            watch.cancel()

    async def _watch(self, server: DrainingServer) -> None:
        """Heartbeats, also while the server drains. Ends the server when it should have ended."""
        while True:
            self.notify()
            self.app.status.heartbeat()
            if not self.alive or os.getppid() != self.ppid:
                server.should_exit = True
            await asyncio.sleep(HEARTBEAT_SECONDS)


class GantryAsgiWorker(ASGIWorker):  # type: ignore[misc]  # untyped base
    """gunicorn's own ASGI worker, telling the scoreboard where it is. gunicorn's limits on headers take the place of ours."""

    close_timeout: int

    def init_process(self) -> None:
        """In the worker: requests get their part of the graceful time, and the app's shutdown the rest."""
        self.cfg.set("graceful_timeout", self.cfg.graceful_timeout - self.close_timeout)
        super().init_process()

    def init_signals(self) -> None:
        """gunicorn's, through the event loop."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def notify(self) -> None:
        """Called every second once connections are accepted."""
        super().notify()
        self.app.status.ready()

    async def _shutdown(self) -> None:
        self.app.status.stopping()
        await super()._shutdown()


def worker_class(settings: Settings, problem_body: ProblemBody) -> type:
    """The class of this server's workers."""
    server = settings.server
    if server.worker_class == "asgi":
        return type("AsgiWorker", (GantryAsgiWorker,), {"close_timeout": server.close_timeout})
    options: dict[str, Any] = {
        "loop": "uvloop",
        "http": guarded_protocol(Edge(settings.http, problem_body)),
        "ws": "none",
        "interface": "asgi3",
        "workers": 1,  # else uvicorn reads WEB_CONCURRENCY
        "timeout_graceful_shutdown": server.graceful_timeout,
        "callback_notify": None,  # it stops when the server drains; ours does not
        "access_log": False,
        "reset_contextvars": True,  # a pipelined request is started by the one before it, and must not take over its trace
        "server_header": False,
        "proxy_headers": False,
    }
    return type("UvicornWorker", (GantryUvicornWorker,), {"CONFIG_KWARGS": options})
