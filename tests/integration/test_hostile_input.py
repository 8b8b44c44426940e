"""Hostile input is refused, with the right status and problem; nothing of it is stored, repeated, or a reason for a 500.

One row each: what is sent, and what it is answered. ``MARK`` stands in what is sent wherever it can, and nowhere in an answer.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from tests.conftest import Api, live, make_database, make_settings
from tests.integration.tools import check_problem, execute, send

MARK = "h0stile"
USERS, ITEMS, KEYS = "/api/v1/users", "/api/v1/items", "/api/v1/api-keys"
JSON, INVALID = (400, "malformed-json"), (422, "validation-failed")
GONE, TOO_LONG, UNREADABLE = (404, "not-found"), (414, "uri-too-long"), (400, "malformed-request")
TOO_LARGE, MEDIA, HEADERS = (413, "content-too-large"), (415, "unsupported-media-type"), (431, "headers-too-large")

type Refusal = tuple[int, str]


@dataclass(frozen=True)
class Row:
    """A request, and how it is refused."""

    name: str
    refusal: Refusal
    method: str = "GET"
    target: str = USERS
    body: bytes | None = None
    headers: list[tuple[str, str | bytes]] = field(default_factory=list)
    content_type: str | None = "application/json"
    hosts: tuple[str, ...] = ("api.test",)
    chunked: bool = False


def post(name: str, refusal: Refusal, body: str | bytes, target: str = USERS, **more: Any) -> Row:
    """A POST of a body."""
    return Row(name, refusal, "POST", target, body.encode() if isinstance(body, str) else body, **more)


def user(what: str, refusal: Refusal = INVALID, /, **members: str) -> Row:
    """A POST of a user, of which some members are other JSON texts."""
    texts = {"name": '"Ada"', "email": '"ada@example.com"', "age": "36"} | members
    return post(what, refusal, "{" + ", ".join(f'"{key}": {text}' for key, text in texts.items()) + "}")


def query(name: str, refusal: Refusal, text: str, target: str = USERS) -> Row:
    """A GET with a query."""
    return Row(name, refusal, target=f"{target}?{text}")


ROWS = [
    # Unicode
    user("a lone high surrogate", name=f'"{MARK}\\ud800"'),
    user("a lone low surrogate", name=f'"\\udc00{MARK}"'),
    user("a pair the wrong way round", name=f'"{MARK}\\udc00\\ud800"'),
    user("a surrogate before another escape", name=f'"{MARK}\\ud83d\\u0041"'),
    user("a surrogate in a list", name=f'["{MARK}", "\\ud800"]'),
    user("a surrogate deep down", name=f'{{"a": [{{"b": "{MARK}\\udfff"}}]}}'),
    post("a surrogate in a name", INVALID, f'{{"\\ud800{MARK}": 1}}'),
    post("a NUL below a name with a surrogate", INVALID, f'{{"\\ud800{MARK}": {{"a": "\\u0000"}}}}'),
    post("a surrogate in UTF-8", JSON, b'{"name": "\xed\xa0\x80"}'),
    post("a byte that is no UTF-8", JSON, b'{"name": "' + MARK.encode() + b'\xff"}'),
    post("an overlong NUL", JSON, b'{"name": "\xc0\x80"}'),
    post("UTF-8 cut short", JSON, b'{"name": "\xf0\x9f"}'),
    post("UTF-16", JSON, f'{{"name": "{MARK}"}}'.encode("utf-16")),
    post("UTF-16 without a mark", JSON, f'{{"name": "{MARK}"}}'.encode("utf-16-be")),
    post("UTF-32", JSON, f'{{"name": "{MARK}"}}'.encode("utf-32-le")),
    post("UTF-16 and said so", MEDIA, "{}".encode("utf-16"), content_type="application/json; charset=utf-16"),
    post("a byte order mark", JSON, b"\xef\xbb\xbf{}"),
    # NUL and other control characters
    user("NUL in a string", name=f'"{MARK}\\u0000"'),
    user("NUL in an e-mail address", email=f'"{MARK}\\u0000@example.com"'),
    user("NUL in a name of a member", **{"a\\u0000b": "1"}),
    post("NUL as a byte in a string", JSON, f'{{"name": "{MARK}\0"}}'),
    post("NUL as a byte between", JSON, b'{"name":\0"Ada"}'),
    post("a raw line break in a string", JSON, f'{{"name": "{MARK}\n"}}'),
    query("NUL in a filter", INVALID, f"name={MARK}%00&sort=name"),
    query("NUL in an address", INVALID, f"email={MARK}%00@example.com"),
    query("NUL in the name of a parameter", INVALID, f"{MARK}%00=1"),
    query("NUL in a number", INVALID, "limit=1%00"),
    query("NUL in a cursor", INVALID, f"cursor={MARK}%00"),
    Row("NUL in a path", GONE, target=f"{USERS}/1%00"),
    Row("NUL in a key", (401, "unauthorized"), headers=[("X-API-Key", b"gantry_\0")]),
    # Numbers
    user("NaN", JSON, age="NaN"),
    user("Infinity", JSON, age="Infinity"),
    user("-Infinity", JSON, age="-Infinity"),
    user("NaN in a list", JSON, name="[1, NaN]"),
    user("1e400", age="1e400"),
    user("-1e400", age="-1e400"),
    user("1e400 deep down", age='{"a": [1e400]}'),
    user("2**63", age="9223372036854775808"),
    user("2**64", age="18446744073709551616"),
    user("below -2**63", age="-9223372036854775809"),
    user("100,000 digits", age="7" * 100_000),
    user("100,000 digits in a list", name=f"[{'7' * 100_000}]"),
    post("an owner beyond 64 bits", INVALID, '{"name": "a", "owner_id": 9223372036854775808}', ITEMS),
    post("an owner that is no number of a row", INVALID, '{"name": "a", "owner_id": -1}', ITEMS),
    post("an overlap beyond all", INVALID, '{"overlap_seconds": 1e400}', f"{KEYS}/1/rotate"),
    query("a limit beyond 64 bits", INVALID, "limit=9223372036854775808"),
    query("a limit of 5,000 digits", INVALID, f"limit={'7' * 5_000}"),
    query("an owner beyond 64 bits in a filter", INVALID, "owner_id=9223372036854775808", ITEMS),
    query("a limit with a sign", INVALID, "limit=%2B1"),
    query("a limit with an underscore", INVALID, "limit=1_0"),
    query("a limit in full-width digits", INVALID, "limit=%EF%BC%91"),
    query("a limit as a float", INVALID, "limit=1e1"),
    query("an empty limit", INVALID, "limit="),
    Row("an id beyond 64 bits", GONE, target=f"{USERS}/9223372036854775808"),
    Row("an id of 9,000 digits", TOO_LONG, target=f"{USERS}/{'7' * 9_000}"),
    # Types
    user("a float for an integer", age="36.5"),
    user("a whole float for an integer", age="36.0"),
    user("an exponent for an integer", age="3e1"),
    user("a boolean for an integer", age="true"),
    user("a string for an integer", age='"36"'),
    user("null for an integer", age="null"),
    user("a list for an integer", age="[36]"),
    user("a negative age", age="-1"),
    user("an age of 151", age="151"),
    user("a number for a string", name="7777777"),
    user("an object for a string", name=f'{{"{MARK}": 1}}'),
    user("a list for an address", email=f'["{MARK}@example.com"]'),
    user("an unknown member", is_admin=f'"{MARK}"'),
    user("the id", id="7"),
    user("the version", version="7"),
    post("an array", INVALID, f'["{MARK}"]'),
    post("a string", INVALID, f'"{MARK}"'),
    post("a number", INVALID, "7777777"),
    post("null", INVALID, "null"),
    post("a boolean", INVALID, "true"),
    post("an empty object", INVALID, "{}"),
    post("nothing", INVALID, ""),
    post("white space", JSON, "   "),
    Row("null for a patch", INVALID, "PATCH", f"{USERS}/1", b"null"),
    Row("null for a member that can't be", INVALID, "PATCH", f"{USERS}/1", b'{"name": null}'),
    Row("the e-mail key in a patch", INVALID, "PATCH", f"{USERS}/1", f'{{"email_key": "{MARK}"}}'.encode()),
    Row("a list of patches", INVALID, "PATCH", f"{USERS}/1", b'[{"op": "replace"}]'),
    Row("a fate that is none", INVALID, "DELETE", f"{USERS}/1?items={MARK}"),
    post("a scope with a wildcard", INVALID, '{"name": "k", "scopes": ["*"]}', KEYS),
    post("a scope of another case", INVALID, '{"name": "k", "scopes": ["USERS:READ"]}', KEYS),
    post(
        "an end before all time",
        INVALID,
        '{"name": "k", "scopes": ["users:read"], "expires_at": "0001-01-01T00:00:00+23:59"}',
        KEYS,
    ),
    post(
        "an end after all time",
        INVALID,
        '{"name": "k", "scopes": ["users:read"], "expires_at": "+99999-01-01T00:00:00Z"}',
        KEYS,
    ),
    post("an end as a number", INVALID, '{"name": "k", "scopes": ["users:read"], "expires_at": 1e300}', KEYS),
    # Lengths
    user("an empty name", name='""'),
    user("a name of 201 characters", name=f'"{MARK}{"x" * 194}"'),
    user("a name of half a megabyte", name=f'"{MARK * 70_000}"'),
    user("an address of 10,000 characters", email=f'"{MARK * 1_400}@example.com"'),
    post("a description of 10,001 characters", INVALID, f'{{"name": "a", "description": "{"x" * 10_001}"}}', ITEMS),
    post("a name of a member of 100,000 characters", INVALID, f'{{"{MARK * 14_000}": 1}}'),
    query("a cursor of 5,000 characters", INVALID, f"cursor={MARK * 700}"),
    query("a filter of 201 characters", INVALID, f"name={'x' * 201}&sort=name"),
    # Addresses
    user("a header in an address", email=f'"ada@example.com\\r\\nBcc: {MARK}@example.com"'),
    user("a line break after an address", email=f'"{MARK}@example.com\\n"'),
    user("a name around an address", email=f'"Ada <{MARK}@example.com>"'),
    user("two addresses", email=f'"{MARK}@example.com,b@example.com"'),
    user("two at signs", email=f'"{MARK}@a@example.com"'),
    user("an address at a number", email=f'"{MARK}@[127.0.0.1]"'),
    user("an address at home", email=f'"{MARK}@localhost"'),
    user("an address that is none", email=f'"{MARK}"'),
    # Structure
    post("lists 900 deep", JSON, "[" * 900 + "]" * 900),
    post("lists 100,000 deep", JSON, "[" * 100_000 + "]" * 100_000),
    post("lists 100,000 deep and never closed", JSON, "[" * 100_000),
    post("objects 900 deep", JSON, '{"a":' * 900 + "1" + "}" * 900),
    post("objects 100,000 deep", JSON, '{"a":' * 100_000 + "1" + "}" * 100_000),
    post("a member twice", INVALID, f'{{"name": "Ada", "email": "a@example.com", "age": 1, "name": "{MARK}"}}'),
    post("a member twice deep down", INVALID, f'{{"name": {{"a": 1, "a": "{MARK}"}}}}'),
    post("a member twice in two spellings", INVALID, f'{{"name": "Ada", "n\\u0061me": "{MARK}"}}'),
    post("two documents", JSON, "{} {}"),
    post("a comma too many", JSON, f'{{"name": "{MARK}",}}'),
    post("JavaScript", JSON, f"{{name: '{MARK}'}}"),
    post("a comment", JSON, f"{{}} // {MARK}"),
    post("half a document", JSON, f'{{"name": "{MARK}'),
    post("a number that is none", JSON, '{"age": 01}'),
    # Bodies
    post("a body over the limit", TOO_LARGE, b" " * 1_048_577),
    post("a streamed body over the limit", TOO_LARGE, b" " * 1_048_577, chunked=True),
    post("a form", MEDIA, f"name={MARK}", content_type="application/x-www-form-urlencoded"),
    post("a file", MEDIA, f"--x\r\n\r\n{MARK}\r\n--x--", content_type="multipart/form-data; boundary=x"),
    post("no media type", MEDIA, "{}", content_type=None),
    post("a media type that is none", MEDIA, "{}", content_type=MARK),
    # Queries
    query("5,000 parameters", TOO_LONG, "a&" * 5_000),
    query("101 parameters", TOO_LONG, "&".join(["limit=1"] * 101)),
    query("a query of 9,000 bytes", TOO_LONG, f"name={'x' * 9_000}"),
    query("an unknown parameter", INVALID, f"filter={MARK}"),
    query("a cursor that is none", INVALID, f"cursor={MARK}"),
    query("a sort that is none", INVALID, f"sort={MARK}"),
    query("a filter that is no address", INVALID, f"email={MARK}"),
    query("an owner that is none", INVALID, f"owner_id={MARK}", ITEMS),
    query("a format that is none", INVALID, f"format={MARK}", f"{ITEMS}/export"),
    query("a byte that is no UTF-8 in a query", UNREADABLE, f"name={MARK}%FF&sort=name"),
    query("a surrogate in a query", UNREADABLE, "name=%ED%A0%80&sort=name"),
    query("a byte that is no UTF-8 in the name of a parameter", UNREADABLE, "%C0%80=1"),
    query("a raw byte in a query", UNREADABLE, "name=\u00e9&sort=name"),
    # Paths
    Row("a byte that is no UTF-8 in a path", GONE, target=f"{USERS}/%FF"),
    Row("a path upwards", GONE, target="/api/v1/users/../../../etc/passwd"),
    Row("an encoded path upwards", GONE, target="/docs/static/..%2f..%2f/documents.py"),
    Row("an id and more", GONE, target=f"{USERS}/1;{MARK}"),
    # Headers
    Row("a header of 40,000 bytes", HEADERS, headers=[("X-Test", MARK * 6_000)]),
    Row("500 headers", HEADERS, headers=[(f"X-Test-{n}", MARK) for n in range(500)]),
    Row("two hosts", UNREADABLE, hosts=("api.test", MARK)),
    Row("the same host twice", UNREADABLE, hosts=("api.test", "api.test")),
    Row("no host", UNREADABLE, hosts=()),
    Row("a version that is none", (412, "precondition-failed"), "DELETE", f"{USERS}/1", headers=[("If-Match", MARK)]),
    Row(
        "a version beyond 64 bits",
        (412, "precondition-failed"),
        "DELETE",
        f"{USERS}/1",
        headers=[("If-Match", f'"{2**64}"')],
    ),
    Row(
        "a version that is no ASCII",
        (412, "precondition-failed"),
        "DELETE",
        f"{USERS}/1",
        headers=[("If-Match", b'"\xff')],
    ),
    post("a retry key of 256 characters", INVALID, '{"name": "a"}', ITEMS, headers=[("Idempotency-Key", "x" * 256)]),
    post("a retry key that is no ASCII", INVALID, '{"name": "a"}', ITEMS, headers=[("Idempotency-Key", b"\xc3\xa9")]),
]


EVERYTHING = """
    SELECT 'user', u::text FROM users u UNION ALL SELECT 'item', i::text FROM items i
    UNION ALL SELECT 'key', id::text FROM api_keys UNION ALL SELECT 'secret', s::text FROM api_key_secrets s
    UNION ALL SELECT 'record', r::text FROM idempotency_records r
