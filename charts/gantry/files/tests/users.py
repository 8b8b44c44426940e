"""A user is made, read and deleted, with a key made for it."""

import secrets

from support import api, api_key, check, check_problem, passed

new = {"name": "Helm Test", "email": f"helm-test-{secrets.token_hex(8)}@example.com", "age": 1}

with api_key("users:read", "users:write") as key:
    made = api("/api/v1/users", "POST", body=new, key=key)
    check(made.status == 201, f"create: {made.status}: {made.body[:500]!r}")
    user = made.headers["location"]
    try:
        check({name: made.json()[name] for name in new} == new, f"create: other values came back: {made.body[:500]!r}")
        passed("created")
        read = api(user, key=key)
        check(read.status == 200, f"read: {read.status}: {read.body[:500]!r}")
        check(read.json() == made.json(), f"read: not what was made: {read.body[:500]!r}")
        check(read.headers.get("etag") == made.headers.get("etag"), "read: another version than the one that was made")
        passed("read")
    finally:
        deleted = api(user, "DELETE", key=key)
    check(deleted.status == 204, f"delete: {deleted.status}: {deleted.body[:500]!r}")
    check_problem(api(user, key=key), 404, "read of the deleted user")
    passed("deleted")
