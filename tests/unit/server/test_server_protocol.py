"""What passes the guard, how its connection goes on, and how it ends."""

import asyncio

import pytest

from tests.unit.server.guarded import CHUNKED, GET, HEAD, HTTP, POST, Serve, Server, is_problem


async def test_the_scope(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(b"\r\nGET http://test/a%20b/%C3%A9?q=%20 HTTP/1.1\r\nHost: test\r\nX-Y: Z\r\n\r\n")
        assert (await client.answer())[2] == "GET /a b/é ".encode()
        await client.send(b"GET http://test HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await client.answer())[2] == b"GET / "
    scope = server.app.scopes[0]
    assert scope["raw_path"] == b"/a%20b/%C3%A9"
    assert scope["query_string"] == b"q=%20"
    assert scope["headers"] == [(b"host", b"test"), (b"x-y", b"Z")]
    assert scope["http_version"] == "1.1"


async def test_http_1_0_without_a_host_is_served_and_closed(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(b"GET /x HTTP/1.0\r\n\r\n")
        status, headers, body = await client.answer()
        assert (status, body, headers["connection"]) == (200, b"GET /x ", "close")
        assert await client.rest() == b""


async def test_a_body_and_what_follows_it(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(POST + b"Content-Length: 5\r\n\r\nhe", b"llo" + GET)
        assert (await client.answer())[2] == b"POST /echo hello"
        assert (await client.answer())[2] == b"GET /echo "
        await client.send(CHUNKED, b"5;ext=1\r\nhello\r\n", b"0\r\n\r\n")
        assert (await client.answer())[2] == b"POST /echo hello"


async def test_many_small_chunks_are_no_overhead(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(CHUNKED + b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n")
        assert (await client.answer())[2] == b"POST /echo " + b"x" * 5_000


async def test_trailers_do_not_become_headers(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(CHUNKED + b"1\r\nx\r\n0\r\nX-API-Key: stolen\r\nHost: evil\r\n\r\n")
        assert (await client.answer())[2] == b"POST /echo x"
    assert server.app.scopes[0]["headers"] == [(b"host", b"test"), (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    "flood",
    [
        b"0\r\nA: " + b"x" * 3_000,
        b"0\r\n" + b"A: b\r\n" * 600,
        b"1;" + b"x" * 3_000,
        (b"1;" + b"x" * 30 + b"\r\nx\r\n") * 90,
    ],
    ids=["one trailer", "many trailers", "a chunk extension", "many chunk extensions"],
)
async def test_what_surrounds_a_body_is_bounded(serve: Serve, flood: bytes) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(CHUNKED, flood)
        is_problem(await client.answer(), 431, "headers-too-large")
    await server.connections(0)
    assert server.app.messages[-1]["type"] == "http.disconnect"


async def test_a_broken_chunk(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(CHUNKED, b"5\r\nhelloworld\r\n")
        is_problem(await client.answer(), 400, "malformed-request")
        assert await client.rest() == b""
    assert server.app.messages[-1]["type"] == "http.disconnect"


async def test_a_broken_chunk_cuts_an_answer_that_has_begun(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(b"POST /half HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n", b"nonsense\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nhalf")


async def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET.replace(b"/echo", b"/wait") + GET.replace(b"/echo", b"/2") + GET.replace(b"/echo", b"/3"))
        server.app.go_on.set()
        assert [(await client.answer())[2] for _ in range(3)] == [b"waited", b"GET /2 ", b"GET /3 "]


async def test_nonsense_after_a_request_does_not_spoil_its_answer(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET.replace(b"/echo", b"/wait"), b"nonsense\r\n\r\n", GET)
        server.app.go_on.set()
        status, headers, body = await client.answer()
        assert (status, body, headers["connection"]) == (200, b"waited", "close")
        assert await client.rest() == b""
    assert len(server.app.scopes) == 1


async def test_a_broken_body_of_a_waiting_request_ends_the_connection(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET.replace(b"/echo", b"/wait"), CHUNKED + b"nonsense\r\n")
        assert await client.rest() == b""


async def test_a_head_that_is_begun_during_an_answer_has_its_time_after_it(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET.replace(b"/echo", b"/wait") + GET[:10])
        await asyncio.sleep(HTTP.header_timeout + 0.1)
        server.app.go_on.set()
        assert (await client.answer())[2] == b"waited"
        is_problem(await client.answer(), 408, "request-timeout")


async def test_an_early_answer_is_read_by_a_client_that_is_still_sending(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(b"POST /early-close HTTP/1.1\r\nHost: test\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(100):
            client.writer.write(b"x" * 60_000)
            await client.writer.drain()
        status, headers, body = await client.answer()
        assert (status, body, headers["connection"]) == (200, b"early", "close")
        assert await client.rest() == b""


async def test_an_early_answer_after_the_whole_body_closes_at_once(serve: Serve) -> None:
    server = await serve(HTTP.model_copy(update={"body_timeout": 60.0}))
    async with server.client() as client:
        await client.send(b"POST /early-close HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx")
        assert (await client.answer())[2] == b"early"
        assert await client.rest() == b""
    await server.connections(0)


async def test_after_an_early_answer_the_rest_is_dropped_and_the_connection_kept(serve: Serve) -> None:
    server = await serve(keepalive=1)
    async with server.client() as client:
        await client.send(b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 100\r\n\r\n")
        assert (await client.answer())[2] == b"early"
        await client.send(b"x" * 50, b"x" * 50)
        await asyncio.sleep(HTTP.body_timeout + 0.1)
        await client.send(GET)
        assert (await client.answer())[2] == b"GET /echo "
        await client.send(b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n")
        assert (await client.answer())[2] == b"early"
        await client.send(b"xx")
        assert await client.rest() == b""  # the idle connection ends with the keep-alive time


async def test_a_body_that_nobody_waits_for_may_not_take_for_ever(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(b"POST /early HTTP/1.1\r\nHost: test\r\nContent-Length: 1000\r\n\r\n")
        assert (await client.answer())[2] == b"early"
        sending = asyncio.create_task(client.send(*[b"x"] * 500))
        await server.connections(0)
        sending.cancel()


@pytest.mark.parametrize("parts", [1, 2])
async def test_an_upgrade_is_ignored_and_a_body_is_no_request(serve: Serve, parts: int) -> None:
    server = await serve()
    body = GET.replace(b"/echo", b"/smuggled")
    request = POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
    request += b"Content-Length: %d\r\n\r\n" % len(body)
    async with server.client() as client:
        await client.send(*([request + body[:9], body[9:] + GET] if parts == 2 else [request + body + GET]))
        assert (await client.answer())[2] == b"POST /echo " + body
        assert (await client.answer())[2] == b"GET /echo "
        await client.send(HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + GET)
        assert [(await client.answer())[0] for _ in range(2)] == [200, 200]
    assert "/smuggled" not in [scope["path"] for scope in server.app.scopes]


async def test_expect_100_continue(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"hello")
        assert (await client.answer())[2] == b"POST /echo hello"


async def test_a_defect_is_a_problem(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET.replace(b"/echo", b"/crash"))
        document = is_problem(await client.answer(), 500, "internal-error")
        assert "a defect" not in str(document).replace(document["detail"], "")
        assert await client.rest() == b""


async def test_a_request_cut_by_the_stop_of_the_server_is_503(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET.replace(b"/echo", b"/wait"))
        for task in server.state.tasks:
            task.cancel()
        answer = await client.answer()
        is_problem(answer, 503, "service-unavailable")
        assert answer[1]["retry-after"] == "1"


def shut_down(server: Server) -> None:
    """What uvicorn does when it stops; twice is not more than once."""
    for _ in range(2):
        for connection in list(server.state.connections):
            connection.shutdown()


async def test_stopping_an_idle_connection_leaves_time_for_one_more_request(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client, server.client() as silent:
        await client.send(GET)
        assert "connection" not in (await client.answer())[1]
        await server.connections(2)
        shut_down(server)
        await client.send(GET)
        status, headers, _ = await client.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.rest() == b""
        assert await silent.rest() == b""


async def test_stopping_lets_a_request_in_flight_finish(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET.replace(b"/echo", b"/wait"))
        shut_down(server)
        server.app.go_on.set()
        status, headers, body = await client.answer()
        assert (status, headers["connection"], body) == (200, "close", b"waited")
        assert await client.rest() == b""


async def test_stopping_does_not_wait_for_a_refused_client(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(b"nonsense\r\n\r\n")
        is_problem(await client.answer(), 400, "malformed-request")
        shut_down(server)
        await server.connections(0)


async def test_a_client_that_leaves_halfway(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET[:10])
    await server.connections(0)
    await asyncio.sleep(HTTP.header_timeout + 0.1)
    assert server.app.scopes == []
