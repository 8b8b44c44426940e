"""What a server said of the requests that it answered: whether a signal is on or off is seen, not believed."""

import http.client
import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.dev.errors import DevelopmentError
from app.dev.web import LOOPBACK
from loadtests.paired.report import text_table
from loadtests.paired.servers import Server

REQUEST_LINE = b'"event":"request"'
PUBLISH_SECONDS = 0.5
"""Workers bring up to date ten times a second what ``/metrics`` shows of spans."""

_SPANS = re.compile(r'^gantry_spans_total\{result="(\w+)"\} ([\d.e+]+)$', re.MULTILINE)
_REQUESTS = re.compile(r"^gantry_http_request_duration_seconds_count\{.*\} ([\d.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Said:
    """Counts since the server started."""

    variant: str
    lines: int
    """Request lines of its log."""
    requests: int
    """Requests that its metrics have counted."""
    sent: int
    failed: int
    dropped: int
    """Spans. Those that wait to be sent are in none of the three; a server without metrics tells none."""


def read_metrics(variant: str, lines: int, shown: str) -> Said:
    """From the text of ``/metrics``."""
    spans = {result: int(float(count)) for result, count in _SPANS.findall(shown)}
    requests = sum(int(float(count)) for count in _REQUESTS.findall(shown))
    return Said(variant, lines, requests, spans.get("sent", 0), spans.get("failed", 0), spans.get("dropped", 0))


def said_by(server: Server) -> Said:
    """What this server has said so far. Raises ``DevelopmentError`` when its admin port does not tell."""
    started = server.started
    if started is None or started.admin_port is None or started.child.log is None:
        raise DevelopmentError(f"{server.name} has no admin port or no log")
    connection = http.client.HTTPConnection(LOOPBACK, started.admin_port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        shown = answer.read().decode()
    except (OSError, http.client.HTTPException) as problem:
        raise DevelopmentError(f"{server.name}: its admin port does not answer: {problem}") from problem
    finally:
        connection.close()
    if answer.status != 200:
        raise DevelopmentError(f"{server.name}: its admin port answered {answer.status}")
    with started.child.log.open("rb") as log:
        lines = sum(REQUEST_LINE in line for line in log)
    return read_metrics(server.name, lines, shown)


def said_table(all_said: Sequence[Said]) -> str:
    """A line for each server."""
    rows = [
        [s.variant, f"{s.lines:,}", f"{s.requests:,}", f"{s.sent:,}", f"{s.failed:,}", f"{s.dropped:,}"]
        for s in all_said
    ]
    return text_table(
        ["in all, warm-up included", "lines of requests", "requests measured", "spans sent", "failed", "dropped"], rows
    )
