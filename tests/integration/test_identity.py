"""Which request this is and who sent it: a trusted proxy is believed, and nobody else."""

import re
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.conftest import Api
from tests.integration.tools import check_problem, get, with_http


@pytest.fixture
async def proxied(database_url: str) -> AsyncIterator[Api]:
    """An application behind proxies in 10.0.0.0/8 and fd00::/8."""
    async with with_http(database_url, trusted_proxies=("10.0.0.0/8", "fd00::/8")) as api:
        yield api


REQUEST_IDS = ["8f14e45fceea467a9b2c1d3e5f607182", "a", "A-z.0_9", "x" * 128]


async def test_a_proxys_request_id_is_taken_over(proxied: Api, subtests: pytest.Subtests) -> None:
    for request_id in REQUEST_IDS:
        with subtests.test(request_id=request_id):
            answer = await get(proxied, "/nothing", ("X-Request-ID", request_id), client="10.0.0.9")
            assert check_problem(answer, 404, "not-found")["instance"] == request_id
            stranger = await get(proxied, "/nothing", ("X-Request-ID", request_id))
            assert re.fullmatch("[0-9a-f]{32}", stranger.headers["x-request-id"])
            assert stranger.headers["x-request-id"] != request_id


NO_REQUEST_IDS = ["", " ", "x" * 129, "a b", "a\nb", "a\r\nSet-Cookie: a=b", "\u00e9", '"', "a;b", "<a>"]


async def test_a_request_id_that_is_none_is_replaced(proxied: Api, subtests: pytest.Subtests) -> None:
    for request_id in NO_REQUEST_IDS:
        with subtests.test(request_id=request_id):
            answer = await get(proxied, "/", ("X-Request-ID", request_id), client="10.0.0.9")
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_ids_of_requests_differ(api: Api) -> None:
    assert len({(await get(api, "/")).headers["x-request-id"] for _ in range(20)}) == 20


ADDRESSES = [
    ("192.0.2.1", [], "192.0.2.1"),
    ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
    ("10.0.0.9", [], "10.0.0.9"),
    ("10.0.0.9", ["198.51.100.7"], "198.51.100.7"),
    ("10.0.0.9", ["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
    ("10.0.0.9", ["1.1.1.1, 198.51.100.7, 10.0.0.8"], "198.51.100.7"),
    ("10.0.0.9", ["1.1.1.1", "198.51.100.7", "10.0.0.8"], "198.51.100.7"),
    ("10.0.0.9", ["10.0.0.7, 10.0.0.8"], "10.0.0.7"),
    ("10.0.0.9", ["198.51.100.7, garbage"], "10.0.0.9"),
    ("10.0.0.9", ["198.51.100.7, garbage, 10.0.0.8"], "10.0.0.8"),
    ("10.0.0.9", [""], "10.0.0.9"),
    ("10.0.0.9", ["198.51.100.7:4711"], "198.51.100.7"),
    ("10.0.0.9", ["[2001:db8::1]:4711"], "2001:db8::1"),
    ("fd00::9", ["2001:db8::1"], "2001:db8::1"),
    ("::ffff:10.0.0.9", ["198.51.100.7"], "198.51.100.7"),
    ("", ["198.51.100.7"], ""),
]


async def test_the_clients_address(proxied: Api, subtests: pytest.Subtests) -> None:
    for peer, forwarded, client in ADDRESSES:
        with subtests.test(peer=peer, forwarded=forwarded, client=client):
            with capture_logs() as events:
                await get(proxied, "/", *(("X-Forwarded-For", line) for line in forwarded), client=peer)
            assert [e["client"] for e in events if e["event"] == "request"] == [client]


async def test_without_trusted_proxies_nobody_is_believed(api: Api) -> None:
    headers = [("X-Forwarded-For", "198.51.100.7"), ("X-Request-ID", "mine"), ("X-Forwarded-Proto", "https")]
    with capture_logs() as events:
        answer = await get(api, "/", *headers, client="127.0.0.1")
    assert answer.headers["x-request-id"] != "mine"
    assert "strict-transport-security" not in answer.headers
    assert [e["client"] for e in events if e["event"] == "request"] == ["127.0.0.1"]
