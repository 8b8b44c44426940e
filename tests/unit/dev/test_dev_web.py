"""Ports and answers."""

import socket
from collections.abc import Iterator

import pytest

from app.dev import web
from app.dev.errors import DevelopmentError


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((web.LOOPBACK, 0)) as listener:
        yield listener.getsockname()[1]


def test_a_taken_port_is_said(taken: int) -> None:
    with pytest.raises(DevelopmentError, match=rf"port {taken} on 127\.0\.0\.1 can't be used: .*in use.* PORT=8001"):
        web.require_free(web.LOOPBACK, str(taken), "PORT=8001")


@pytest.mark.parametrize("port", ["", "0", "65536", "-1", "http"])
def test_what_is_no_port(port: str) -> None:
    with pytest.raises(DevelopmentError, match="it is not a number from 1 to 65535"):
        web.require_free(web.LOOPBACK, port, "")


def test_a_host_that_is_not_ours() -> None:
    with pytest.raises(DevelopmentError, match="port 8000 on no such host can't be used"):
        web.require_free("no such host", "8000", "")
    with pytest.raises(DevelopmentError, match="port 8000 on 2001:db8::1 can't be used"):
        web.require_free("2001:db8::1", "8000", "")


def test_a_free_port(taken: int, unused_tcp_port: int) -> None:
    web.require_free(web.LOOPBACK, str(unused_tcp_port), "")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "http://127.0.0.1:80"), ("0.0.0.0", "http://127.0.0.1:80"), ("::1", "http://[::1]:80")],  # noqa: S104
)
def test_the_url_to_show(host: str, expected: str) -> None:
    assert web.origin(host, 80) == expected


def test_no_answer_has_no_status(unused_tcp_port: int) -> None:
    assert web.status(f"http://127.0.0.1:{unused_tcp_port}", "/") is None
