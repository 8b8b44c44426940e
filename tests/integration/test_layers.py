"""The layers by themselves: what they do with answers that have begun, with work that is given up, and with time."""

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.testing import capture_logs

from app.api.middleware.body import BodyLimit
from app.api.middleware.deadline import Deadline
from app.api.middleware.errors import ErrorBoundary
from app.api.middleware.paths import Paths
from app.core.config import HttpSettings
from tests.conftest import Api


def scope(method: str = "GET", **state: Any) -> Scope:
    return {
        "type": "http",
        "method": method,
        "path": "/",
        "headers": [],
        "query_string": b"",
        "state": {"request_id": "r", "response_headers": [], **state},
    }


class Recorder:
    """A server's end: what was sent, and whether the client is told that the answer has begun."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.sent: list[Message] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.scope["state"]["response_started"] = True
        self.sent.append(message)

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def run(self, app: ASGIApp) -> None:
        await app(self.scope, self.receive, self.send)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status


async def start(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def test_an_answer_that_has_begun_is_not_cut() -> None:
    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        for n in range(3):
            await asyncio.sleep(0.05)
            await send({"type": "http.response.body", "body": b"%d" % n, "more_body": n < 2})

    recorder = Recorder(scope())
    await recorder.run(Deadline(stream, 0.05))
    assert b"".join(m.get("body", b"") for m in recorder.sent) == b"012"


@pytest.mark.parametrize("ending", [None, RuntimeError, asyncio.CancelledError])
async def test_work_that_is_given_up_may_end_as_it_likes(ending: type[BaseException] | None) -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # rolls back
            await start(send)  # nobody hears this
            await send({"type": "http.response.body", "body": b"too late"})
            if ending is not None:
                raise ending from None

    recorder = Recorder(scope())
    with capture_logs() as events:
        await recorder.run(ErrorBoundary(Deadline(stubborn, 0.05)))
    assert recorder.status == 503
    assert len(recorder.sent) == 2
    assert events == []
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_the_answer_does_not_wait_for_the_work_to_end() -> None:
    cancelled, answered = asyncio.Event(), asyncio.Event()

    async def slow_to_leave(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            cancelled.set()
            await answered.wait()
            raise

    recorder = Recorder(scope())
    request = asyncio.create_task(recorder.run(Deadline(slow_to_leave, 0.02)))
    await cancelled.wait()
    await asyncio.sleep(0.02)
    assert recorder.status == 503
    assert not request.done()
    answered.set()
    await request


@pytest.mark.parametrize("given_up", [False, True])
async def test_a_request_that_the_server_cancels_is_cancelled(given_up: bool) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            await asyncio.sleep(0.1)
            raise

    recorder = Recorder(scope())
    request = asyncio.create_task(recorder.run(Deadline(slow, 0.02 if given_up else 5)))
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert len(recorder.sent) == (2 if given_up else 0)


async def test_a_defect_after_the_answer_began_cuts_it() -> None:
    async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send)
        raise RuntimeError("halfway")

    recorder = Recorder(scope())
    with capture_logs() as events, pytest.raises(RuntimeError, match="halfway"):
        await recorder.run(ErrorBoundary(breaks))
    assert len(recorder.sent) == 1
    assert [event["event"] for event in events] == ["defect"]


async def test_a_body_has_no_more_time_than_the_setting_says() -> None:
    """The client's silence after its whole body is no slow body: a stream may wait for its disconnect."""

    async def waits(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass
        async with asyncio.timeout(0.2):
            await receive()

    messages: list[Message] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b"},
    ]

    async def receive() -> Message:
        if messages:
            return messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    recorder = Recorder(scope("POST"))
    layer = BodyLimit(waits, HttpSettings(body_timeout=0.05))
    with pytest.raises(TimeoutError):
        await layer(recorder.scope, receive, recorder.send)


async def test_what_is_no_http_passes_through() -> None:
    seen = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    settings = HttpSettings()
    for layer in (ErrorBoundary(inner), Deadline(inner, 1), Paths(inner), BodyLimit(inner, settings)):
        await Recorder({"type": "websocket"}).run(layer)
    assert seen == [{"type": "websocket"}] * 4


async def test_a_websocket_finds_nothing_here(api: Api) -> None:
    recorder = Recorder(
        {"type": "websocket", "path": "/api/v1/users", "headers": [], "query_string": b"", "root_path": ""}
    )
    await recorder.run(api)
    assert [message["type"] for message in recorder.sent] == ["websocket.close"]
