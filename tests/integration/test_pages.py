"""The lists: their order, their limits, cursors and links, and what their filters find."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import psycopg
import pytest
from pydantic import SecretStr

from app.services.pages import Sort
from tests.conftest import CURSOR_KEY, PEPPER, live, make_settings
from tests.integration.make import ITEMS, USERS, make_item, make_user, pointers
from tests.integration.tools import check_problem

BOTH_LISTS = (USERS, ITEMS)

NAMES = ["a", "B", "b", "a", "Z", "é", "e\u0301", "ab", "a b", "a", "\U0001f600", "\uffff", "~", "ß", "b"]
"""Some equal, some that a locale would sort otherwise, some beyond 16 bits."""


def insert_users(url: str, names: Sequence[str]) -> None:
    """Users with these names, and a time of creation that three each have in common."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with psycopg.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO users (name, email, email_key, age, created_at) VALUES (%s, %s, %s, 1, %s)",
            [
                (name, f"{number}@example.com", f"{number}@example.com", start - timedelta(seconds=number // 3))
                for number, name in enumerate(names)
            ],
        )


def in_order(rows: Sequence[dict[str, Any]], sort: Sort) -> list[dict[str, Any]]:
    """What the order means, in Python: by code point, by time, by number; ties by id, in the same direction."""
    return sorted(rows, key=lambda row: (row[sort.column], row["id"]), reverse=sort.descending)


async def walk(client: httpx2.AsyncClient, path: str, **query: Any) -> list[list[dict[str, Any]]]:
    """All pages of a list, by their links."""
    pages = []
    answer = await client.get(path, params=query)
    while True:
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert list(page) == ["items", "next_cursor"]
        pages.append(page["items"])
        if page["next_cursor"] is None:
            assert "link" not in answer.headers
            return pages
        target = answer.headers["link"].removeprefix("<").removesuffix('>; rel="next"')
        assert answer.headers["link"] == f'<{target}>; rel="next"'
        assert dict(httpx2.URL(target).params) == {k: str(v) for k, v in query.items()} | {
            "cursor": page["next_cursor"]
        }
        answer = await client.get(target)


# --- order and pages --------------------------------------------------------------------------------------------------


async def test_pages_put_together_are_the_list(
    client: httpx2.AsyncClient, database_url: str, subtests: pytest.Subtests
) -> None:
    insert_users(database_url, NAMES)
    for sort, limit in itertools.product(Sort, [1, 4, 5, 15, 100]):
        with subtests.test(sort=sort, limit=limit):
            pages = await walk(client, USERS, sort=sort.value, limit=limit)
            assert [len(page) for page in pages[:-1]] == [limit] * (len(pages) - 1)
            assert 1 <= len(pages[-1]) <= limit
            found = [row for page in pages for row in page]
            assert len(found) == len(NAMES)
            assert found == in_order(found, sort)


async def test_an_empty_list_is_one_page(client: httpx2.AsyncClient) -> None:
    for path in BOTH_LISTS:
        answer = await client.get(path)
        assert (answer.status_code, answer.json()) == (200, {"items": [], "next_cursor": None})
        assert answer.headers["cache-control"] == "private, no-cache"
        assert answer.headers["content-type"] == "application/json"
        assert "link" not in answer.headers


async def test_a_page_has_20_rows_in_the_order_of_ids_unless_told(
    client: httpx2.AsyncClient, database_url: str
) -> None:
    insert_users(database_url, ["x"] * 21)
    page = (await client.get(USERS)).json()
    assert [row["id"] for row in page["items"]] == list(range(1, 21))
    assert page["next_cursor"] is not None


NO_LIMITS = ["0", "101", "-1", "1_0", "+5", "5.0", " 5", "abc", "", "٣", "9" * 30]
NO_SORTS = ["age", "ID", "+id", "--id", "", "id,name", "email", "owner_id", "version"]
NO_PARAMETERS = ["page", "Limit", "offset", "owner", "age", "description"]


async def test_what_a_list_can_not_be_asked(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    queries = [({"limit": limit}, "/limit") for limit in NO_LIMITS]
    queries += [({"sort": sort}, "/sort") for sort in NO_SORTS]
    queries += [({name: "1"}, f"/{name}") for name in NO_PARAMETERS]
    for path, (query, pointer) in itertools.product(BOTH_LISTS, queries):
        with subtests.test(path=path, query=query):
            problem = check_problem(await client.get(path, params=query), 422, "validation-failed")
            assert pointers(problem) == [("query", pointer)]
    for path in BOTH_LISTS:
        problem = check_problem(await client.get(f"{path}?limit=1&sort=id&limit=1"), 422, "validation-failed")
        assert pointers(problem) == [("query", "/limit")]


# --- cursors ----------------------------------------------------------------------------------------------------------


async def first_cursor(client: httpx2.AsyncClient, path: str, **query: Any) -> str:
    """The cursor of the first page, which there must be."""
    cursor = (await client.get(path, params={"limit": 1} | query)).json()["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


async def refused(client: httpx2.AsyncClient, path: str, **query: Any) -> None:
    """Assert that the list does not take the cursor."""
    problem = check_problem(await client.get(path, params=query), 422, "validation-failed")
    assert pointers(problem) == [("query", "/cursor")]


async def test_a_cursor_belongs_to_its_order(client: httpx2.AsyncClient, database_url: str) -> None:
    insert_users(database_url, ["a", "b", "c"])
    for sort, other in itertools.product(Sort, Sort):
        cursor = await first_cursor(client, USERS, sort=sort.value)
        if other is sort:
            answer = await client.get(USERS, params={"cursor": cursor, "sort": sort.value, "limit": 100})
            assert len(answer.json()["items"]) == 2  # another limit is no other list
        else:
            await refused(client, USERS, cursor=cursor, sort=other.value)


async def test_a_cursor_belongs_to_its_list_and_filters(client: httpx2.AsyncClient) -> None:
    owner, other = await make_user(client), await make_user(client)
    for _ in range(2):
        await make_item(client, owner_id=owner["id"])
        await make_item(client, owner_id=other["id"])
    cursor = await first_cursor(client, ITEMS, owner_id=owner["id"])
    await refused(client, ITEMS, cursor=cursor)
    await refused(client, ITEMS, cursor=cursor, owner_id=other["id"])
    await refused(client, USERS, cursor=cursor)
    await refused(client, "/api/v1/api-keys", cursor=cursor)
    await refused(client, ITEMS, cursor=await first_cursor(client, USERS))

    named = await first_cursor(client, ITEMS, name="En", sort="name")
    await refused(client, ITEMS, cursor=named, name="Eng", sort="name")
    await refused(client, ITEMS, cursor=named, sort="name")
    await refused(client, ITEMS, cursor=named, name="En", sort="name", owner_id=owner["id"])


async def test_a_cursor_that_was_tampered_with(client: httpx2.AsyncClient, database_url: str) -> None:
    insert_users(database_url, ["a", "b", "c"])
    cursor = await first_cursor(client, USERS)
    for place in range(len(cursor)):
        changed = "A" if cursor[place] != "A" else "B"
        await refused(client, USERS, cursor=cursor[:place] + changed + cursor[place + 1 :])
    for wrong in ("", "0", cursor[:-1], cursor + "A", cursor + "=", "\ud7ff", "x" * 4097, f" {cursor}"):
        await refused(client, USERS, cursor=wrong)


async def test_cursors_outlive_a_change_of_key(database_url: str) -> None:
    insert_users(database_url, ["a", "b", "c"])
    new, unknown = SecretStr("new-" + "1" * 32), SecretStr("unknown-" + "2" * 32)

    def signed_by(*keys: SecretStr) -> Any:
        return make_settings(database_url, security={"key_peppers": [PEPPER], "cursor_keys": keys})

    async with live(signed_by(CURSOR_KEY)) as before, before.client() as client:
        old_cursor = await first_cursor(client, USERS)
    async with live(signed_by(unknown)) as elsewhere, elsewhere.client() as client:
        foreign_cursor = await first_cursor(client, USERS)
    async with live(signed_by(new, CURSOR_KEY)) as now, now.client() as client:
        page = await client.get(USERS, params={"cursor": old_cursor})
        assert [row["id"] for row in page.json()["items"]] == [2, 3]
        new_cursor = await first_cursor(client, USERS)
        assert new_cursor != old_cursor
        await refused(client, USERS, cursor=foreign_cursor)
    async with live(signed_by(new)) as after, after.client() as client:
        assert (await client.get(USERS, params={"cursor": new_cursor})).status_code == 200
        await refused(client, USERS, cursor=old_cursor)


async def test_the_longest_name_fits_into_a_cursor_and_a_link(client: httpx2.AsyncClient) -> None:
    for name in ("\U0010ffff" * 200, "\x01" * 200, '"\\' * 100):
        for _ in range(2):
            await make_item(client, name=name)
        pages = await walk(client, ITEMS, sort="name", limit=1, name=name)
        assert [row["name"] for page in pages for row in page] == [name] * 2


# --- filters ----------------------------------------------------------------------------------------------------------


async def test_an_address_finds_its_user_in_any_case_and_order(client: httpx2.AsyncClient) -> None:
    user = await make_user(client, email="Ada@example.com")
    await make_user(client)
    for sort in Sort:
        for email in ("ada@example.com", "ADA@Example.COM"):
            found = await client.get(USERS, params={"email": email, "sort": sort.value})
            assert found.json() == {"items": [user], "next_cursor": None}
    assert (await client.get(USERS, params={"email": "nobody@example.com"})).json()["items"] == []
    problem = check_problem(await client.get(USERS, params={"email": "ada"}), 422, "validation-failed")
    assert pointers(problem) == [("query", "/email")]
    both = {"email": "ada@example.com", "sort": "-name", "name": "Ad"}
    assert (await client.get(USERS, params=both)).json()["items"] == [user]
    assert (await client.get(USERS, params=both | {"name": "Bd"})).json()["items"] == []


async def test_an_owner_finds_their_items_in_any_order(client: httpx2.AsyncClient) -> None:
    owner, other = await make_user(client), await make_user(client)
    theirs = []
    for name in NAMES:
        theirs.append(await make_item(client, name=name, owner_id=owner["id"]))
        await make_item(client, name=name, owner_id=other["id"])
        await make_item(client, name=name)
    for sort in Sort:
        pages = await walk(client, ITEMS, sort=sort.value, owner_id=owner["id"], limit=4)
        assert [row for page in pages for row in page] == in_order(theirs, sort)
    begin_so = [item for item in theirs if item["name"].startswith("a")]
    for sort in (Sort.name, Sort.name_descending):
        pages = await walk(client, ITEMS, sort=sort.value, owner_id=owner["id"], name="a", limit=2)
        assert [row for page in pages for row in page] == in_order(begin_so, sort)


async def test_an_owner_who_has_none_or_does_not_exist(client: httpx2.AsyncClient) -> None:
    await make_item(client)
    for owner in (1, 2**63 - 1):
        assert (await client.get(ITEMS, params={"owner_id": owner})).json()["items"] == []
    for owner_id in ("0", "-1", "+1", "1.0", "1_0", "x", "", str(2**63)):
        problem = check_problem(await client.get(ITEMS, params={"owner_id": owner_id}), 422, "validation-failed")
        assert pointers(problem) == [("query", "/owner_id")]


async def test_a_name_prefix_goes_with_the_order_of_names(client: httpx2.AsyncClient) -> None:
    for path, sort in itertools.product(BOTH_LISTS, Sort):
        answer = await client.get(path, params={"name": "a", "sort": sort.value})
        if sort.column == "name":
            assert answer.status_code == 200
        else:
            assert pointers(check_problem(answer, 422, "validation-failed")) == [("query", "/sort")]


async def test_a_name_prefix_is_a_possible_beginning_of_a_name(client: httpx2.AsyncClient) -> None:
    for path, prefix in itertools.product(BOTH_LISTS, ("", "x" * 201, "a\0")):
        query = {"name": prefix, "sort": "name"}
        problem = check_problem(await client.get(path, params=query), 422, "validation-failed")
        assert pointers(problem) == [("query", "/name")]
    pattern = await make_item(client, name="100%_\\")
    await make_item(client, name="100x")
    for prefix in ("100%", "100%_", "100%_\\"):
        assert (await client.get(ITEMS, params={"name": prefix, "sort": "name"})).json()["items"] == [pattern]
