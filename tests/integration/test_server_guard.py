"""The guard on the public port in a running server, with uvloop under it, and what the admin port has."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.server_process import PATIENCE, Server, raw, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for tests that leave it as it was."""
    with serving(tmp_path_factory.mktemp("server"), keepalive=2) as running:
        yield running


@pytest.mark.parametrize(
    ("parts", "status", "slug"),
    [
        ([b"nonsense\r\n\r\n"], 400, "malformed-request"),
        ([b"GET / HTTP/1.1\r\n\r\n"], 400, "malformed-request"),
        ([b"GET /?" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n"], 414, "uri-too-long"),
        ([b"GET / HTTP/1.1\r\nHost: t\r\n" + b"A: b\r\n" * 100 + b"\r\n"], 431, "headers-too-large"),
        ([b"GET / HTTP/1.1\r\nHost: t\r\nA: " + b"x" * 8_000_000], 431, "headers-too-large"),
        ([b"GET / HTTP/1.1\r\n", b"Host: t\r\n"], 408, "request-timeout"),
    ],
    ids=["nonsense", "no host", "target", "many headers", "8 MB of header", "half a head"],
)
def test_refusals(server: Server, parts: list[bytes], status: int, slug: str) -> None:
    head, _, body = raw(server.port, *parts).decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0].split()[:2] == ["HTTP/1.1", str(status)]
    assert "content-type: application/problem+json" in lines
    assert "cache-control: no-store" in lines
    assert "connection: close" in lines
    assert json.loads(body)["type"] == f"/docs/problems/{slug}"


def test_connections_without_a_request_are_closed(server: Server) -> None:
    started = time.monotonic()
    assert raw(server.port) == b""
    assert 0.9 < time.monotonic() - started < PATIENCE
    started = time.monotonic()
    assert raw(server.port, b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert 1.9 < time.monotonic() - started < PATIENCE


def test_an_early_answer_reaches_a_client_that_is_still_sending(server: Server) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: t\r\nX-Close: yes\r\nContent-Length: 9000000\r\n\r\n"
    assert raw(server.port, head, *[b"x" * 1_000_000] * 8, pause=0).endswith(b"\r\n\r\nearly")


def test_a_defect_is_answered_and_the_worker_lives(server: Server) -> None:
    worker = server.workers()
    answer = server.get("/crash")
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert json.loads(answer.body)["instance"] in server.log
    assert server.get("/").status == 200
    assert server.workers() == worker


def test_what_the_admin_port_does_not_have(server: Server) -> None:
    answer = server.admin("/docs")
    assert (answer.status, json.loads(answer.body)["type"]) == (404, "/docs/problems/not-found")
    assert server.admin("/livez", "POST").status == 405
    assert server.get("/livez").body.startswith("pid=")  # the app's, not the admin port's


def test_gunicorns_own_worker_has_limits_too(tmp_path: Path) -> None:
    with serving(tmp_path, worker_class="asgi", http={"max_headers": 10}) as server:
        assert raw(server.port, b"GET / HTTP/1.1\r\nHost: t\r\n" + b"A: b\r\n" * 20 + b"\r\n").startswith(
            b"HTTP/1.1 431 "
        )
        assert raw(server.port, b"GET /?" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: t\r\n\r\n").startswith(b"HTTP/1.1 414 ")
