"""The servers that are compared, each under gunicorn with one uvicorn worker, pinned to one CPU."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from app.dev import web
from app.dev.errors import DevelopmentError
from app.dev.postgres import free_port
from app.dev.processes import Child
from loadtests.paired.backing import Backing, clean_environment
from loadtests.paired.cpu import pinned, process_tree, total_seconds
from loadtests.paired.workloads import ITEMS_PATH, Target

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 60.0
STOP_TIMEOUT = 40.0

KEEP_ALIVE = "75"
"""Seconds, Gantry's default: longer than a server waits for its next block."""


@dataclass(frozen=True)
class Started:
    """A server that was started, and where it will listen."""

    child: Child
    port: int
    admin_port: int | None = None


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    name: str
    target: Target
    pids: tuple[int, ...]
    """The arbiter and all its children; not PostgreSQL, not Valkey."""
    started: Started | None = None

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far."""
        return total_seconds(self.pids)


@dataclass(frozen=True)
class Variant:
    """One way to serve requests: its name, and how to start it with its log in a file."""

    name: str
    start: Callable[[Backing, str, Path], Started]


def start_gantry(
    backing: Backing, name: str, log: Path, *, shared_limits: bool, settings: Mapping[str, str]
) -> Started:
    """``gantry serve`` with one worker, as it is shipped but for ``settings``."""
    port, admin_port = free_port(), free_port()
    environment = clean_environment() | backing.settings
    environment |= {
        "GANTRY_SERVER__HOST": web.LOOPBACK,
        "GANTRY_SERVER__PORT": str(port),
        "GANTRY_SERVER__ADMIN_HOST": web.LOOPBACK,
        "GANTRY_SERVER__ADMIN_PORT": str(admin_port),
        "GANTRY_SERVER__WORKERS": "1",
        "GANTRY_SERVER__RUNTIME_DIR": str(log.parent),
    }
    if shared_limits:
        environment["GANTRY_LIMITS__URL"] = backing.valkey_url
    command = [sys.executable, "-m", "app.cli", "serve"]
    return Started(Child(name, command, environment={**environment, **settings}, log=log), port, admin_port)


def start_common_way(backing: Backing, name: str, log: Path, *, module: str, settings: Mapping[str, str]) -> Started:
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
    return Started(Child(name, command, environment={**environment, **settings}, log=log), port)


def gantry_variant(name: str, settings: Mapping[str, str] | None = None, *, shared_limits: bool = True) -> Variant:
    """Gantry, with settings of its own; without ``shared_limits`` the worker counts requests in its own memory."""
    start = partial(start_gantry, shared_limits=shared_limits, settings=settings or {})
    return Variant(name, start)


def common_variant(name: str, module: str, settings: Mapping[str, str] | None = None) -> Variant:
    """The common way, by its module, and environment variables that it reads."""
    return Variant(name, partial(start_common_way, module=module, settings=settings or {}))


@contextmanager
def serving(variants: list[Variant], backing: Backing, logs: Path, cpu: int | None) -> Iterator[list[Server]]:
    """Start all of them on one CPU, where at any time only one is asked anything."""
    with ExitStack() as stack:
        started = []
        for number, variant in enumerate(variants):
            with pinned(cpu):
                server = variant.start(backing, variant.name, logs / f"{number}.log")
            stack.callback(server.child.stop, STOP_TIMEOUT)
            # One after the other: a port is only taken once its server listens.
            started.append(_ready(server, Target(server.port, backing.key)))
        yield started


def _ready(started: Started, target: Target) -> Server:
    child = started.child
    deadline = time.monotonic() + START_TIMEOUT
    # 404 of an API that is up, or 401: an answer to a request without a key, of a row that does not exist.
    while web.status(f"http://{target.host}:{target.port}", f"{ITEMS_PATH}/0") is None:
        if child.status is not None:
            raise DevelopmentError(child.ended())
        if time.monotonic() > deadline:
            raise DevelopmentError(f"{child.name} did not answer within {START_TIMEOUT:g} s")
        time.sleep(0.05)
    return Server(child.name, target, tuple(process_tree(child.pid)), started)
