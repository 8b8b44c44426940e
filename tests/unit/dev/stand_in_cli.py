"""A stand-in for the CLI ``gantry``, so that the runner's own behaviour can be tested in seconds.

``STAND_IN`` names what goes wrong: ``migrate`` fails, ``serve`` ends at once, it is never ``ready``, or it heeds only a second SIGTERM
(``stop``).
"""

import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg

TROUBLE = os.environ.get("STAND_IN", "")


class Handler(BaseHTTPRequestHandler):
    """Answers everything."""

    def do_GET(self) -> None:
        self.send_response(503 if TROUBLE == "ready" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Stay quiet."""


def main() -> int:
    """Do what the real command does, as far as the runner can see."""
    url = os.environ["GANTRY_DATABASE__URL"]
    match sys.argv[1:]:
        case ["migrate"]:
            if TROUBLE == "migrate":
                print("the migration is broken")
                return 1
            with psycopg.connect(url) as connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS keys (id bigint GENERATED ALWAYS AS IDENTITY, scopes text)"
                )
        case ["keys", "create", "--name", "development", *scopes]:
            with psycopg.connect(url) as connection:
                row = connection.execute("INSERT INTO keys (scopes) VALUES (%s) RETURNING id", [" ".join(scopes[1::2])])
                print("key-{}".format(*row.fetchone() or ()))
        case ["serve"]:
            if TROUBLE == "serve":
                print("no such worker class", file=sys.stderr)
                return 3
            if TROUBLE == "stop":
                signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
            address = os.environ["GANTRY_SERVER__HOST"], int(os.environ["GANTRY_SERVER__PORT"])
            admin = os.environ["GANTRY_SERVER__ADMIN_HOST"], int(os.environ["GANTRY_SERVER__ADMIN_PORT"])
            threading.Thread(target=ThreadingHTTPServer(address, Handler).serve_forever, daemon=True).start()
            ThreadingHTTPServer(admin, Handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
