"""``serve_script.py`` as a process, and means to look at it from the outside."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRETS = ["test-secret-" + "0" * 32]
PATIENCE = 45.0
"""Seconds for things that take far less, unless the machine is busy."""


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

    status: int
    headers: dict[str, str]
    body: str


def request(port: int, path: str, method: str = "GET", timeout: float = PATIENCE, **headers: str) -> Response:
    """One request on a connection of its own."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        return exchange(connection, path, method, **headers)


def exchange(connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str) -> Response:
    """One request on this connection."""
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    return Response(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode())


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until it holds; an answer that could not be had is one that does not."""
    end = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return
        except (OSError, http.client.HTTPException):
            pass
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.05)


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def gone(pid: int) -> bool:
    """Whether there is no such process, or only what is left of one that nobody has reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def value_of(page: str, name: str) -> float:
    """A sample's value on a page of metrics."""
    found = re.search(rf"^{re.escape(name)} (\S+)", page, re.MULTILINE)
    assert found, name
    return float(found[1])


class Server:
    """A running ``serve_script.py``."""

    def __init__(
        self,
        folder: Path,
        server: dict[str, object],
        http: dict[str, object],
        log: dict[str, object],
        stdout: int | None,
    ) -> None:
        self.folder = folder / "runtime"
        self.folder.mkdir(exist_ok=True)
        self.port, self.admin_port = free_port(), free_port()
        self.log_file = folder / "log"
        document = {
            "environment": "test",
            "database": {"url": "postgresql://host/name"},
            "security": {"key_peppers": SECRETS, "cursor_keys": SECRETS},
            "http": {"header_timeout": 1} | http,
            "log": log,
            "server": {
                "host": "127.0.0.1",
                "port": self.port,
                "admin_host": "127.0.0.1",
                "admin_port": self.admin_port,
                "workers": 1,
                "graceful_timeout": 8,
                "close_timeout": 2,
                "runtime_dir": str(self.folder),
            }
            | server,
        }
        with self.log_file.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-W",
                    "always::DeprecationWarning",
                    "-m",
                    "tests.integration.serve_script",
                    json.dumps(document),
                ],
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith("PROMETHEUS_")},
                stdin=subprocess.DEVNULL,
                stdout=output if stdout is None else stdout,
                stderr=output,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """All that was logged until now."""
        return self.log_file.read_text()

    def get(self, path: str) -> Response:
        """From the public port."""
        return request(self.port, path)

    def admin(self, path: str, method: str = "GET", **headers: str) -> Response:
        """From the admin port."""
        return request(self.admin_port, path, method, PATIENCE, **headers)

    def ready(self) -> bool:
        """Whether it says so."""
        return self.admin("/readyz").status == 200

    def metrics(self) -> str:
        """The page of metrics, of a snapshot that was begun after this call."""
        began = time.monotonic()
        while True:
            asked = time.monotonic()
            page = self.admin("/metrics").body
            if asked - value_of(page, "gantry_metrics_snapshot_age_seconds") >= began:
                return page
            time.sleep(0.01)

    def metric(self, name: str) -> float:
        """The value of a metric."""
        return value_of(self.metrics(), name)

    def children(self) -> set[int]:
        """All processes but the arbiter."""
        pid = self.process.pid
        return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

    def admin_pid(self) -> int:
        """The admin process, the last one that was started."""
        return int(re.findall(r"admin_process_started +pid=(\d+)", self.log)[-1])

    def workers(self) -> set[int]:
        """The worker processes."""
        return self.children() - {self.admin_pid()}

    def signal(self, number: signal.Signals) -> None:
        """To the arbiter."""
        self.process.send_signal(number)

    def stopped(self) -> int:
        """Wait for the end of it all, and return the exit code."""
        return self.process.wait(PATIENCE)


@contextmanager
def serving(
    folder: Path,
    *,
    ready: bool = True,
    http: dict[str, object] | None = None,
    log: dict[str, object] | None = None,
    stdout: int | None = None,
    **settings: object,
) -> Iterator[Server]:
    """A server that is killed, with all its processes, if it still runs in the end. ``stdout`` is a descriptor; else a file."""
    server = Server(folder, settings, http or {}, log or {}, stdout)
    try:
        if ready:
            until(lambda: server.process.poll() is not None or server.ready())
            assert server.process.poll() is None, server.log
        yield server
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()


@contextmanager
def in_background(server: Server, path: str) -> Iterator[Callable[[], Response]]:
    """A request that is in flight inside the block; call what it yields for the response."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(server.get, path)
        until(lambda: "a slow request has begun" in server.log)
        yield lambda: future.result(PATIENCE)


def connection_refused(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def listening_inode(port: int) -> str:
    """The inode of the socket that listens on a port of 127.0.0.1 (proc(5), ``/proc/net/tcp``)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}" and fields[3] == "0A":
            return fields[9]
    raise AssertionError(f"nobody listens on {port}")


def inodes(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    links = (str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def raw(port: int, *parts: bytes, pause: float = 0.05) -> bytes:
    """Send parts in segments of their own, and read to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        with client.makefile("rb") as stream:
            return stream.read()
