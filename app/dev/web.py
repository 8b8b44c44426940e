"""The few things `make run` has to know about ports: whether one is free, and whether the app behind it is ready."""

import http.client
import socket

from app.dev.errors import DevelopmentError

LOOPBACK = "127.0.0.1"
WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
"""Hosts that stand for every address of the machine."""


def require_free(host: str, port: str, advice: str) -> None:
    """Raise ``DevelopmentError`` ending in ``advice`` when the address can't be listened on."""
    problem = _why_not(host, port)
    if problem:
        raise DevelopmentError(f"port {port} on {host} can't be used: {problem}. Choose another one: {advice}")


def _why_not(host: str, port: str) -> str | None:
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        return "it is not a number from 1 to 65535"
    try:
        socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def origin(host: str, port: int) -> str:
    """The URL under which a person on this machine reaches a server that listens on ``host``."""
    reachable = LOOPBACK if host in WILDCARDS else host
    return f"http://{f'[{reachable}]' if ':' in reachable else reachable}:{port}"


def status(url: str, path: str) -> int | None:
    """The status of ``GET path``; ``None`` when there is no answer within 2 s."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
