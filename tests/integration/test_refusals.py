"""Refusals that are easily forgotten: conditions on the other method, an encoded slash, very many members, a defect of the schema."""

import json
import time

import httpx2
import pytest

from tests.conftest import Api
from tests.integration.make import USERS, fresh_resources
from tests.integration.tools import check_problem, execute


async def test_if_match_holds_for_reads_and_if_none_match_for_writes(client: httpx2.AsyncClient) -> None:
    made = await client.post(USERS, json={"name": "Ada", "email": "a@example.com", "age": 1})
    where = made.headers["location"]
    check_problem(await client.get(where, headers={"If-Match": '"77"'}), 412, "precondition-failed")
    assert (await client.get(where, headers={"If-Match": '"77", "1"'})).status_code == 200
    star = {"If-None-Match": "*"}
    check_problem(await client.patch(where, json={"age": 2}, headers=star), 412, "precondition-failed")
    check_problem(await client.delete(where, headers=star), 412, "precondition-failed")
    check_problem(await client.patch(f"{USERS}/404", json={"age": 2}, headers=star), 404, "not-found")
    assert (await client.get(where)).json() == made.json()


async def test_an_encoded_slash_is_no_slash(client: httpx2.AsyncClient) -> None:
    places = await fresh_resources(client)
    for path in (f"{USERS}/{places['user_id']}%2F", f"{USERS}%2f{places['user_id']}"):
        check_problem(await client.get(path), 404, "not-found")


async def test_a_body_of_very_many_members_costs_little(client: httpx2.AsyncClient) -> None:
    body = json.dumps({f"k{n}": 1 for n in range(80_000)})
    started = time.process_time()
    answer = await client.post(USERS, content=body, headers={"Content-Type": "application/json"})
    (entry,) = check_problem(answer, 422, "validation-failed")["errors"]
    assert entry == {"in": "body", "pointer": "", "detail": "may have 100 members"}
    assert time.process_time() - started < 2.0


async def test_a_defect_of_the_schema_does_not_show_peoples_data(
    api: Api, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(database_url, "ALTER TABLE users RENAME age TO years")
    try:
        async with api.client() as client:
            answer = await client.post(USERS, json={"name": "Secret", "email": "pii@example.com", "age": 1})
        check_problem(answer, 500, "internal-error")
        logged = capsys.readouterr().out
        assert "UndefinedColumn" in logged
        assert "pii@" not in logged
        assert "Secret" not in logged
    finally:
        execute(database_url, "ALTER TABLE users RENAME years TO age")