"""
"""All that could have changed."""


@dataclass(frozen=True)
class Target:
    """One application for all rows, since none of them changes anything, and what is stored."""

    api: Api
    database: psycopg.Connection
    stored: list[tuple[str, str]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target(worker_id: str) -> AsyncIterator[Target]:
    """An application on a database of its own, with a user."""
    url = make_database(f"hostile_{worker_id}")
    execute(url, "INSERT INTO users (name, email, email_key, age) VALUES ('a', 'a@b.c', 'a@b.c', 1)")
    async with live(make_settings(url)) as api:
        with psycopg.connect(url, autocommit=True) as connection:
            yield Target(api, connection, connection.execute(EVERYTHING).fetchall())


def test_the_table_is_a_table() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_hostile_input_is_refused(target: Target, row: Row) -> None:
    api = target.api
    headers: list[tuple[str, str | bytes]] = [("Host", host) for host in row.hosts]
    headers += (
        row.headers if any(name == "X-API-Key" for name, _ in row.headers) else [("X-API-Key", api.key), *row.headers]
    )
    if row.body is not None:
        headers.append(("Transfer-Encoding", "chunked") if row.chunked else ("Content-Length", str(len(row.body))))
        headers += [] if row.content_type is None else [("Content-Type", row.content_type)]
    middle = len(row.body or b"") // 2
    body: list[bytes | float] = [] if row.body is None else [row.body[:middle], row.body[middle:]]
    answer = await send(api, row.method, row.target, headers, body)
    check_problem(answer, *row.refusal)
    assert target.database.execute(EVERYTHING).fetchall() == target.stored
    assert MARK not in answer.text
    assert len(answer.content) < 2_000
    for number in ("7777777", "9223372036854775808", "18446744073709551616"):
        assert number not in answer.text
