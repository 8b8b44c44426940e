"""The admin process when things go wrong with it. In a process of its own: it forks, and children end with ``sys.exit``."""

import subprocess
import sys

PARENT = """
import logging, os, signal, socket, sys, time
from app.core.config import ServerSettings
from app.core.server import admin_process
from app.core.server.admin_process import AdminProcess

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})

def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)

def status():
    with socket.create_connection(admin._listener.getsockname()) as client:
        client.sendall(b"GET / HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n")
        return int(client.makefile("rb").readline().split()[1])

admin_process.STOP_SECONDS = 20
admin = AdminProcess(ServerSettings(admin_host="127.0.0.1", admin_port=0), app, int)
admin.bind()
"""


def run(code: str) -> str:
    """Run code beside an ``admin`` with an open port, to its end, and return what was printed."""
    done = subprocess.run(
        [sys.executable, "-c", PARENT + code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_started_once_and_ends_when_told() -> None:
    out = run(
        """
admin.stop()  # before there is one
admin.bind()
admin.ensure([])
pid = admin._pid
admin.ensure([])
assert status() == 204 and admin._pid == pid and admin.alive()
admin.stop()
assert not admin.alive()
"""
    )
    assert "code=0" in out
    assert out.count("admin_process_started") == 1


def test_one_that_fails_is_replaced_but_not_at_once() -> None:
    out = run(
        """
def fail(arbiter):
    raise RuntimeError("a defect")

admin_process.RESPAWN_SECONDS = 60
admin._serve = fail
admin.ensure([])
until(lambda: not admin.alive())
del admin._serve
admin.ensure([])
assert not admin.alive(), "that was too soon"
admin_process.RESPAWN_SECONDS = 0.1
until(lambda: admin.ensure([]) or admin.alive())
assert status() == 204
admin.stop()
"""
    )
    assert "admin_process_failed" in out
    assert "a defect" in out
    assert "code=1" in out


def test_one_that_somebody_else_reaped_is_missed() -> None:
    out = run(
        """
admin.ensure([])
os.kill(admin._pid, signal.SIGKILL)
os.waitpid(-1, 0)
assert not admin.alive()
"""
    )
    assert "code=None" in out


def test_one_that_hangs_is_killed() -> None:
    run(
        """
admin.ensure([])
pid = admin._pid
assert status() == 204
os.kill(pid, signal.SIGSTOP)
admin_process.STOP_SECONDS = 0.1
admin.stop()
try:
    os.kill(pid, 0)
except ProcessLookupError:
    sys.exit(0)
sys.exit("it is still there")
"""
    )


def test_it_is_deaf_to_what_is_meant_for_the_arbiter() -> None:
    run(
        """
admin.ensure([])
assert status() == 204
for number in admin_process.IGNORED_SIGNALS:
    os.kill(admin._pid, number)
time.sleep(0.2)
assert status() == 204 and admin.alive()
admin.stop()
"""
    )


def test_an_address_that_does_not_exist() -> None:
    out = run(
        """
try:
    AdminProcess(ServerSettings(admin_host="::ffff:203.0.113.1", admin_port=0), app, int).bind()
except SystemExit as end:
    assert end.code == 1
    sys.exit(0)
sys.exit("it was bound")
"""
    )
    assert "admin_port_unavailable" in out
