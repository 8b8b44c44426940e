"""The guard on the public port: what is refused, how, and how long it waits for the rest of a request."""

import asyncio
import logging

import pytest

from tests.unit.server.guarded import GET, HEAD, HTTP, POST, Serve, is_problem

REFUSED = {
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed-request"),
    "preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed-request"),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\nHost: test\r\n\r\n", 400, "malformed-request"),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400, "malformed-request"),
    "unknown method": (b"FETCH / HTTP/1.1\r\nHost: test\r\n\r\n", 400, "malformed-request"),
    "bare line feeds": (b"GET / HTTP/1.1\nHost: test\n\n", 400, "malformed-request"),
    "a folded header": (HEAD + b"A: b\r\n c\r\n\r\n", 400, "malformed-request"),
    "a space before the colon": (HEAD + b"A : b\r\n\r\n", 400, "malformed-request"),
    "a NUL in a header": (HEAD + b"A: b\x00c\r\n\r\n", 400, "malformed-request"),
    "a target that is not ASCII": (b"GET /\xff HTTP/1.1\r\nHost: test\r\n\r\n", 400, "malformed-request"),
    "a target without a slash": (b"GET x/y HTTP/1.1\r\nHost: test\r\n\r\n", 400, "malformed-request"),
    "a tunnel": (b"CONNECT test:443 HTTP/1.1\r\nHost: test\r\n\r\n", 400, "malformed-request"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed-request"),
    "two hosts": (HEAD + b"Host: test\r\n\r\n", 400, "malformed-request"),
    "two hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "malformed-request"),
    "length and coding": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed-request"),
    "coding and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n", 400, "malformed-request"),
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n", 400, "malformed-request"),
    "a length that is none": (POST + b"Content-Length: +3\r\n\r\n", 400, "malformed-request"),
    "a length beyond 64 bits": (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400, "malformed-request"),
    "another coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 400, "malformed-request"),
    "a coding twice": (POST + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n", 400, "malformed-request"),
    "a coding in HTTP/1.0": (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "malformed-request"),
    "a chunked body for another protocol": (
        POST + b"Connection: upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
        "malformed-request",
    ),
    "many headers": (HEAD + b"A: b\r\n" * 20 + b"\r\n", 431, "headers-too-large"),
    "large headers": (
        HEAD + b"".join(b"A%d: %s\r\n" % (i, b"x" * 500) for i in range(4)) + b"\r\n",
        431,
        "headers-too-large",
    ),
    "a header without an end": (HEAD + b"A: " + b"x" * 2_100, 431, "headers-too-large"),
    "a header name without an end": (HEAD + b"A" * 2_100, 431, "headers-too-large"),
    "a long target": (b"GET /" + b"x" * 200 + b" HTTP/1.1\r\nHost: test\r\n\r\n", 414, "uri-too-long"),
    "a target without an end": (b"GET /?" + b"x" * 200, 414, "uri-too-long"),
}


@pytest.mark.parametrize(("request_bytes", "status", "slug"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("parts", [1, 3])
async def test_refused(serve: Serve, request_bytes: bytes, status: int, slug: str, parts: int) -> None:
    server = await serve()
    size = -(-len(request_bytes) // parts)
    async with server.client() as client:
        await client.send(*(request_bytes[i : i + size] for i in range(0, len(request_bytes), size)))
        is_problem(await client.answer(), status, slug)
        assert await client.rest() == b""
    assert server.app.scopes == []


async def test_a_header_sent_bit_by_bit_is_refused_at_its_limit(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(HEAD + b"A: ", *[b"x" * 300] * 8)
        is_problem(await client.answer(), 431, "headers-too-large")


async def test_limits_are_exact(serve: Serve) -> None:
    server = await serve()
    lines = len(b"host") + len(b"test") + 4 + len(b"a") + 4
    largest = HEAD + b"A: " + b"x" * (HTTP.max_header_bytes - lines)
    most = HEAD + b"A: b\r\n" * (HTTP.max_headers - 1)
    longest = b"GET /" + b"x" * (HTTP.max_target_bytes - 1)
    async with server.client() as client:
        for allowed in (largest + b"\r\n\r\n", most + b"\r\n", longest + b" HTTP/1.1\r\nHost: test\r\n\r\n"):
            await client.send(allowed)
            assert (await client.answer())[0] == 200
    for refused in (largest + b"x\r\n\r\n", most + b"A: b\r\n\r\n", longest + b"x HTTP/1.1\r\nHost: test\r\n\r\n"):
        async with server.client() as client:
            await client.send(refused)
            assert (await client.answer())[0] in (414, 431)


async def test_the_refusal_is_logged_with_its_id(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    server = await serve()
    with caplog.at_level(logging.INFO, "uvicorn.error"):
        async with server.client() as client:
            await client.send(b"nonsense\r\n\r\n")
            document = is_problem(await client.answer(), 400, "malformed-request")
    assert document["instance"] in caplog.text
    assert "nonsense" not in caplog.text


async def test_head_is_refused_without_a_body(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(b"HEAD / HTTP/1.1\r\n\r\n")
        head = await client.rest()
    assert head.startswith(b"HTTP/1.1 400 ")
    assert head.endswith(b"\r\n\r\n")


async def test_a_refused_client_that_goes_on_sending_reads_the_refusal(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        for _ in range(64):
            client.writer.write(HEAD + b"A: " + b"x" * 65_536)
            await client.writer.drain()
        is_problem(await client.answer(), 431, "headers-too-large")
        assert await client.rest() == b""
    await server.connections(0)


async def test_a_head_that_is_too_slow(serve: Serve) -> None:
    server = await serve()
    started = asyncio.get_running_loop().time()
    async with server.client() as client:
        sending = asyncio.create_task(client.send(HEAD + b"A: ", *[b"x"] * 500))
        is_problem(await client.answer(), 408, "request-timeout")
        assert 0.35 < asyncio.get_running_loop().time() - started < 5
        sending.cancel()
    assert server.app.scopes == []


async def test_a_slow_head_that_makes_it_in_time(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET[:5], GET[5:9], GET[9:])
        assert (await client.answer())[0] == 200
        await asyncio.sleep(HTTP.header_timeout + 0.1)
        await client.send(GET)
        assert (await client.answer())[0] == 200


@pytest.mark.parametrize("noise", [b"", b"\r\n"])
async def test_a_client_that_says_nothing_is_hung_up_on(serve: Serve, noise: bytes) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(noise)
        assert await client.rest() == b""


async def test_empty_lines_do_not_keep_a_connection(serve: Serve) -> None:
    server = await serve()
    async with server.client() as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200
        sending = asyncio.create_task(client.send(*[b"\r\n"] * 200))
        await server.connections(0)
        sending.cancel()


async def test_an_idle_connection_is_kept_for_the_keep_alive_time(serve: Serve) -> None:
    server = await serve(keepalive=1)
    async with server.client() as client:
        await client.send(GET)
        assert (await client.answer())[0] == 200
        await asyncio.sleep(HTTP.header_timeout + 0.2)
        await client.send(GET)
        assert (await client.answer())[0] == 200
        assert await client.rest() == b""
