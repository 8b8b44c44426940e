"""Conditional requests (RFC 9110 §13): nothing is sent again that the client has, and nothing changed that it has not seen."""

import asyncio
import itertools
from typing import Any

import httpx2
import psycopg
import pytest
import pytest_asyncio

from tests.conftest import Api
from tests.integration.make import ITEMS, USERS, make_item, make_user
from tests.integration.tools import blocked, check_problem, eventually, rows, send

HAS_IT = ['"1"', "*", " * ", 'W/"1"', '"7", "1"', '"x" ,\t"1"', 'W/"7",W/"1"', ',, "1" ,', '"a,b", "1"']
"""Values of ``If-None-Match`` that name version 1 of something."""

HAS_IT_NOT = ['"2"', '"01"', '"1 "', '""', 'W/"2"', '"2", "3"', "1", 'w/"1"', '"1" "2"', '"1', '*, "1"', "", ","]
"""Others, of which some are malformed: they are as good as none."""

ACCEPTS = ['"1"', "*", '"7", "1"', '"1",', 'W/"1", "1"', '"9223372036854775807", "1"']
"""Values of ``If-Match`` that accept version 1."""

ACCEPTS_NOT = [
    '"2"',
    'W/"1"',
    'W/"1", "2"',
    '"01"',
    "1",
    '"1" "1"',
    '"1',
    '*, "1"',
    "",
    ",",
    '"9223372036854775808"',
    ", ".join(f'"{version}"' for version in range(2, 3000)),
]
"""Others: another version, a weak tag, no tag at all."""


@pytest_asyncio.fixture(params=[USERS, ITEMS])
async def resource(request: pytest.FixtureRequest, client: httpx2.AsyncClient) -> str:
    """Where a resource of either kind is; it has version 1."""
    made = await (make_user(client) if request.param == USERS else make_item(client))
    return f"{request.param}/{made['id']}"


# --- If-None-Match ----------------------------------------------------------------------------------------------------


async def test_what_the_client_has_is_not_sent_again(
    client: httpx2.AsyncClient, resource: str, subtests: pytest.Subtests
) -> None:
    for method, header in itertools.product(("GET", "HEAD"), HAS_IT):
        with subtests.test(method=method, header=header):
            answer = await client.request(method, resource, headers={"If-None-Match": header})
            assert (answer.status_code, answer.content) == (304, b"")
            assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"1"', "private, no-cache")
            assert not {"content-type", "content-length", "transfer-encoding"} & set(answer.headers)


async def test_what_the_client_has_not_is_sent(
    client: httpx2.AsyncClient, resource: str, subtests: pytest.Subtests
) -> None:
    whole = (await client.get(resource)).json()
    for header in HAS_IT_NOT:
        with subtests.test(header=header):
            answer = await client.get(resource, headers={"If-None-Match": header})
            assert (answer.status_code, answer.json()) == (200, whole)
            assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"1"', "private, no-cache")


async def test_a_change_makes_a_tag_stale(client: httpx2.AsyncClient, resource: str) -> None:
    await client.patch(resource, json={"name": "new"})
    assert (await client.get(resource, headers={"If-None-Match": '"1"'})).status_code == 200
    assert (await client.get(resource, headers={"If-None-Match": '"2"'})).status_code == 304
    await client.delete(resource)
    for header in ('"2"', "*"):
        check_problem(await client.get(resource, headers={"If-None-Match": header}), 404, "not-found")


async def test_several_lines_of_a_header_are_one_list(api: Api, resource: str) -> None:
    key = [("host", "api.test"), ("x-api-key", api.key)]
    have = [("if-none-match", '"5"'), ("if-none-match", 'W/"1"')]
    assert (await send(api, "GET", resource, key + have)).status_code == 304
    broken = [("if-match", '"1"'), ("if-match", "x")]
    assert (await send(api, "DELETE", resource, key + broken)).status_code == 412
    accept = [("if-match", '"5"'), ("if-match", '"1"')]
    assert (await send(api, "DELETE", resource, key + accept)).status_code == 204


# --- If-Match ---------------------------------------------------------------------------------------------------------


