"""The server process, from the outside: ports, signals, and processes that die. Around the small app of ``serve_script.py``."""

import http.client
import json
import os
import re
import signal
import socket
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.server_process import (
    PATIENCE,
    connection_refused,
    exchange,
    gone,
    in_background,
    inodes,
    listening_inode,
    serving,
    until,
)


@pytest.mark.parametrize("worker_class", ["uvicorn", "asgi"])
def test_serves_counts_and_stops_without_a_trace(tmp_path: Path, worker_class: str) -> None:
    with serving(tmp_path, workers=2, worker_class=worker_class) as server:
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        answers = [server.get("/some%20path?x=1") for _ in range(20)]
        assert {answer.status for answer in answers} == {200}
        assert "path=/some path\nquery=x=1\n" in answers[0].body
        assert "workers=2" in answers[0].body
        assert "date" in answers[0].headers
        if worker_class == "uvicorn":
            assert "server" not in answers[0].headers
        assert server.metric("test_requests_total") == 20
        assert server.admin("/livez").status == server.admin("/readyz", "HEAD").status == 200
        assert server.admin("/readyz", "HEAD").body == ""
        assert len(list(server.folder.iterdir())) == 1
        processes = server.children()
        assert len(processes) == 3
        server.signal(signal.SIGTERM)
        assert server.stopped() == 0
        assert all(map(gone, processes))
        assert list(server.folder.iterdir()) == []
        assert server.log.count("lifespan has ended") == 2
        assert f"gunicorn.error INFO Listening at: http://127.0.0.1:{server.port}" in server.log
        for unwanted in ("multi-threaded", "Traceback", "ERROR", "WARNING", "some path"):
            assert unwanted not in server.log
        assert worker_class == "asgi" or "Bad file descriptor" not in server.log


@pytest.mark.parametrize("worker_class", ["uvicorn", "asgi"])
def test_a_request_in_flight_at_sigterm_is_answered(tmp_path: Path, worker_class: str) -> None:
    with serving(tmp_path, worker_class=worker_class) as server, in_background(server, "/slow/3") as answer:
        with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as idle:
            assert exchange(idle, "/").status == 200
            server.signal(signal.SIGTERM)
            if worker_class == "uvicorn":
                until(lambda: exchange(idle, "/").headers.get("connection") == "close")
            until(lambda: server.admin("/readyz").status == 503)
            assert json.loads(server.admin("/readyz").body)["conditions"]["draining"] == {"ok": False, "value": True}
            assert server.admin("/livez").status == 200
            assert server.metric("gantry_draining") == 1
            until(lambda: server.metric('gantry_workers{state="stopping"}') == 1)
            until(lambda: connection_refused(server.port))
            assert server.process.poll() is None
        slow = answer()
        assert (slow.status, slow.headers["connection"]) == (200, "close")
        assert server.stopped() == 0
        assert "lifespan has ended" in server.log


