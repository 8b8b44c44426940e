"""``/items`` over the whole application and a real PostgreSQL, and what becomes of items when their owner is deleted."""

import asyncio
from datetime import datetime
from typing import Any

import httpx2
import psycopg
import pytest

from tests.conftest import live, make_settings
from tests.integration.make import ITEMS, NO_IDS, RFC_3339_UTC, USERS, make_item, make_user, pointers
from tests.integration.tools import blocked, check_problem, eventually, holding, rows, statements

FATES = pytest.mark.parametrize("fate", ["release", "delete"])


async def test_an_item_is_created_read_changed_and_deleted(client: httpx2.AsyncClient) -> None:
    owner = await make_user(client)
    made = await client.post(ITEMS, json={"name": "Engine", "description": "Bronze", "owner_id": owner["id"]})
    assert made.status_code == 201, made.text
    item = made.json()
    assert list(item) == ["id", "name", "description", "owner_id", "created_at", "updated_at"]
    assert (item["name"], item["description"], item["owner_id"]) == ("Engine", "Bronze", owner["id"])
    assert RFC_3339_UTC.fullmatch(item["created_at"])
    assert item["updated_at"] == item["created_at"]
    at = made.headers["location"]
    assert (at, made.headers["etag"]) == (f"{ITEMS}/{item['id']}", '"1"')
    assert made.headers["cache-control"] == "private, no-cache"

    read = await client.get(at)
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, item, '"1"')
    assert read.headers["cache-control"] == "private, no-cache"

    changed = await client.patch(at, json={"name": "Difference engine"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json() == item | {"name": "Difference engine", "updated_at": changed.json()["updated_at"]}
    assert datetime.fromisoformat(changed.json()["updated_at"]) > datetime.fromisoformat(item["updated_at"])

    gone = await client.delete(at)
    assert (gone.status_code, gone.content, gone.headers["cache-control"]) == (204, b"", "no-store")
    assert "content-type" not in gone.headers
    for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
        check_problem(await client.request(method, at, json=body), 404, "not-found")


async def test_an_item_needs_only_a_name(client: httpx2.AsyncClient) -> None:
    item = await make_item(client)
    assert (item["description"], item["owner_id"]) == (None, None)
    empty = await make_item(client, description="", owner_id=None)
    assert (empty["description"], empty["owner_id"]) == ("", None)


NO_ITEMS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "/name"),
    ({"name": None}, "/name"),
    ({"name": "x" * 201}, "/name"),
    ({"name": "a\0b"}, "/name"),
    ({"description": "x" * 10_001}, "/description"),
    ({"description": "\0"}, "/description"),
    ({"description": 7}, "/description"),
    ({"owner_id": 0}, "/owner_id"),
    ({"owner_id": 999}, "/owner_id"),
    ({"owner_id": 2**63 - 1}, "/owner_id"),
    ({"owner_id": 2**63}, "/owner_id"),
    ({"owner_id": "1"}, "/owner_id"),
    ({"owner_id": 1.0}, "/owner_id"),
    ({"owner_id": True}, "/owner_id"),
    ({"id": 7}, "/id"),
    ({"version": 7}, "/version"),
]


async def test_what_an_item_can_not_be(
    client: httpx2.AsyncClient, database_url: str, subtests: pytest.Subtests
) -> None:
    owner = await make_user(client)
    at = f"{ITEMS}/{(await make_item(client, owner_id=owner['id']))['id']}"
    for fields, pointer in NO_ITEMS:
        with subtests.test(fields=fields):
            new = {"name": "Engine"} | fields
            for answer in (await client.post(ITEMS, json=new), await client.patch(at, json=fields)):
                assert pointers(check_problem(answer, 422, "validation-failed")) == [("body", pointer)]
    assert rows(database_url, "items", "version, owner_id") == [(1, owner["id"])]


async def test_the_longest_texts_are_kept(client: httpx2.AsyncClient) -> None:
    name, description = "\U0001f600" * 200, "\U0010ffff" * 10_000
    item = await make_item(client, name=name, description=description)
    assert (await client.get(f"{ITEMS}/{item['id']}")).json() == item
    assert (item["name"], item["description"]) == (name, description)


async def test_null_clears_what_may_be_absent(client: httpx2.AsyncClient) -> None:
    owner = await make_user(client)
    item = await make_item(client, description="Bronze", owner_id=owner["id"])
    at = f"{ITEMS}/{item['id']}"
    cleared = await client.patch(at, json={"description": None})
    assert (cleared.json()["description"], cleared.json()["owner_id"]) == (None, owner["id"])
    cleared = await client.patch(at, json={"owner_id": None})
    assert (cleared.json()["owner_id"], cleared.headers["etag"]) == (None, '"3"')
    untouched = await client.patch(at, json={})
    assert (untouched.json(), untouched.headers["etag"]) == (cleared.json(), '"3"')


