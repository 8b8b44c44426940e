"""`make run` from start to stop, with real servers and a stand-in for the app's CLI."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from app.dev import commands
from app.dev.place import outside_path
from app.dev.processes import command_lines
from app.dev.runner import Options
from app.dev.state import State
from app.dev.temporary import temporary_postgres, temporary_valkey

CLI = (str(Path(__file__).with_name("stand_in_cli.py")),)
PROGRAM = """
import sys
from pathlib import Path
from app.dev import application, commands
from app.dev.runner import Options
application.READY_TIMEOUT = float(sys.argv[4])
sys.exit(commands.run(Options(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[5:])))
"""
GREETING = "Ctrl-C stops everything"

Start = Callable[..., "Run"]


@pytest.fixture(scope="module")
def own() -> Iterator[dict[str, str]]:
    """Servers of the user: then only gunicorn is started, which is quick."""
    with temporary_postgres() as postgres, temporary_valkey() as valkey:
        yield {
            "GANTRY_DATABASE__URL": postgres.url(),
            "GANTRY_LIMITS__URL": valkey.url(),
        }


class Run:
    """A `make run` of its own, whose output goes to a file."""

    def __init__(
        self, state: Path, ports: tuple[int, int], output: Path, ready_timeout: float, **variables: str
    ) -> None:
        self.options = Options(state, *ports, CLI)
        self.output = output
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GANTRY_")}
        command = [sys.executable, "-c", PROGRAM, str(state), *map(str, ports), str(ready_timeout), *CLI]
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, env=kept | variables, stdout=file, stderr=file)

    @property
    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text()

    def until(self, text: str, seconds: float = 60) -> "Run":
        """Wait until it has printed that."""
        deadline = time.monotonic() + seconds
        while text not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.02)
        return self

    def end(self, number: signal.Signals | None = None, seconds: float = 60) -> int:
        """Send a signal, wait for the end, and return the exit status."""
        if number:
            self.process.send_signal(number)
        return self.process.wait(seconds)

    def servers(self) -> dict[str, int]:
        """What runs for this state, with the pids."""
        found = {}
        for pid, line in command_lines().items():
            for name, mark in (("postgres", "/postgres -D "), ("valkey", "valkey.conf"), ("gunicorn", "gantry-state=")):
                if mark in line and (str(self.options.state) in line or self.data() in line):
                    found[name] = pid
        return found

    def data(self) -> str:
        """The folder of PostgreSQL's data."""
        return str(outside_path(State(self.options.state)))


@pytest.fixture
def start(tmp_path: Path, unused_tcp_port_factory: Callable[[], int]) -> Iterator[Start]:
    """Starts a run of one state; at the end nothing of it may be left."""
    state = tmp_path / "dev"
    ports = unused_tcp_port_factory(), unused_tcp_port_factory()
    runs: list[Run] = []

    def started(ready_timeout: float = 60, ports: tuple[int, int] = ports, **variables: str) -> Run:
        runs.append(Run(state, ports, tmp_path / f"output-{len(runs)}", ready_timeout, **variables))
        return runs[-1]

    yield started
    for run in runs:
        if run.process.poll() is None:
            run.end(signal.SIGKILL)
    assert commands.clean(Options(state)) == 0
    assert runs[0].servers() == {}
    assert not state.exists()
    assert not Path(runs[0].data()).exists()


def key_of(run: Run) -> str:
    words = run.text.split()
    return words[words.index("Key") + 1]


def test_from_start_to_stop_and_again(start: Start, capsys: pytest.CaptureFixture[str]) -> None:
    first = start().until(GREETING)
    assert set(first.servers()) == {"postgres", "valkey", "gunicorn"}
    assert f"API     http://127.0.0.1:{first.options.port}\n" in first.text
    assert "create a PostgreSQL" in first.text
    assert key_of(first) == "key-1"

    second = start()
    assert second.end() == 1
    assert f"already running here: process {first.process.pid}, http://127.0.0.1:{first.options.port}." in second.text
    assert commands.clean(first.options) == 1, "not while it runs"
    assert "already running here" in capsys.readouterr().err

    assert commands.create_key(first.options) == 0
    assert capsys.readouterr() == ("key-2\n", "")

    running = json.loads((first.options.state / "running.json").read_text())["environment"]
    assert running["GANTRY_ENVIRONMENT"] == "development"
    assert json.loads(running["GANTRY_SECURITY__KEY_PEPPERS"])[0].startswith("development-only-")
    assert running["GANTRY_SERVER__WORKERS"] == "2"
    assert running["GANTRY_LIMITS__URL"].startswith("redis://")
    with closing(psycopg.connect(running["GANTRY_DATABASE__URL"])) as connection:
        assert connection.execute("SELECT current_user, scopes FROM keys WHERE id = 1").fetchone() == (
            "gantry",
            "users:read users:write items:read items:write notifications:send notifications:read notifications:admin keys:admin",
        )

    assert first.end(signal.SIGINT) == 0
    assert [line.split()[1] for line in first.text.splitlines()[-3:]] == ["gunicorn", "Valkey", "PostgreSQL"]
    assert first.servers() == {}
    assert commands.create_key(first.options) == 1
    assert "nothing is running here" in capsys.readouterr().err

    third = start().until(GREETING)
    assert "create a PostgreSQL" not in third.text
    assert "Key     the one of the first run" in third.text
    assert third.end(signal.SIGTERM) == 0


