"""`make run` as a person uses it: start, call, Ctrl-C; a second one beside it; a killed one. The real thing, with other ports."""

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from app.dev import commands
from app.dev.processes import command_lines
from app.dev.runner import Options

CHECKOUT = Path(__file__).parents[2]
GREETING = "Ctrl-C stops everything"
CHILDREN_GONE = 30.0
"""Seconds after the end of the runner within which everything it started has to be gone, also when it was killed."""

pytestmark = pytest.mark.timeout(240)


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        self._terminal, inside = pty.openpty()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GANTRY_", "MAKE"))}
        self.process = subprocess.Popen(command, cwd=folder, env=kept, preexec_fn=lambda: os.login_tty(inside))
        os.close(inside)
        self.text = ""

    def read(self, seconds: float) -> bool:
        """Take over what was printed within that time; whether the terminal is still open."""
        if select.select([self._terminal], [], [], seconds)[0]:
            try:
                printed = os.read(self._terminal, 65536)
            except OSError:
                return False  # the last one that had it open is gone
            self.text += printed.decode(errors="replace").replace("\r\n", "\n")
        return True

    def until(self, text: str, seconds: float = 120) -> "Terminal":
        """Wait until this was printed."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert self.read(0.2), self.text
            assert time.monotonic() < deadline, self.text
        return self

    def end(self, seconds: float = 60) -> int:
        """Wait for the command's end and return its status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.text
            self.read(0.05)
        return self.process.returncode

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._terminal, keys.encode())

    def close(self) -> None:
        """Close the terminal, whatever is still running there."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)


class Checkout:
    """A checkout of its own: this one's code and environment, but its own `.dev`."""

    def __init__(self, folder: Path, port: int, admin_port: int) -> None:
        self.folder = folder
        self.port = port
        self.admin_port = admin_port
        self.terminals: list[Terminal] = []
        folder.mkdir()
        (folder / ".venv").symlink_to(sys.prefix)
        for name in ("Makefile", "app", "pyproject.toml", "uv.lock"):
            (folder / name).symlink_to(CHECKOUT / name)

    def make(self, *arguments: str) -> Terminal:
        """``make`` at a terminal; the environment is taken as it is."""
        ports = [f"PORT={self.port}", f"ADMIN_PORT={self.admin_port}"]
        return self._at_a_terminal(["make", "-o", ".venv/.synced", *arguments, *ports])

    def run_directly(self) -> Terminal:
        """The command behind `make run`."""
        options = ["--port", str(self.port), "--admin-port", str(self.admin_port)]
        return self._at_a_terminal([".venv/bin/python", "-m", "app.dev", "run", *options])

    def _at_a_terminal(self, command: list[str]) -> Terminal:
        self.terminals.append(Terminal(command, self.folder))
        return self.terminals[-1]

    def get(self, path: str, key: str) -> tuple[int, dict[str, object]]:
        """Status and body of a request to the API."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path, headers={"X-API-Key": key})
            response = connection.getresponse()
            return response.status, json.load(response)
        finally:
            connection.close()

    def post(self, path: str, key: str, body: dict[str, object]) -> int:
        """Status of a POST request to the API."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(
                "POST", path, json.dumps(body), headers={"X-API-Key": key, "Content-Type": "application/json"}
            )
            return connection.getresponse().status
        finally:
            connection.close()

    def clean(self) -> None:
        """Leave nothing of it, also when a test failed."""
        for terminal in self.terminals:
            terminal.close()
        assert commands.clean(Options(self.folder / ".dev")) == 0


