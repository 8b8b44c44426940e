"""``/users`` over the whole application and a real PostgreSQL."""

import asyncio
import itertools
from datetime import datetime
from typing import Any

import httpx2
import pytest

from tests.integration.make import NO_IDS, RFC_3339_UTC, USERS, make_user, pointers
from tests.integration.tools import ADA, check_problem, rows

METHODS: list[tuple[str, dict[str, Any] | None]] = [
    ("GET", None),
    ("HEAD", None),
    ("PATCH", {"age": 1}),
    ("DELETE", None),
]


async def test_user_is_created_read_changed_and_deleted(client: httpx2.AsyncClient) -> None:
    made = await client.post("/api/v1/users", json=ADA)
    assert made.status_code == 201, made.text
    user = made.json()
    assert made.headers["location"] == f"/api/v1/users/{user['id']}"
    assert made.headers["etag"] == '"1"'

    read = await client.get(made.headers["location"])
    assert (read.status_code, read.json()) == (200, user)
    assert read.headers["cache-control"] == "private, no-cache"

    changed = await client.patch(made.headers["location"], json={"age": 37}, headers={"If-Match": '"1"'})
    assert changed.status_code == 200, changed.text
    assert changed.json() == user | {"age": 37, "updated_at": changed.json()["updated_at"]}
    assert changed.headers["etag"] == '"2"'

    assert (await client.delete(made.headers["location"])).status_code == 204
    assert (await client.get(made.headers["location"])).status_code == 404


# --- created ----------------------------------------------------------------------------------------------------------


async def test_a_new_user_is_shown_whole(client: httpx2.AsyncClient) -> None:
    made = await client.post(USERS, json=ADA | {"email": "Ada@EXAMPLE.com"})
    user = made.json()
    assert list(user) == ["id", "name", "email", "age", "created_at", "updated_at"]
    assert {name: user[name] for name in ADA} == ADA | {"email": "Ada@example.com"}
    assert RFC_3339_UTC.fullmatch(user["created_at"])
    assert user["updated_at"] == user["created_at"]
    assert made.headers["content-type"] == "application/json"
    assert made.headers["cache-control"] == "private, no-cache"


NO_USERS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "/name"),
    ({"name": None}, "/name"),
    ({"name": 7}, "/name"),
    ({"name": "x" * 201}, "/name"),
    ({"name": "a\0b"}, "/name"),
    ({"email": "ada"}, "/email"),
    ({"email": "ada@localhost"}, "/email"),
    ({"email": "a" * 250 + "@example.com"}, "/email"),
    ({"email": None}, "/email"),
    ({"age": -1}, "/age"),
    ({"age": 151}, "/age"),
    ({"age": 36.0}, "/age"),
    ({"age": "36"}, "/age"),
    ({"age": True}, "/age"),
    ({"age": 2**70}, "/age"),
    ({"id": 7}, "/id"),
    ({"version": 7}, "/version"),
    ({"email_key": "ada@example.com"}, "/email_key"),
]


async def test_what_a_user_can_not_be(client: httpx2.AsyncClient, database_url: str, subtests: pytest.Subtests) -> None:
    at = f"{USERS}/{(await make_user(client))['id']}"
    for fields, pointer in NO_USERS:
        with subtests.test(fields=fields):
            for answer in (await client.post(USERS, json=ADA | fields), await client.patch(at, json=fields)):
                assert pointers(check_problem(answer, 422, "validation-failed")) == [("body", pointer)]
    assert rows(database_url, "users", "version") == [(1,)]


async def test_all_that_is_missing_is_named(client: httpx2.AsyncClient) -> None:
    problem = check_problem(await client.post(USERS, json={}), 422, "validation-failed")
    assert pointers(problem) == [("body", "/name"), ("body", "/email"), ("body", "/age")]


async def test_a_body_is_an_object(client: httpx2.AsyncClient) -> None:
    user = f"{USERS}/{(await make_user(client))['id']}"
    for (method, at), body in itertools.product([("POST", USERS), ("PATCH", user)], ["[]", "null", '"name"', "7"]):
        answer = await client.request(method, at, content=body, headers={"Content-Type": "application/json"})
        assert pointers(check_problem(answer, 422, "validation-failed")) == [("body", "")]


