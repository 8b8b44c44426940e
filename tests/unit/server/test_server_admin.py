"""The admin port's app, without a server around it."""

import gzip
import json
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from starlette.types import Message

from app import __version__
from app.api.problems import problem_body
from app.core.server.admin import admin_app
from app.core.server.metrics import ServerCollector
from app.core.server.scoreboard import Scoreboard, WorkerStatus
from app.core.server.snapshot import Snapshot
from app.core.telemetry.catalogue import SERVER_METRICS


async def ask(
    board: Scoreboard, folder: Path, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request."""
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        sent.append(message)

    asked = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "method": method, "headers": asked}
    await admin_app(board, 30, Snapshot(ServerCollector(board, folder)), problem_body)(scope, receive, send)
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert answered["content-length"] == str(len(sent[1]["body"]))
    assert answered["cache-control"] == "no-store"
    return sent[0]["status"], answered, sent[1]["body"]


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
    worker.schema_seen(1)
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
    complete = 1 if damage == "empty" else 0  # a worker is just making it
    assert b"gantry_worker_metrics_complete %d.0\n" % complete in body
    assert b"gantry_draining 0.0\n" in body


async def test_formats(tmp_path: Path) -> None:
    """Prometheus asks for OpenMetrics first, compressed."""
    asked = (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    )
    board = Scoreboard()
    status, headers, body = await ask(board, tmp_path, "/metrics", accept=asked, accept_encoding="gzip")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0; charset=utf-8")
    page = gzip.decompress(body).decode()
    assert page.endswith("# EOF\n")
    families = {family.name: family for family in text_string_to_metric_families(page)}  # type: ignore[no-untyped-call]
    assert families["gantry_worker_restarts"].samples[0].name == "gantry_worker_restarts_total"
    assert families["gantry_metrics_series"].samples[0].value == sum(len(f.samples) for f in families.values())
    for accept in (
        "",
        "text/html",
        "application/openmetrics-text;version=x",
        "application/openmetrics-text;version=0.0.1",
    ):
        _, headers, body = await ask(board, tmp_path, "/metrics", accept=accept)
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"# EOF" not in body


async def test_what_was_built_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANTRY_REVISION", "abc123")
    board = Scoreboard()
    _, _, body = await ask(board, tmp_path, "/metrics")
    assert f'revision="abc123",version="{__version__}"}} 1.0'.encode() in body
    assert b"gantry_schema_revision " not in body
    board.see_schema(7)
    _, _, body = await ask(board, tmp_path, "/metrics")
    assert b"\ngantry_schema_revision 7.0\n" in body


async def test_the_catalogue_has_what_is_shown(tmp_path: Path) -> None:
    board = Scoreboard()
    board.see_schema(1)
    _, _, body = await ask(board, tmp_path, "/metrics", accept="application/openmetrics-text")
    shown = {family.name: family for family in text_string_to_metric_families(body.decode())}  # type: ignore[no-untyped-call]
    assert set(shown) == {spec.name.removesuffix("_total") for spec in SERVER_METRICS}
    for spec in SERVER_METRICS:
        family = shown[spec.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (spec.kind, spec.meaning)
        assert all({*sample.labels} - {"le"} == {*spec.labels} for sample in family.samples)