def test_a_request_that_takes_too_long_is_cut(tmp_path: Path) -> None:
    with (
        serving(tmp_path, graceful_timeout=1, close_timeout=3) as server,
        in_background(server, "/slow/60") as answer,
    ):
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        cut = answer()
        assert (cut.status, cut.headers["retry-after"]) == (503, "1")
        assert cut.headers["content-type"] == "application/problem+json"
        assert server.stopped() == 0
        assert time.monotonic() - started < 1 + 3 + 4
        assert "lifespan has ended" in server.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_ctrl_c_is_graceful(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as server, in_background(server, "/slow/1.5") as answer:
        if number == signal.SIGINT:
            os.killpg(server.process.pid, number)  # as a terminal does
        else:
            server.signal(number)
        until(lambda: server.admin("/readyz").status == 503)
        assert answer().status == 200
        assert server.stopped() == 0
        assert "lifespan has ended" in server.log


def test_a_second_ctrl_c_hurries(tmp_path: Path) -> None:
    with serving(tmp_path, graceful_timeout=60) as server, in_background(server, "/slow/60") as answer:
        server.signal(signal.SIGINT)
        until(lambda: server.admin("/readyz").status == 503)
        server.signal(signal.SIGINT)
        assert server.stopped() == 0
        assert answer().status == 503


@pytest.mark.parametrize("worker_class", ["uvicorn", "asgi"])
def test_a_drain_is_no_stop(tmp_path: Path, worker_class: str) -> None:
    with serving(tmp_path, workers=2, worker_class=worker_class) as server:
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        processes = server.children()
        assert "draining=False" in server.get("/").body
        server.signal(signal.SIGUSR1)
        until(lambda: server.admin("/readyz").status == 503)
        conditions = json.loads(server.admin("/readyz").body)["conditions"]
        assert [name for name, condition in conditions.items() if not condition["ok"]] == ["draining"]
        server.signal(signal.SIGUSR1)  # says nothing new
        until(lambda: server.log.count("Handling signal: usr1") == 2)
        assert "draining=True" in server.get("/").body
        assert server.admin("/livez").status == 200
        assert (server.metric("gantry_draining"), server.metric("gantry_worker_restarts_total")) == (1, 0)
        assert server.metric('gantry_workers{state="ready"}') == 2
        assert server.children() == processes
        server.signal(signal.SIGTERM)
        assert server.stopped() == 0
        assert server.log.count("lifespan has ended") == 2
        assert server.log.count("Draining: ") == 1


def test_a_worker_that_dies_while_draining_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        server.signal(signal.SIGUSR1)
        until(lambda: not server.ready())
        victim = min(server.workers())
        os.kill(victim, signal.SIGKILL)
        until(lambda: server.metric("gantry_worker_restarts_total") == 1)
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        assert victim not in server.workers()
        assert "draining=True" in server.get("/").body
        server.signal(signal.SIGTERM)
        until(lambda: connection_refused(server.port))
        assert server.stopped() == 0


def test_a_worker_that_cannot_be_replaced_while_draining_ends_the_server(tmp_path: Path) -> None:
    with serving(tmp_path, http={"public_url": "https://broken-when-draining"}) as server:
        server.signal(signal.SIGUSR1)
        until(lambda: not server.ready())
        os.kill(min(server.workers()), signal.SIGKILL)
        assert server.stopped() == 3
        assert "Worker failed to boot" in server.log


def test_a_drain_during_the_start_is_not_lost(tmp_path: Path) -> None:
    with serving(tmp_path, ready=False, http={"public_url": "https://slow-load"}) as server:
        until(lambda: "loading" in server.log)
        assert "Starting gunicorn" not in server.log
        server.signal(signal.SIGUSR1)
        until(lambda: server.metric('gantry_workers{state="ready"}') == 1)
        until(lambda: server.metric("gantry_draining") == 1)
        assert not server.ready()
        assert server.get("/").status == 200
        server.signal(signal.SIGTERM)
        assert server.stopped() == 0


def test_a_stop_before_the_arbiter_is_there_is_not_lost(tmp_path: Path) -> None:
    with serving(tmp_path, ready=False, http={"public_url": "https://slow-load"}) as server:
        until(lambda: "loading" in server.log)
        server.signal(signal.SIGTERM)
        assert server.stopped() == 0
        assert "Shutting down" in server.log


def test_a_stop_during_the_start_is_not_lost(tmp_path: Path) -> None:
    settings: dict[str, object] = {"public_url": "https://slow-fork"}
    with serving(tmp_path, ready=False, http=settings, graceful_timeout=60) as server:
        until(lambda: "Listening at" in server.log and len(server.children()) == 2)
        server.signal(signal.SIGTERM)  # the worker has not come to the point of having handlers
        started = time.monotonic()
        assert server.stopped() == 0
        assert time.monotonic() - started < PATIENCE / 2


def test_a_reload_replaces_workers(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        before = server.workers()
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGUSR2)
        until(lambda: server.workers() and not server.workers() & before)
        until(server.ready)
        assert server.get("/").status == 200
        until(lambda: "SIGUSR2 is ignored" in server.log)
        server.signal(signal.SIGTERM)
        assert server.stopped() == 0


def test_a_killed_arbiter_takes_all_with_it(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        processes = server.children()
        assert len(processes) == 3
        server.process.kill()
        server.process.wait()
        until(lambda: all(map(gone, processes)))
        assert connection_refused(server.port)
        assert connection_refused(server.admin_port)
        assert server.log.count("lifespan has ended") == 2


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server:
        until(lambda: server.metric('gantry_workers{state="ready"}') == 2)
        victim = min(server.workers())
        live = {'test_live{pid="0"} 1.0', 'test_live{pid="1"} 1.0'}  # by slot
        assert live <= set(server.metrics().splitlines())
        os.kill(victim, signal.SIGKILL)
        while server.metric("gantry_worker_restarts_total") == 0 or server.metric('gantry_workers{state="ready"}') < 2:
            assert server.ready()
        assert server.metric("gantry_worker_restarts_total") == 1
        assert victim not in server.workers()
        assert live <= set(server.metrics().splitlines())
        assert server.get("/").status == 200


def test_a_worker_whose_event_loop_hangs_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, worker_timeout=2) as server:
        before = server.workers()
        assert server.get("/stuck/60").status == 500
        assert "event loop did not turn for 2 seconds" in server.log
        assert "time.sleep(float(seconds))" in server.log
        until(lambda: server.ready() and not server.workers() & before)
        assert server.get("/").status == 200


def test_the_admin_process_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        os.kill(server.admin_pid(), signal.SIGKILL)
        until(server.ready)
        assert re.search(r"admin_process_ended +code=(-9|None)", server.log)
        assert server.get("/").status == 200


def test_the_admin_process_holds_no_public_socket(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        public, admin = (listening_inode(port) for port in (server.port, server.admin_port))
        sockets = {pid: inodes(pid) for pid in server.children()}
        assert public not in sockets[server.admin_pid()]
        assert admin in sockets[server.admin_pid()]
        for worker in server.workers():
            assert public in sockets[worker]
            assert admin not in sockets[worker]


def test_ready_only_once_the_schema_was_seen(tmp_path: Path) -> None:
    with serving(tmp_path, ready=False, http={"public_url": "https://schema-later"}) as server:
        until(lambda: server.metric('gantry_workers{state="ready"}') == 1)
        assert not server.ready()
        assert server.admin("/livez").status == 200
        assert server.metric("gantry_schema_seen") == 0
        assert server.get("/schema").status == 200
        assert server.ready()
        assert server.metric("gantry_schema_seen") == 1


@pytest.mark.parametrize("broken", ["broken-factory", "broken-lifespan"])
@pytest.mark.parametrize("worker_class", ["uvicorn", "asgi"])
def test_an_app_that_cannot_start_ends_the_server(tmp_path: Path, broken: str, worker_class: str) -> None:
    with serving(
        tmp_path, ready=False, http={"public_url": f"https://{broken}"}, worker_class=worker_class, workers=2
    ) as server:
        assert server.stopped() == 3
        assert broken.replace("-", " is ").replace("broken is ", "the ") + " is broken" in server.log
        assert list(server.folder.iterdir()) == []
        until(lambda: connection_refused(server.admin_port))


def test_an_admin_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, ready=False, admin_port=port) as server:
            assert server.stopped() == 1
            assert re.search(rf"admin_port_unavailable .*port={port} .*Address already in use", server.log)
            assert "Listening at" not in server.log
            assert "Booting worker" not in server.log


def test_a_public_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(tmp_path, ready=False, port=port) as server:
            assert server.stopped() == 1
            assert f"Connection in use: ('127.0.0.1', {port})" in server.log
            assert "Booting worker" not in server.log
