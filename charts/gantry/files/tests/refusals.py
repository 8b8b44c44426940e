"""Who has no key, a wrong one or one without the scope is refused, each in the way that says which."""

from support import api, api_key, check, check_problem, gantry, passed

USERS = "/api/v1/users"

answer = api(USERS)
check_problem(answer, 401, "no key")
check("www-authenticate" in answer.headers, "no key: the answer does not say how to authenticate")
passed("401 without a key")

check_problem(api(USERS, key="not-a-key"), 401, "what is no key")
# Made with the right peppers, and never registered: only the database knows that it is none.
stranger = gantry("keys", "create", "--name", "helm-test", "--offline").strip()
check_problem(api(USERS, key=stranger), 401, "a wrong key")
passed("401 with a wrong key")

with api_key("items:read") as key:
    answer = api("/api/v1/items", key=key)
    check(answer.status == 200, f"the scope that it has: {answer.status}: {answer.body[:500]!r}")
    check_problem(api(USERS, key=key), 403, "a key without the scope")
    passed("403 without the scope")
