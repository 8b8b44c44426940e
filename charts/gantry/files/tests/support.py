"""What the scripts of `helm test` have in common. Standard library alone; what fails is said on the last line, and ends the pod with 1."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any, NamedTuple

PATIENCE = 60.0
"""Seconds in which something that needs a moment (a pod that starts, a network policy that is not yet in force) may come true."""


class Answer(NamedTuple):
    """A response, its headers by their lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def call(
    host: str, port: int, path: str, method: str = "GET", *, body: Any = None, headers: dict[str, str] | None = None
) -> Answer:
    """One request on a connection of its own. Raises ``OSError`` when there is no answer."""
    connection = HTTPConnection(host, port, timeout=10)
    try:
        sent = dict(headers or {})
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def api(path: str, method: str = "GET", *, body: Any = None, key: str | None = None, etag: str | None = None) -> Answer:
    """A request to the API's Service. The connection is tried until it is there; the request is sent once."""
    host, port = os.environ["TEST_API_HOST"], int(os.environ["TEST_API_PORT"])
    reach(host, port)
    headers = {name: value for name, value in (("X-API-Key", key), ("If-Match", etag)) if value is not None}
    return call(host, port, path, method, body=body, headers=headers)


def reach(host: str, port: int) -> None:
    """Return when a connection can be made."""
    eventually(lambda: socket.create_connection((host, port), timeout=3).close())


def addresses(host: str) -> list[str]:
    """Every address of a name: of a headless Service, that of each pod."""
    found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)})
    check(bool(found), f"{host} has no address")
    return found


def check(condition: bool, sentence: str) -> None:
    """Raise ``AssertionError`` unless ``condition``; not by `assert`, which an optimising interpreter leaves out."""
    if not condition:
        raise AssertionError(sentence)


def eventually[T](attempt: Callable[[], T]) -> T:
    """What ``attempt`` returns as soon as it raises neither ``OSError`` nor ``AssertionError``; after ``PATIENCE`` its error."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return attempt()
        except (OSError, AssertionError):
            if time.monotonic() >= end:
                raise
        time.sleep(1)


def gantry(*arguments: str) -> str:
    """Standard output of the command line; what it says when it fails is in the error."""
    done = subprocess.run(["gantry", *arguments], capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"gantry {' '.join(arguments[:2])} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@contextmanager
def api_key(*scopes: str) -> Iterator[str]:
    """A key that is revoked in the end, also on failure; should the pod be killed, it ends by itself after ten minutes."""
    name = f"helm-test-{secrets.token_hex(8)}"
    ends = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%SZ")
    options = [word for scope in scopes for word in ("--scope", scope)]
    try:
        # The first word with the database; a network policy may not be in force yet.
        yield eventually(lambda: gantry("keys", "create", "--name", name, "--expires-at", ends, *options)).strip()
    finally:
        for line in gantry("keys", "list").splitlines():
            fields = line.split("\t")
            if fields[1:2] == [name]:
                gantry("keys", "revoke", fields[0])


def check_problem(answer: Answer, status: int, what: str) -> None:
    """The answer is this refusal, in the form that all refusals have."""
    check(answer.status == status, f"{what}: expected {status}, got {answer.status}: {answer.body[:500]!r}")
    kind = answer.headers.get("content-type", "")
    check(kind.startswith("application/problem+json"), f"{what}: not a problem document but {kind!r}")
    check(answer.json()["status"] == status, f"{what}: the document's status is {answer.json()['status']}")


def passed(sentence: str) -> None:
    """Say what was found, in the pod's log."""
    sys.stdout.write(f"ok: {sentence}\n")
    sys.stdout.flush()