@pytest.fixture
def checkout(tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> Iterator[Checkout]:
    made = Checkout(tmp_path / "checkout", unused_tcp_port_factory(), unused_tcp_port_factory())
    yield made
    made.clean()


def descendants(pid: int) -> set[int]:
    """The processes below a process, by proc(5)."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def shared_memory(pids: set[int]) -> set[str]:
    """Files of shared memory that the processes have mapped, and System V segments."""
    lines: list[str] = []
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile, as a backend of PostgreSQL may
            lines += Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[-1] for line in lines if "/dev/shm/" in line or "/SYSV" in line}  # noqa: S108


def system_v_segments() -> set[str]:
    """The shared memory segments of the machine, named as in the maps of a process."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {f"/SYSV{int(row[0]) & 0xFFFFFFFF:08x}" for row in rows}


def assert_nothing_left(checkout: Checkout, pids: set[int], memory: set[str]) -> None:
    """No process, no listening port, no shared memory."""
    deadline = time.monotonic() + CHILDREN_GONE
    while left := pids & command_lines().keys():
        assert time.monotonic() < deadline, {pid: command_lines().get(pid) for pid in left}
        time.sleep(0.05)
    for port in (checkout.port, checkout.admin_port):
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port)) != 0, f"somebody listens on {port}"
    files = {part.split(" ")[0] for part in memory}
    assert not [name for name in files if name.startswith("/dev/shm/") and Path(name).exists()]  # noqa: S108
    assert not files & system_v_segments()


def key_in(text: str) -> str:
    """The key that a first run shows."""
    found = re.search(r"Key +(\S+)  \(shown this once\)", text)
    assert found, text
    return found[1]


def test_start_call_and_stop_at_a_terminal(checkout: Checkout) -> None:
    run = checkout.make("run").until(GREETING)
    assert f"http://127.0.0.1:{checkout.port}/docs" in run.text
    key = key_in(run.text)
    assert checkout.get("/", key)[0] == 200
    assert checkout.get("/api/v1/protected", key)[1]["name"] == "development"

    second = checkout.make("run")
    assert second.end() == 2, "make's own status for a failed recipe"
    assert "already running here" in second.text
    assert f"http://127.0.0.1:{checkout.port}." in second.text

    fresh = subprocess.run(["make", "key"], cwd=checkout.folder, capture_output=True, text=True, check=True)
    assert fresh.stderr == ""
    assert fresh.stdout == fresh.stdout.strip() + "\n"
    assert fresh.stdout.strip() != key
    status, caller = checkout.get("/api/v1/protected", fresh.stdout.strip())
    assert status == 200
    assert isinstance(caller["scopes"], list)
    assert {"users:write", "items:write", "keys:admin"} <= set(caller["scopes"])

    started = descendants(run.process.pid)
    memory = shared_memory(started)
    assert len(started) > 5
    assert memory
    run.type("\x03")
    run.end()
    assert "stop PostgreSQL" in run.text
    assert_nothing_left(checkout, started, memory)
    nothing = subprocess.run(["make", "key"], cwd=checkout.folder, capture_output=True, text=True, check=False)
    assert nothing.returncode != 0
    assert nothing.stdout == ""
    assert "nothing is running here" in nothing.stderr


def test_a_killed_one_recovers_with_its_data(checkout: Checkout) -> None:
    killed = checkout.run_directly().until(GREETING)
    key = key_in(killed.text)
    assert checkout.post("/api/v1/users", key, {"name": "Ada", "email": "ada@example.com", "age": 36}) == 201
    first = descendants(killed.process.pid)
    killed.process.send_signal(signal.SIGKILL)
    killed.end()

    recovered = checkout.run_directly().until(GREETING)
    assert not first & command_lines().keys()
    second = descendants(recovered.process.pid)
    for pid in (recovered.process.pid, *second):
        with suppress(ProcessLookupError):  # it ended by itself, its parent being gone
            os.kill(pid, signal.SIGKILL)
    recovered.end()

    again = checkout.run_directly().until(GREETING)
    assert not second & command_lines().keys()
    status, users = checkout.get("/api/v1/users", key)
    assert status == 200
    assert isinstance(users["items"], list)
    assert [user["name"] for user in users["items"]] == ["Ada"]

    third = descendants(again.process.pid)
    memory = shared_memory(third)
    again.process.send_signal(signal.SIGINT)
    assert again.end() == 0
    assert_nothing_left(checkout, third, memory)


def test_make_lists_its_commands(checkout: Checkout) -> None:
    listed = subprocess.run(["make"], cwd=checkout.folder, capture_output=True, text=True, check=True).stdout
    for command in ("run", "key", "test", "clean"):
        assert re.search(rf"^make {command} +\S", listed, re.MULTILINE), listed
