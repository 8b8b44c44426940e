"""The servers that are compared, each under gunicorn with one uvicorn worker, pinned to one CPU."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.dev import web
from app.dev.errors import DevelopmentError
from app.dev.postgres import free_port
from app.dev.processes import Child
from loadtests.uncached_read.backing import Backing, clean_environment
from loadtests.uncached_read.client import Target
from loadtests.uncached_read.cpu import pinned, process_tree, total_seconds

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 60.0
STOP_TIMEOUT = 40.0

KEEP_ALIVE = "75"
"""Seconds, Gantry's default: longer than a server waits for its next block."""


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    target: Target
    pids: tuple[int, ...]
    """The arbiter and all its children; not PostgreSQL, not Valkey."""

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        return total_seconds(self.pids)


@dataclass(frozen=True)
class Variant:
    """One way to serve the read: its name, and how to start it with its log in a file."""

    name: str
    start: Callable[[Backing, str, Path], tuple[Child, int]]


def start_gantry(backing: Backing, name: str, log: Path, *, shared_limits: bool) -> tuple[Child, int]:
    """``gantry serve`` as it is shipped, with one worker."""
    port, admin_port = free_port(), free_port()
    settings = backing.settings | {
        "GANTRY_SERVER__HOST": web.LOOPBACK,
        "GANTRY_SERVER__PORT": str(port),
        "GANTRY_SERVER__ADMIN_HOST": web.LOOPBACK,
        "GANTRY_SERVER__ADMIN_PORT": str(admin_port),
        "GANTRY_SERVER__WORKERS": "1",
        "GANTRY_SERVER__RUNTIME_DIR": str(log.parent),
    }
    if shared_limits:
        settings["GANTRY_LIMITS__URL"] = backing.valkey_url
    command = [sys.executable, "-m", "app.cli", "serve"]
    return Child(name, command, environment=clean_environment() | settings, log=log), port


def start_common_way(backing: Backing, name: str, log: Path, *, module: str) -> tuple[Child, int]:
    """The module's ``app`` under gunicorn with the worker class that Gantry's own is made from."""
    port = free_port()
    options = [
        "--workers",
        "1",
        "--keep-alive",
        KEEP_ALIVE,
        "--bind",
        f"{web.LOOPBACK}:{port}",
        "--log-level",
        "warning",
    ]
    options += ["--worker-class", "uvicorn_worker.UvicornWorker", "--chdir", str(ROOT)]
    url = backing.database_url.replace("postgresql://", "postgresql+psycopg://")
    environment = clean_environment() | {"COMMON_WAY_DATABASE_URL": url}
    command = [sys.executable, "-m", "gunicorn", *options, f"{module}:app"]
    return Child(name, command, environment=environment, log=log), port


def gantry_variant(name: str, *, shared_limits: bool = True) -> Variant:
    """Gantry; without ``shared_limits`` the worker counts requests in its own memory."""
    return Variant(name, lambda backing, name, log: start_gantry(backing, name, log, shared_limits=shared_limits))


def common_variant(name: str, module: str) -> Variant:
    """The common way, by its module."""
    return Variant(name, lambda backing, name, log: start_common_way(backing, name, log, module=module))


@contextmanager
def serving(variants: list[Variant], backing: Backing, logs: Path, cpu: int | None) -> Iterator[list[Server]]:
    """Start all of them on one CPU, where at any time only one is asked anything."""
    with ExitStack() as stack:
        started = []
        for number, variant in enumerate(variants):
            with pinned(cpu):
                child, port = variant.start(backing, variant.name, logs / f"{number}.log")
            stack.callback(child.stop, STOP_TIMEOUT)
            # One after the other: a port is only taken once its server listens.
            started.append(_ready(child, Target(port, backing.key)))
        yield started


def _ready(child: Child, target: Target) -> Server:
    deadline = time.monotonic() + START_TIMEOUT
    # 404 of an API that is up, or 401: an answer to a request without a key, of a row that does not exist.
    while web.status(f"http://{target.host}:{target.port}", "/api/v1/items/0") is None:
        if child.status is not None:
            raise DevelopmentError(child.ended())
        if time.monotonic() > deadline:
            raise DevelopmentError(f"{child.name} did not answer within {START_TIMEOUT:g} s")
        time.sleep(0.05)
    return Server(child.name, target, tuple(process_tree(child.pid)))