def test_what_a_killed_one_left_is_stopped_first(start: Start, own: dict[str, str]) -> None:
    killed = start(STAND_IN="stop", **own).until(GREETING)
    killed.end(signal.SIGKILL)
    left = killed.servers()["gunicorn"]
    recovered = start(**own).until(GREETING)
    assert "what it left running has been stopped" in recovered.text
    assert recovered.servers()["gunicorn"] != left
    assert recovered.end(signal.SIGINT) == 0


def test_a_second_ctrl_c_hurries(start: Start, own: dict[str, str]) -> None:
    run = start(STAND_IN="stop", **own).until(GREETING)
    run.process.send_signal(signal.SIGINT)
    run.until("Stopping")
    time.sleep(0.6)
    assert run.end(signal.SIGINT, seconds=20) == 0
    assert run.servers() == {}


def test_a_server_that_ends_stops_the_others(start: Start, own: dict[str, str]) -> None:
    run = start(GANTRY_DATABASE__URL=own["GANTRY_DATABASE__URL"]).until(GREETING)
    os.kill(run.servers()["valkey"], signal.SIGKILL)
    assert run.end() == 1
    assert "make run: Valkey was ended by signal 9; the end of " in run.text
    assert run.servers() == {}


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("migrate", "make run: gantry migrate failed with status 1:\n    the migration is broken\n"),
        ("serve", "make run: gunicorn ended with status 3; see its output above"),
        ("ready", "make run: gunicorn is not ready after 2 s: http://127.0.0.1:"),
    ],
)
def test_what_goes_wrong_is_said(start: Start, own: dict[str, str], trouble: str, message: str) -> None:
    run = start(ready_timeout=2, STAND_IN=trouble, **own)
    assert run.end() == 1
    assert message in run.text
    assert run.servers() == {}


def test_a_taken_port_is_said_before_anything_starts(start: Start, unused_tcp_port: int) -> None:
    import socket

    with socket.create_server(("127.0.0.1", unused_tcp_port)):
        run = start(ports=(unused_tcp_port, 9000))
        assert run.end() == 1
    assert f"port {unused_tcp_port} on 127.0.0.1 can't be used: Address already in use" in run.text
    assert "PORT=..." in run.text
    assert not (run.options.state / "postgres").exists()


def test_servers_of_the_user_are_used(start: Start, own: dict[str, str]) -> None:
    run = start(PGAPPNAME="mine", **own).until(GREETING)
    assert set(run.servers()) == {"gunicorn"}
    assert key_of(run).startswith("key-")
    running = json.loads((run.options.state / "running.json").read_text())["environment"]
    assert running["PGAPPNAME"] == "mine"
    assert own.items() <= running.items()
    assert "GANTRY_DATABASE__DIRECT_URL" not in running
    assert run.end(signal.SIGINT) == 0


def test_a_stop_while_it_prepares(start: Start) -> None:
    run = start().until("start PostgreSQL")
    assert run.end(signal.SIGTERM) == 0
    assert run.servers() == {}


def test_no_key_while_it_prepares(start: Start, own: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run = start(STAND_IN="ready", **own).until("start gunicorn")
    assert commands.create_key(run.options) == 1
    assert "still preparing" in capsys.readouterr().err
    assert run.end(signal.SIGINT) == 0


def test_a_key_that_can_not_be_made(start: Start, own: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    run = start(**own).until(GREETING)
    broken = Options(run.options.state, cli=("-c", "raise SystemExit('no key today')"))
    assert commands.create_key(broken) == 1
    assert "no key today" in capsys.readouterr().err
    assert run.end(signal.SIGINT) == 0
