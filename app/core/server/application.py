"""gunicorn as we run it: its configuration, all of it, made from our settings; nothing is read from its own files or variables."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]  # gunicorn has no type hints
from starlette.types import ASGIApp

from app.core.config import Settings
from app.core.server.admin import admin_app
from app.core.server.admin_process import AdminProcess
from app.core.server.arbiter import GantryArbiter
from app.core.server.cpus import worker_count
from app.core.server.logger import RootLogger
from app.core.server.metric_files import leave_slot, take_slot
from app.core.server.metrics import ServerCollector
from app.core.server.problems import ProblemBody
from app.core.server.scoreboard import Scoreboard, WorkerStatus
from app.core.server.snapshot import Snapshot
from app.core.server.worker import worker_class
from app.core.status import ProcessStatus

AppFactory = Callable[[Settings, ProcessStatus], ASGIApp]

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - gunicorn makes and unlinks nameless files there
"""Heartbeat files on a disk would make a worker wait for that disk."""


class GantryApplication(BaseApplication):  # type: ignore[misc]  # untyped base
    """Configures gunicorn, and makes the app in each worker, after the fork."""

    status: WorkerStatus
    """In a worker: its own."""

    def __init__(self, settings: Settings, app_factory: AppFactory, problem_body: ProblemBody, folder: Path) -> None:
        self._settings = settings
        self._app_factory = app_factory
        self._problem_body = problem_body
        self._folder = folder
        self._workers = worker_count(settings.server.workers)
        self._scoreboard = Scoreboard()
        super().__init__()

    def load_config(self) -> None:
        """Called by gunicorn at start and on reload."""
        server, http = self._settings.server, self._settings.http
        host = f"[{server.host}]" if ":" in server.host else server.host
        options = {
            "bind": f"{host}:{server.port}",
            "workers": self._workers,
            "worker_class": worker_class(self._settings, self._problem_body),
            "keepalive": server.keepalive,
            "timeout": server.worker_timeout,
            "graceful_timeout": server.graceful_timeout + server.close_timeout,
            "worker_tmp_dir": str(SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else self._folder),
            "control_socket_disable": True,
            "proc_name": "gantry",
            "logger_class": RootLogger,
            "errorlog": None,
            "accesslog": None,
            "forwarded_allow_ips": "",  # our middleware decides whom to believe
            # For gunicorn's own worker; ours has its own limits.
            "limit_request_line": http.max_target_bytes,
            "limit_request_fields": http.max_headers,
            "limit_request_field_size": http.max_header_bytes,
            "pre_fork": self._pre_fork,
            "post_fork": self._post_fork,
            "child_exit": self._child_exit,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> ASGIApp:
        """Called in a worker."""
        return self._app_factory(self._settings, self.status)

    def run(self) -> None:
        """Run the server; ends with ``SystemExit``."""
        server = self._settings.server
        collector = ServerCollector(self._scoreboard, self._folder)
        app = admin_app(self._scoreboard, server.worker_timeout, Snapshot(collector), self._problem_body)
        GantryArbiter(self, self._scoreboard, AdminProcess(server, app, collector.watch)).run()

    def _pre_fork(self, arbiter: GantryArbiter, worker: Any) -> None:  # noqa: ARG002 - gunicorn's signature
        worker.slot = self._scoreboard.claim()

    def _post_fork(self, arbiter: GantryArbiter, worker: Any) -> None:
        exemplars = self._folder / f"exemplars_{worker.slot}.json"
        self.status = WorkerStatus(self._scoreboard, worker.slot, self._workers, exemplars)
        self.status.heartbeat()
        arbiter.admin.forget()
        take_slot(self._folder, worker.slot)

    def _child_exit(self, arbiter: GantryArbiter, worker: Any) -> None:
        leave_slot(self._folder, worker.slot)
        self._scoreboard.free(worker.slot)
        if not arbiter.stopping:
            self._scoreboard.count_restart()
