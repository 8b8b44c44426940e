"""The real thing for tests: ``gantry serve`` as a process of its own, on a database of the test's."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from app.core.scopes import Scope
from app.dev.postgres import free_port
from tests.conftest import CURSOR_KEY, PEPPER

START_SECONDS = 100
STOP_SECONDS = 40


@dataclass(frozen=True)
class LiveApi:
    """A running API: where it is, a key for it, its process, and its log."""

    url: str
    admin_url: str
    key: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, **options: Any) -> httpx2.Client:
        """A client with the key."""
        return httpx2.Client(base_url=self.url, headers={"X-API-Key": self.key}, **options)

    def line(self, request_id: str) -> dict[str, Any]:
        """The log line of a request, which is written a moment after its answer."""
        until = time.monotonic() + 5
        while time.monotonic() < until:
            for event in self.events():
                if event.get("request_id") == request_id and event["event"] == "request":
                    return event
            time.sleep(0.02)
        raise AssertionError(f"no line for {request_id} in {self.log.read_text()}")

    def events(self) -> list[dict[str, Any]]:
        """The log's lines so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def environment(database_url: str, folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a server: its settings, and nothing of ours by chance. ``settings`` are names without the prefix."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GANTRY_")}
    own = {
        "ENVIRONMENT": "test",
        "DATABASE__URL": database_url,
        "SECURITY__KEY_PEPPERS": json.dumps([PEPPER.get_secret_value()]),
        "SECURITY__CURSOR_KEYS": json.dumps([CURSOR_KEY.get_secret_value()]),
        "LIMITS__DEFAULT": "100000000/minute",
        "LIMITS__EXAMPLE": "100000000/minute",
        "SERVER__HOST": "127.0.0.1",
        "SERVER__ADMIN_HOST": "127.0.0.1",
        "SERVER__WORKERS": "2",
        "SERVER__RUNTIME_DIR": str(folder),
        "LOG__FORMAT": "json",
    }
    return inherited | {f"GANTRY_{name}": value for name, value in (own | settings).items()}


@contextmanager
def running_api(
    database_url: str,
    folder: Path,
    *,
    package: Path | None = None,
    scopes: Sequence[str] = tuple(Scope),
    **settings: str,
) -> Iterator[LiveApi]:
    """``gantry serve`` until the end of the block, ready, with a key that may do everything. Its end must be clean.

    ``package`` is the folder of another copy of ``app`` to serve; ``scopes`` are the key's.
    """
    port, admin_port = free_port(), free_port()
    ports = {"SERVER__PORT": str(port), "SERVER__ADMIN_PORT": str(admin_port)}
    variables = environment(database_url, folder, **(ports | settings))
    if package is not None:
        variables["PYTHONPATH"] = str(package)
    options = [argument for scope in scopes for argument in ("--scope", scope)]
    key = _gantry(variables, package, "keys", "create", "--name", "test", *options)
    log = folder / f"gunicorn-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve"],
            env=variables,
            cwd=package,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    api = LiveApi(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin_port}", key, process, log)
    try:
        _wait_until_ready(api)
        yield api
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_SECONDS)
    assert code == 0, log.read_text()


def _gantry(variables: Mapping[str, str], package: Path | None, *arguments: str) -> str:
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(
        command, env=variables, cwd=package, check=True, capture_output=True, text=True
    ).stdout.strip()


def _wait_until_ready(api: LiveApi) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert api.process.poll() is None, api.log.read_text()
        try:
            if httpx2.get(f"{api.admin_url}/readyz").status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"not ready after {START_SECONDS} s:\n{api.log.read_text()}")