# --- the address is unique, whatever its case -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("ada@example.com", "ada@example.com"),
        ("ada@example.com", "ADA@Example.COM"),
        ("straße@example.com", "STRASSE@example.com"),
        ("jose\u0301@example.com", "JOSÉ@example.com"),
    ],
)
async def test_an_address_is_taken_in_any_case(client: httpx2.AsyncClient, first: str, second: str) -> None:
    await make_user(client, email=first)
    check_problem(await client.post(USERS, json=ADA | {"email": second}), 409, "email-taken")

    other = await make_user(client)
    answer = await client.patch(f"{USERS}/{other['id']}", json={"email": second})
    check_problem(answer, 409, "email-taken")
    found = (await client.get(USERS, params={"email": second})).json()["items"]
    assert len(found) == 1
    assert (await client.get(f"{USERS}/{other['id']}")).json() == other


async def test_a_user_may_spell_their_own_address_anew(client: httpx2.AsyncClient) -> None:
    user = await make_user(client, email="ada@example.com")
    changed = await client.patch(f"{USERS}/{user['id']}", json={"email": "Ada@example.com"})
    assert (changed.status_code, changed.json()["email"]) == (200, "Ada@example.com")


async def test_of_creates_at_the_same_moment_one_gets_the_address(
    client: httpx2.AsyncClient, database_url: str
) -> None:
    for turn in range(5):
        spellings = [f"{'twin' if number % 2 else 'TWIN'}{turn}@example.com" for number in range(8)]
        answers = await asyncio.gather(*(client.post(USERS, json=ADA | {"email": email}) for email in spellings))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
        for answer in answers:
            if answer.status_code == 409:
                check_problem(answer, 409, "email-taken")
    assert len(rows(database_url, "users")) == 5


# --- changed ----------------------------------------------------------------------------------------------------------


async def test_a_patch_changes_what_it_names_alone(client: httpx2.AsyncClient) -> None:
    user = await make_user(client)
    at = f"{USERS}/{user['id']}"
    changes: list[dict[str, Any]] = [{"name": "Countess"}, {"age": 0}, {"email": "countess@example.com"}]
    for version, change in enumerate(changes, start=2):
        kind = {"Content-Type": "application/merge-patch+json"} if version % 2 else {}
        changed = await client.patch(at, json=change, headers=kind)
        assert changed.status_code == 200, changed.text
        assert changed.headers["etag"] == f'"{version}"'
        assert changed.headers["cache-control"] == "private, no-cache"
        now = changed.json()
        assert now == user | change | {"updated_at": now["updated_at"]}
        assert datetime.fromisoformat(now["updated_at"]) > datetime.fromisoformat(user["updated_at"])
        assert (await client.get(at)).json() == now
        user = now


async def test_an_empty_patch_is_no_new_version(client: httpx2.AsyncClient) -> None:
    user = await make_user(client)
    at = f"{USERS}/{user['id']}"
    answer = await client.patch(at, json={}, headers={"If-Match": '"1"'})
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, user, '"1"')
    check_problem(await client.patch(at, json={}, headers={"If-Match": '"2"'}), 412, "precondition-failed")


async def test_what_is_no_id_names_no_user(client: httpx2.AsyncClient, subtests: pytest.Subtests) -> None:
    user = await make_user(client)
    for no_id, (method, body) in itertools.product(NO_IDS, METHODS):
        with subtests.test(no_id=no_id, method=method):
            answer = await client.request(method, f"{USERS}/{no_id}", json=body)
            if method == "HEAD":
                assert (answer.status_code, answer.content) == (404, b"")
            else:
                check_problem(answer, 404, "not-found")
    assert (await client.get(USERS)).json()["items"] == [user]


async def test_a_user_that_never_was(client: httpx2.AsyncClient) -> None:
    for absent in ("1", "9223372036854775807"):
        for method, body in (("GET", None), ("PATCH", {"age": 1}), ("PATCH", {}), ("DELETE", None)):
            check_problem(await client.request(method, f"{USERS}/{absent}", json=body), 404, "not-found")
        for fate in ("release", "delete"):
            check_problem(await client.delete(f"{USERS}/{absent}", params={"items": fate}), 404, "not-found")


async def test_one_trailing_slash_is_the_same_resource(client: httpx2.AsyncClient) -> None:
    made = await client.post(f"{USERS}/", json=ADA)
    assert (made.status_code, made.headers["location"]) == (201, f"{USERS}/{made.json()['id']}")
    at = made.headers["location"] + "/"
    assert (await client.get(at)).json() == made.json()
    assert (await client.get(f"{USERS}/?limit=1")).json()["items"] == [made.json()]
    assert (await client.patch(at, json={"age": 1})).status_code == 200
    assert (await client.head(at)).status_code == 200
    check_problem(await client.get(at + "/"), 404, "not-found")
    assert (await client.delete(at)).status_code == 204
