"""The store of rate limits answers, takes a counter, and lets nobody in without its password when it has one."""

import os
import secrets
import socket

from support import check, eventually, passed

HOST, PORT = os.environ["TEST_LIMITS_HOST"], 6379
PASSWORD = os.environ.get("GANTRY_LIMITS__PASSWORD")


def ask(*commands: tuple[str, ...]) -> list[str]:
    """The first line of each answer, on a connection of its own. The words of Redis's protocol, as they are on the wire."""
    with socket.create_connection((HOST, PORT), timeout=5) as connection, connection.makefile("rb") as answers:
        lines = []
        for command in commands:
            words = [word.encode() for word in command]
            connection.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
            lines.append(answers.readline().decode().strip())
        return lines


if PASSWORD is not None:
    (refusal,) = eventually(lambda: ask(("PING",)))
    check(refusal.startswith("-NOAUTH"), f"without the password it said {refusal!r}")
    passed("refused without the password")

login = [] if PASSWORD is None else [("AUTH", PASSWORD)]
key = f"helm-test:{secrets.token_hex(8)}"
lines = eventually(lambda: ask(*login, ("SET", key, "1", "PX", "5000"), ("INCR", key), ("DEL", key)))
check(lines[-3:] == ["+OK", ":2", ":1"], f"setting, counting and deleting a counter was answered {lines[-3:]}")
passed("a counter was set, counted and deleted")
