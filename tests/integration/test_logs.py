"""Logs of real servers: what is in a line, a reader that hangs, and the level at run time."""

import fcntl
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from app.cli import cli
from app.core.logs.fields import COMMON, LOG_FIELDS
from tests.conftest import make_database
from tests.gunicorn import LiveApi, environment, running_api
from tests.integration.serve_script import REQUEST_ID
from tests.integration.server_process import Server, request, serving, until

OWN_LOGS: dict[str, object] = {"public_url": "https://own-logs.example"}


def parsed(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_of_a_live_server_have_the_fields_that_are_documented(live_api: LiveApi) -> None:
    with live_api.client() as client:
        ids = [client.get("/api/v1/protected").headers["x-request-id"]]
        ids.append(client.get("/api/v1/users/0").headers["x-request-id"])
    fields: set[str] = set()
    for line in map(live_api.line, ids):
        assert line["logger"] == "gantry.request"
        fields |= line.keys()
    assert fields <= LOG_FIELDS.keys()
    assert {"timestamp", "level", "event", "logger", "pid", "request_id"} < fields
    assert {"method", "route", "status", "duration_ms", "client", "key_id", "problem"} < fields
    theirs = [event for event in live_api.events() if not event["logger"].startswith("gantry.")]
    assert {event["logger"] for event in theirs} >= {"gunicorn.error", "uvicorn.error"}
    for event in theirs:
        assert event.keys() <= COMMON.keys()


def test_whatever_says_something_in_a_request_says_it_in_our_form_with_the_ids(tmp_path: Path) -> None:
    with serving(tmp_path, http=OWN_LOGS, workers=2) as server:
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        assert server.get("/say/1").status == 200
        until(lambda: '"said"' in server.log)
        os.kill(min(workers(server)), signal.SIGKILL)  # the arbiter forks again, beside what it has to write
        until(lambda: len(pids(server, "Booting worker with pid: ")) == 3)
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        server.signal(signal.SIGTERM)
        assert server.stopped() == 0
    log = server.log.replace("lifespan has ended\n", "")  # the script prints it
    lines = parsed(log)
    said = [line for line in lines if line["logger"] in ("somebody", "alembic.runtime.migration", "gantry.test")]
    (warning,) = [line for line in lines if line["logger"] == "py.warnings"]
    assert len(said) == 3
    assert "DeprecationWarning: old ways" in warning["event"]
    for line in (*said, warning):
        assert (line["request_id"], line["trace_id"], "span_id" in line) == (REQUEST_ID, "a" * 32, False)
        assert line["pid"] in pids(server, "Booting worker with pid: ")
    for line in lines:
        assert {"timestamp", "level", "event", "logger", "pid"} <= line.keys()
    # No line is said twice, and the last ones of every process are there.
    assert max(Counter(log.splitlines()).values()) == 1
    ended = pids(server, "Worker exiting \\(pid: ")
    assert len(ended) == 2
    assert ended < pids(server, "Booting worker with pid: ")
    assert [line["event"] for line in lines].count("Shutting down: Master") == 1
    assert any(line["event"] == "admin_process_ended" and line["code"] in (0, None) for line in lines)
    assert "multi-threaded" not in log


def pids(server: Server, before: str) -> set[int]:
    return {int(pid) for pid in re.findall(before + r"(\d+)", server.log)}


def workers(server: Server) -> set[int]:
    (admin,) = [line["pid"] for line in parsed(server.log) if line["event"] == "admin_process_started"]
    return server.children() - {admin}


class Reader:
    """Reads a small pipe, but not before it is told to."""

    def __init__(self) -> None:
        self.out, self.into = os.pipe()
        fcntl.fcntl(self.into, fcntl.F_SETPIPE_SZ, 4096)
        self.data = b""
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        while piece := os.read(self.out, 65536):
            self.data += piece

    def start(self) -> None:
        self._thread.start()

    def lines(self) -> list[dict[str, Any]]:
        """All lines, once nobody can write any more."""
        self._thread.join(20)
        assert self.data.endswith(b"\n")
        return parsed(self.data.replace(b"lifespan has ended\n", b"").decode())


@contextmanager
def reader() -> Iterator[Reader]:
    made = Reader()
    try:
        yield made
    finally:
        os.close(made.out)


def test_a_reader_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    with reader() as pipe:
        with serving(
            tmp_path, http=OWN_LOGS, log={"buffer_lines": 100}, workers=2, worker_timeout=3, stdout=pipe.into
        ) as server:
            os.close(pipe.into)
            until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
            slowest, until_time, said = 0.0, time.monotonic() + 5, 0
            while time.monotonic() < until_time:  # longer than a hung worker would live
                started = time.monotonic()
                assert request(server.port, "/say/20", timeout=5).status == 200
                said += 20
                slowest = max(slowest, time.monotonic() - started)
                time.sleep(0.02)
            assert slowest < 3  # with other tests beside; a blocked loop answers never
            assert server.admin("/livez").status == server.admin("/readyz").status == 200
            assert server.metric("gantry_worker_restarts_total") == 0
            pipe.start()
            time.sleep(0.5)
            assert server.get("/say/20").status == 200
            said += 20
            server.signal(signal.SIGTERM)
            assert server.stopped() == 0
        lines = pipe.lines()
    notes = [line for line in lines if line["event"] == "log_lines_dropped"]
    lost = sum(note["lines"] for note in notes)
    assert lost > 1000
    assert {note["logger"] for note in notes} == {"gantry.logs"}
    assert len(notes) <= 8  # once for each process, or as often as it took to say it
    kept = [line for line in lines if line["logger"] in ("gantry.test", "somebody", "alembic.runtime.migration")]
    warned = [line for line in lines if line["logger"] == "py.warnings"]
    assert len(kept) + len(warned) + lost == said // 20 * 23
    assert "Shutting down: Master" in [line["event"] for line in lines]


def command(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["log-level", *arguments])


def test_the_level_of_a_running_server_changes_in_every_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, worker_id: str
) -> None:
    database = make_database(f"logs_{worker_id}")
    for name, value in environment(database, tmp_path).items():
        if name.startswith("GANTRY_"):
            monkeypatch.setenv(name, value)
    with running_api(database, tmp_path) as api:
        assert command().stdout == "info\n"
        assert command("debug").stdout == "debug\n"

        def changed(**to: str) -> set[int]:
            return {e["pid"] for e in api.events() if e["event"] == "log_level_changed" and to.items() <= e.items()}

        began = time.monotonic()
        until(lambda: len(changed(before="info", now="debug")) == 4)  # arbiter, admin process, two workers
        assert time.monotonic() - began < 15
        assert command().stdout == "debug\n"

        booted = [int(e["event"].split()[-1]) for e in api.events() if e["event"].startswith("Booting worker")]
        os.kill(booted[0], signal.SIGKILL)
        until(lambda: sum(e["event"].startswith("Booting worker") for e in api.events()) == 3)
        (new,) = {int(e["event"].split()[-1]) for e in api.events() if e["event"].startswith("Booting worker")} - {
            *booted
        }
        until(lambda: httpx2.get(f"{api.admin_url}/metrics").text.count('gantry_workers{state="ready"} 2.0') == 1)
        # gunicorn's own loggers follow too: that a child ended is one of its events at debug.
        assert any(e["logger"] == "gunicorn.error" and e["level"] == "debug" for e in api.events())
        assert command("warning").stdout == "warning\n"
        # The new one began with what was in force.
        until(lambda: new in changed(before="debug", now="warning"))
        until(lambda: len(changed(now="warning")) == 4)
        with api.client() as client:
            quiet = client.get("/api/v1/protected").headers["x-request-id"]
            assert command("default").stdout == "info\n"
            until(lambda: len(changed(before="warning", now="info")) == 4)
            said = client.get("/api/v1/protected").headers["x-request-id"]
        assert api.line(said)["status"] == 200
        assert quiet not in api.log.read_text()
    assert "Shutting down: Master" in api.log.read_text()
    assert not list(tmp_path.glob("gantry-serve-*"))
    assert_refused(tmp_path)


def assert_refused(folder: Path) -> None:
    for arguments in ([], ["debug"]):
        result = command(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"gantry: no server of this user runs with its folder below {folder} (GANTRY_SERVER__RUNTIME_DIR)\n"
        )


def test_the_command_without_a_server_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in environment("postgresql://host/name", tmp_path).items():
        if name.startswith("GANTRY_"):
            monkeypatch.setenv(name, value)
    leftover = tmp_path / "gantry-serve-1-abc"
    leftover.mkdir()
    (leftover / ".made-by-gantry-serve").touch()  # its server is gone: nobody holds its lock
    (tmp_path / "gantry-serve-2-abc").mkdir()
    (tmp_path / "gantry-serve-3-abc").touch()
    assert_refused(tmp_path)
    result = command("loud")
    assert result.exit_code == 2
    assert "debug" in result.stderr
    assert not (leftover / "log-level").exists()
