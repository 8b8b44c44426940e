"""PostgreSQL answers by the address that the API uses, with prepared statements, and behind a pooler many clients share few connections."""

import os
from contextlib import ExitStack
from typing import Any

import psycopg
from support import check, eventually, passed

URL = os.environ["GANTRY_DATABASE__URL"]
POOLED = os.environ["TEST_POOLED"] == "true"
CLIENTS = int(os.environ["TEST_CLIENTS"])


def connected() -> psycopg.Connection[tuple[Any, ...]]:
    """A connection; errors of the network are those that `eventually` tries again."""
    try:
        return psycopg.connect(URL, connect_timeout=5)
    except psycopg.OperationalError as error:
        raise ConnectionError(str(error)) from error


with ExitStack() as stack:
    first = stack.enter_context(eventually(connected))
    clients = [first, *(stack.enter_context(connected()) for _ in range(CLIENTS - 1))]
    passed(f"{len(clients)} connections to {first.info.host}:{first.info.port}")

    # In turns, each in a transaction of its own: through a pooler each may run on a server connection that has not seen the statement.
    servers = set()
    for number in range(20):
        for client in clients:
            with client.transaction():
                row = client.execute("SELECT pg_backend_pid(), %s::int * 2", [number], prepare=True).fetchone()
            check(row is not None and row[1] == 2 * number, f"{number} times 2 was {row}")
            servers.add(row[0] if row else None)
    passed(f"{20 * CLIENTS} prepared statements")

    if POOLED:
        check(len(servers) < CLIENTS, f"{CLIENTS} clients took {len(servers)} connections of PostgreSQL: nothing pools")
        passed(f"{CLIENTS} clients took {len(servers)} connections of PostgreSQL")
    else:
        check(len(servers) == CLIENTS, f"{CLIENTS} direct connections were {len(servers)}: something pools on the way")