async def test_what_is_no_id_names_no_item(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    item = await make_item(client)
    for no_id in NO_IDS:
        with subtests.test(no_id=no_id):
            for method, body in (("GET", None), ("PATCH", {"name": "x"}), ("DELETE", None)):
                check_problem(await client.request(method, f"{ITEMS}/{no_id}", json=body), 404, "not-found")
    assert (await client.get(ITEMS)).json()["items"] == [item]


async def test_one_trailing_slash_is_the_same_resource(client: httpx2.AsyncClient) -> None:
    made = await client.post(f"{ITEMS}/", json={"name": "Engine"})
    at = f"{ITEMS}/{made.json()['id']}/"
    assert (await client.get(at)).json() == made.json()
    assert (await client.get(f"{ITEMS}/")).json()["items"] == [made.json()]
    assert (await client.get(f"{ITEMS}/export/", params={"format": "ndjson"})).json() == made.json()
    assert (await client.delete(at)).status_code == 204


# --- the owner goes ---------------------------------------------------------------------------------------------------


async def test_an_owner_of_items_stays_unless_their_fate_is_said(client: httpx2.AsyncClient, database_url: str) -> None:
    owner = await make_user(client)
    await make_item(client, owner_id=owner["id"])
    at = f"{USERS}/{owner['id']}"
    check_problem(await client.delete(at), 409, "items-owned")
    for query, pointer in (
        ("items=keep", "/items"),
        ("items=release&items=delete", "/items"),
        ("item=delete", "/item"),
    ):
        problem = check_problem(await client.delete(f"{at}?{query}"), 422, "validation-failed")
        assert pointers(problem) == [("query", pointer)]
    assert (await client.get(at)).status_code == 200
    assert rows(database_url, "items", "version, owner_id") == [(1, owner["id"])]


@FATES
async def test_items_are_dealt_with_in_batches(database_url: str, fate: str) -> None:
    settings = make_settings(database_url, items={"release_batch": 3, "release_max": 100})
    async with live(settings) as api, api.client() as client:
        owner, other = await make_user(client), await make_user(client)
        theirs = [await make_item(client, owner_id=owner["id"]) for _ in range(7)]
        kept = [await make_item(client, owner_id=other["id"]), await make_item(client)]
        with statements() as seen:
            gone = await client.delete(f"{USERS}/{owner['id']}", params={"items": fate})
        assert (gone.status_code, gone.content) == (204, b"")
        change = "UPDATE items" if fate == "release" else "DELETE FROM items"
        assert len([statement for statement in seen if change in statement]) == 3  # 3 + 3 + 1
        assert (await client.get(f"{USERS}/{owner['id']}")).status_code == 404

        left = {item["id"]: item for item in (await client.get(ITEMS)).json()["items"]}
        if fate == "release":
            for item in theirs:
                now = left.pop(item["id"])
                assert now == item | {"owner_id": None, "updated_at": now["updated_at"]}
                assert datetime.fromisoformat(now["updated_at"]) > datetime.fromisoformat(item["updated_at"])
                assert (await client.get(f"{ITEMS}/{item['id']}")).headers["etag"] == '"2"'
        assert list(left.values()) == kept
        assert sorted(rows(database_url, "items", "version"))[:2] == [(1,), (1,)]


@FATES
@pytest.mark.parametrize("batch", [4, 5])
async def test_there_is_a_most_items_one_deletion_touches(database_url: str, fate: str, batch: int) -> None:
    settings = make_settings(database_url, items={"release_batch": batch, "release_max": 5})
    async with live(settings) as api, api.client() as client:
        owner = await make_user(client)
        for _ in range(6):
            item = await make_item(client, owner_id=owner["id"])
        at = f"{USERS}/{owner['id']}"
        before = rows(database_url, "items")
        problem = check_problem(await client.delete(at, params={"items": fate}), 409, "too-many-items")
        assert "5" in problem["detail"]
        assert rows(database_url, "items") == before

        assert (await client.delete(f"{ITEMS}/{item['id']}")).status_code == 204
        assert (await client.delete(at, params={"items": fate})).status_code == 204
        assert rows(database_url, "items", "owner_id, version") == ([(None, 2)] * 5 if fate == "release" else [])


@FATES
async def test_the_owners_version_decides_about_the_items_too(
    client: httpx2.AsyncClient, database_url: str, fate: str
) -> None:
    owner = await make_user(client)
    await make_item(client, owner_id=owner["id"])
    at = f"{USERS}/{owner['id']}"
    answer = await client.delete(at, params={"items": fate}, headers={"If-Match": '"2"'})
    check_problem(answer, 412, "precondition-failed")
    assert rows(database_url, "items", "version, owner_id") == [(1, owner["id"])]
    assert (await client.delete(at, params={"items": fate}, headers={"If-Match": '"1"'})).status_code == 204


async def test_a_fate_for_no_items_is_no_mistake(client: httpx2.AsyncClient) -> None:
    for fate in ("release", "delete"):
        owner = await make_user(client)
        assert (await client.delete(f"{USERS}/{owner['id']}", params={"items": fate})).status_code == 204


# --- at the same moment -----------------------------------------------------------------------------------------------


@FATES
async def test_an_item_that_is_just_being_made_is_waited_for(
    client: httpx2.AsyncClient, database_url: str, fate: str
) -> None:
    owner = await make_user(client)
    async with await psycopg.AsyncConnection.connect(database_url) as other:
        await other.execute("INSERT INTO items (name, owner_id) VALUES ('late', %s)", [owner["id"]])
        deletion = asyncio.create_task(client.delete(f"{USERS}/{owner['id']}", params={"items": fate}))
        await eventually(lambda: blocked(database_url))
        await other.commit()
    assert (await deletion).status_code == 204
    assert rows(database_url, "items", "owner_id, version") == ([(None, 2)] if fate == "release" else [])


@FATES
async def test_no_item_comes_to_an_owner_who_is_just_being_deleted(
    client: httpx2.AsyncClient, database_url: str, fate: str
) -> None:
    owner = await make_user(client)
    item = await make_item(client, owner_id=owner["id"])
    stray = await make_item(client)
    async with holding(database_url, "SELECT FROM items WHERE id = %s FOR UPDATE", item["id"]):
        deletion = asyncio.create_task(client.delete(f"{USERS}/{owner['id']}", params={"items": fate}))
        await eventually(lambda: blocked(database_url))
        late = [
            asyncio.create_task(client.post(ITEMS, json={"name": "late", "owner_id": owner["id"]})),
            asyncio.create_task(client.patch(f"{ITEMS}/{stray['id']}", json={"owner_id": owner["id"]})),
        ]
        await eventually(lambda: len(blocked(database_url)) == 3)
    assert (await deletion).status_code == 204
    for answer in await asyncio.gather(*late):
        assert pointers(check_problem(answer, 422, "validation-failed")) == [("body", "/owner_id")]
    assert (stray["id"], None, 1) in rows(database_url, "items", "id, owner_id, version")


@FATES
async def test_an_item_that_is_just_given_away_is_left_alone(
    client: httpx2.AsyncClient, database_url: str, fate: str
) -> None:
    owner, other = await make_user(client), await make_user(client)
    item = await make_item(client, owner_id=owner["id"])
    async with await psycopg.AsyncConnection.connect(database_url) as transaction:
        await transaction.execute(
            "UPDATE items SET owner_id = %s, version = 2 WHERE id = %s", [other["id"], item["id"]]
        )
        deletion = asyncio.create_task(client.delete(f"{USERS}/{owner['id']}", params={"items": fate}))
        await eventually(lambda: blocked(database_url))
        await transaction.commit()
    assert (await deletion).status_code == 204
    assert rows(database_url, "items", "owner_id, version") == [(other["id"], 2)]


async def test_a_storm_around_one_owner_leaves_no_item_without_one(database_url: str) -> None:
    settings = make_settings(database_url, items={"release_batch": 2, "release_max": 100})
    async with live(settings) as api, api.client() as client:
        for turn in range(6):
            fate = ("release", "delete")[turn % 2]
            owner = await make_user(client)
            at = f"{USERS}/{owner['id']}"
            first = await asyncio.gather(*(make_item(client, owner_id=owner["id"]) for _ in range(5)))
            answers = await asyncio.gather(
                *(client.post(ITEMS, json={"name": "late", "owner_id": owner["id"]}) for _ in range(4)),
                client.delete(at, params={"items": fate}),
                client.patch(f"{ITEMS}/{first[0]['id']}", json={"name": "new"}),
                client.delete(at, params={"items": fate}),
                client.patch(at, json={"age": 1}),
                *(client.post(ITEMS, json={"name": "late", "owner_id": owner["id"]}) for _ in range(4)),
            )
            assert {answer.status_code for answer in answers} <= {200, 201, 204, 404, 422}
            assert [answer.status_code for answer in answers].count(204) == 1
            assert (await client.get(at)).status_code == 404
    assert rows(database_url, "items WHERE owner_id IS NOT NULL") == []