async def test_a_change_of_the_version_that_was_seen(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    for header in ACCEPTS:
        with subtests.test(header=header):
            at = f"{USERS}/{(await make_user(client))['id']}"
            changed = await client.patch(at, json={"age": 1}, headers={"If-Match": header})
            assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
            now = header.replace('"1"', '"2"')
            assert (await client.delete(at, headers={"If-Match": now})).status_code == 204


async def test_a_change_of_another_version_is_refused(
    client: httpx2.AsyncClient, database_url: str, resource: str, subtests: pytest.Subtests
) -> None:
    before = (await client.get(resource)).json()
    changes: list[dict[str, Any]] = [{"name": "new"}, {}]
    for header in ACCEPTS_NOT:
        with subtests.test(header=header[:40]):
            for change in changes:
                answer = await client.patch(resource, json=change, headers={"If-Match": header})
                check_problem(answer, 412, "precondition-failed")
            for query in ("", "?items=release") if resource.startswith(USERS) else ("",):
                answer = await client.delete(resource + query, headers={"If-Match": header})
                check_problem(answer, 412, "precondition-failed")
            assert (await client.get(resource)).json() == before


async def test_a_read_can_be_bound_to_a_version_too(client: httpx2.AsyncClient, resource: str) -> None:
    for header in ACCEPTS:
        assert (await client.get(resource, headers={"If-Match": header})).status_code == 200
    for header in ACCEPTS_NOT:
        check_problem(await client.get(resource, headers={"If-Match": header}), 412, "precondition-failed")


async def test_a_change_of_what_must_not_exist_is_refused(client: httpx2.AsyncClient, resource: str) -> None:
    never = {"If-None-Match": "*"}
    before = (await client.get(resource)).json()
    check_problem(await client.patch(resource, json={"name": "x"}, headers=never), 412, "precondition-failed")
    check_problem(await client.delete(resource, headers=never), 412, "precondition-failed")
    assert (await client.get(resource)).json() == before
    gone = resource.rpartition("/")[0] + "/404"
    check_problem(await client.delete(gone, headers=never), 404, "not-found")


async def test_what_does_not_exist_has_no_version(client: httpx2.AsyncClient) -> None:
    for collection, header in itertools.product((USERS, ITEMS), [*ACCEPTS, *ACCEPTS_NOT]):
        at = f"{collection}/404"
        check_problem(await client.patch(at, json={"name": "x"}, headers={"If-Match": header}), 404, "not-found")
        check_problem(await client.delete(at, headers={"If-Match": header}), 404, "not-found")


async def test_a_body_that_is_invalid_is_named_before_the_version(client: httpx2.AsyncClient, resource: str) -> None:
    answer = await client.patch(resource, json={"name": ""}, headers={"If-Match": '"2"'})
    check_problem(answer, 422, "validation-failed")


# --- at the same moment -----------------------------------------------------------------------------------------------


async def test_of_two_changes_of_one_version_one_is_made(client: httpx2.AsyncClient, resource: str) -> None:
    for version in range(1, 26):
        seen = {"If-Match": f'"{version}"'}
        answers = await asyncio.gather(
            *(client.patch(resource, json={"name": name}, headers=seen) for name in ("one", "other"))
        )
        made, refused = sorted(answers, key=lambda answer: answer.status_code)
        check_problem(refused, 412, "precondition-failed")
        assert (made.status_code, made.headers["etag"]) == (200, f'"{version + 1}"')
        assert (await client.get(resource)).json() == made.json()


async def test_the_statement_that_changes_is_the_one_that_decides(
    client: httpx2.AsyncClient, database_url: str, resource: str
) -> None:
    """Whoever waits for another's change decides by what that change left, not by what was there when the wait began."""
    table, _, row_id = resource.removeprefix("/api/v1/").partition("/")
    seen = {"If-Match": '"1"'}
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute(f"UPDATE {table} SET version = 2 WHERE id = %s", [row_id])  # noqa: S608 - the test's words
        late = [
            asyncio.create_task(client.patch(resource, json={"name": "late"}, headers=seen)),
            asyncio.create_task(client.patch(resource, json={}, headers=seen)),
            asyncio.create_task(client.delete(resource, headers=seen)),
        ]
        if table == "users":
            late.append(asyncio.create_task(client.delete(resource, params={"items": "delete"}, headers=seen)))
        await eventually(lambda: len(blocked(database_url)) == len(late))
        await other.commit()
    for answer in await asyncio.gather(*late):
        check_problem(answer, 412, "precondition-failed")
    assert rows(database_url, table, "version") == [(2,)]


async def test_no_update_is_lost(client: httpx2.AsyncClient) -> None:
    """Read, add one, write back if nobody else did: in the end each success has counted."""
    at = f"{USERS}/{(await make_user(client, age=0))['id']}"

    async def add_one() -> None:
        while True:
            read = await client.get(at)
            change = {"age": read.json()["age"] + 1}
            answer = await client.patch(at, json=change, headers={"If-Match": read.headers["etag"]})
            if answer.status_code == 200:
                return
            check_problem(answer, 412, "precondition-failed")

    async def add_some() -> None:
        for _ in range(5):
            await add_one()

    async with asyncio.timeout(30):
        await asyncio.gather(*(add_some() for _ in range(4)))
    last = await client.get(at)
    assert (last.json()["age"], last.headers["etag"]) == (20, '"21"')


async def test_changes_without_a_condition_each_take_a_version(client: httpx2.AsyncClient, resource: str) -> None:
    answers = await asyncio.gather(*(client.patch(resource, json={"name": f"n{number}"}) for number in range(8)))
    assert sorted(int(answer.headers["etag"].strip('"')) for answer in answers) == list(range(2, 10))
    by_version = sorted(answers, key=lambda answer: int(answer.headers["etag"].strip('"')))
    times = [answer.json()["updated_at"] for answer in by_version]
    assert times == sorted(times)
    assert (await client.get(resource)).json() == by_version[-1].json()
