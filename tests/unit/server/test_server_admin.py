"""The admin port's app, without a server around it."""

import json
from pathlib import Path

import pytest
from starlette.types import Message

from app.api.problems import problem_body
from app.core.server.admin import admin_app
from app.core.server.scoreboard import Scoreboard, WorkerStatus


async def ask(board: Scoreboard, folder: Path, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        sent.append(message)

    await admin_app(board, 30, folder, problem_body)({"type": "http", "path": path, "method": method}, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert headers["content-length"] == str(len(sent[1]["body"]))
    assert headers["cache-control"] == "no-store"
    return sent[0]["status"], headers, sent[1]["body"]


async def test_probes(tmp_path: Path) -> None:
    board = Scoreboard()
    status, headers, body = await ask(board, tmp_path, "/livez")
    assert (status, headers["content-type"], json.loads(body)["ok"]) == (200, "application/json", True)
    status, headers, body = await ask(board, tmp_path, "/readyz")
    assert (status, headers["content-type"]) == (503, "application/json")
    assert json.loads(body) == {
        "ok": False,
        "conditions": {
            "schema_seen": {"ok": False, "value": False},
            "draining": {"ok": True, "value": False},
            "workers_ready": {"ok": False, "value": 0},
        },
    }
    worker = WorkerStatus(board, board.claim(), workers=1)
    worker.ready()
    worker.schema_seen()
    assert (await ask(board, tmp_path, "/readyz"))[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status", "slug"),
    [("/", "GET", 404, "not-found"), ("/livez", "POST", 405, "method-not-allowed")],
)
async def test_what_is_not_there(tmp_path: Path, path: str, method: str, status: int, slug: str) -> None:
    got, headers, body = await ask(Scoreboard(), tmp_path, path, method)
    assert (got, headers["content-type"]) == (status, "application/problem+json")
    assert json.loads(body)["type"].endswith(slug)
    assert headers.get("allow") == ("GET, HEAD" if status == 405 else None)


async def test_metrics(tmp_path: Path) -> None:
    board = Scoreboard()
    WorkerStatus(board, board.claim(), workers=1).ready()
    board.claim()
    board.count_restart()
    status, headers, body = await ask(board, tmp_path, "/metrics")
    assert (status, headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    lines = body.decode().splitlines()
    for line in (
        'gantry_workers{state="starting"} 1.0',
        'gantry_workers{state="ready"} 1.0',
        'gantry_workers{state="stopping"} 0.0',
        "gantry_draining 0.0",
        "gantry_schema_seen 0.0",
        "gantry_worker_restarts_total 1.0",
        "gantry_worker_metrics_complete 1.0",
    ):
        assert line in lines


@pytest.mark.parametrize("damage", ["empty", "nonsense", "no folder"])
async def test_metrics_survive_damaged_files(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "metrics"
    if damage != "no folder":
        folder.mkdir()
        (folder / "counter_1.db").write_bytes(b"" if damage == "empty" else b"\x00\x10\x00\x00" + b"\x7f" * 4092)
    status, _, body = await ask(Scoreboard(), folder, "/metrics")
    assert status == 200
    assert b"gantry_worker_metrics_complete 0.0\n" in body
    assert b"gantry_draining 0.0\n" in body
