"""The metrics of a running server: while workers are killed, while somebody scrapes, and what is seen of processes from outside."""

import http.client
import os
import re
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from app.core.server.runtime import MARKER, PREFIX
from tests.integration.server_process import PATIENCE, Server, request, serving, until, value_of

OPENMETRICS = "application/openmetrics-text;version=1.0.0"
LAG = "gantry_event_loop_lag_seconds"


@contextmanager
def meanwhile(*actions: Callable[[], object]) -> Iterator[None]:
    """Each again and again in a thread of its own, until the block ends; what one raises is raised here."""
    over = threading.Event()

    def repeat(action: Callable[[], object]) -> None:
        while not over.is_set():
            action()

    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(repeat, action) for action in actions]
        try:
            yield
        finally:
            over.set()
    for future in futures:
        future.result()


def counters(page: str) -> dict[str, float]:
    """Everything on a page that may only grow."""
    found = re.findall(r"^(\w+(?:_total|_count|_sum|_bucket)(?:\{.*\})?) (\S+)$", page, re.MULTILINE)
    return {name: float(value) for name, value in found}


def gauges(page: str) -> list[str]:
    """Of live workers."""
    return re.findall(r"^test_live\{.*$", page, re.MULTILINE)


def both_ready(server: Server) -> bool:
    """All there."""
    return server.metric('gantry_workers{state="ready"}') == 2


def files(server: Server, pattern: str = "*") -> list[Path]:
    """In the server's folder."""
    return list(server.folder.glob(f"{PREFIX}*/{pattern}"))


def test_no_counter_goes_back_while_workers_are_killed(tmp_path: Path) -> None:
    answered, failed = [], []
    last: dict[str, float] = {}
    decreased: list[str] = []
    scrapes = 0

    with serving(tmp_path, workers=2) as server:

        def load() -> None:
            try:
                answered.append(request(server.port, "/took/0.01/" + "a" * 32).status)
            except (OSError, http.client.HTTPException) as error:
                failed.append(error)

        def scrape() -> None:
            nonlocal last, scrapes
            now = counters(server.admin("/metrics").body)
            decreased.extend(name for name, value in last.items() if now.get(name, 0) < value)
            last, scrapes = now, scrapes + 1
            time.sleep(0.02)

        until(lambda: both_ready(server))
        with meanwhile(load, load, scrape):
            for number in range(1, 11):
                os.kill(max(server.workers()) if number % 2 else min(server.workers()), signal.SIGKILL)
                until(lambda number=number: server.metric("gantry_worker_restarts_total") == number)  # type: ignore[misc]
                until(lambda: both_ready(server))
        assert decreased == []
        assert scrapes > 50
        assert set(answered) == {200}
        page = server.metrics()
        for name in (
            "test_requests_total",
            'test_seconds_count{route="took"}',
            'test_seconds_bucket{le="+Inf",route="took"}',
        ):
            assert len(answered) <= value_of(page, name) <= len(answered) + len(failed)
        assert len(gauges(page)) == 2
        assert value_of(page, "gantry_worker_metrics_complete") == 1
        assert len(files(server, "*.db")) <= 2 * 3
        assert len(files(server)) <= 2 * 4 + 2


def test_gauges_of_a_dead_worker_vanish(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2, http={"public_url": "https://slow-fork"}) as server:
        until(lambda: both_ready(server))
        assert len(gauges(server.metrics())) == 2
        os.kill(min(server.workers()), signal.SIGKILL)
        until(lambda: len(gauges(server.metrics())) == 1)
        until(lambda: both_ready(server))
        assert len(gauges(server.metrics())) == 2


def test_damaged_and_stale_files_stop_nobody(tmp_path: Path) -> None:
    stale = tmp_path / "runtime" / f"{PREFIX}1-stale"
    stale.mkdir(parents=True)
    (stale / MARKER).touch()
    for number in range(200):
        (stale / f"counter_{number}.db").write_bytes(os.urandom(5000))
    with serving(tmp_path, workers=2) as server:
        until(lambda: both_ready(server))
        assert not stale.exists()
        assert value_of(server.metrics(), "gantry_worker_metrics_complete") == 1
        folder = next(server.folder.iterdir())
        before = server.workers()
        for slot in (0, 1, 7):
            (folder / f"counter_{slot}.db").write_bytes(b"\xff" * 5000)
            (folder / f"exemplars_{slot}.json").write_bytes(b"\xff" * 50)
        page = server.metrics()
        assert value_of(page, "gantry_worker_metrics_complete") == 0
        assert len(gauges(page)) == 2, "what can be read is shown"
        for victim in before:
            os.kill(victim, signal.SIGKILL)
        until(lambda: both_ready(server) and not server.workers() & before)
        assert server.get("/").status == 200
        page = server.metrics()
        assert value_of(page, "test_requests_total") == 1
        assert value_of(page, "gantry_worker_metrics_complete") == 0
        assert len(re.findall(r"worker_metrics_damaged.*file=counter_[01].db", server.log)) == 2
        assert len(re.findall(r"worker_metrics_unreadable.*file=counter_7.db", server.log)) == 1, "once"


def test_scrapes_of_ten_thousand_series_wait_for_nothing_and_stop_nobody(tmp_path: Path) -> None:
    variation: dict[str, object] = {"public_url": "https://many-series-slow-snapshots"}
    with serving(tmp_path, workers=2, http=variation) as server:
        until(lambda: value_of(server.admin("/metrics").body, 'gantry_workers{state="ready"}') == 2)
        until(lambda: value_of(server.admin("/metrics").body, "gantry_metrics_series") > 10_000)
        times: dict[str, list[float]] = {"/metrics": [], "/readyz": []}

        def ask(path: str) -> None:
            started = time.perf_counter()
            assert server.admin(path, Accept=OPENMETRICS).status == 200
            times[path].append(time.perf_counter() - started)
            time.sleep(0.05)

        def looks() -> list[float]:
            """Looks at workers' loops until now: all, and those that found them at most 25 and 100 milliseconds late."""
            page = counters(server.metrics())
            return [page[name] for name in (f"{LAG}_count", f'{LAG}_bucket{{le="0.025"}}', f'{LAG}_bucket{{le="0.1"}}')]

        def late(before: list[float], after: list[float]) -> list[float]:
            """The looks in between: all, and those that found them later than that."""
            count, *in_time = (b - a for a, b in zip(before, after, strict=True))
            return [count, *(count - number for number in in_time)]

        idle, scraped = [0.0] * 3, [0.0] * 3
        marks = [looks()]
        for _ in range(2):  # in turns: others use this machine too
            marks.append(looks())
            idle = [sum(both) for both in zip(idle, late(*marks[-2:]), strict=True)]
            with meanwhile(lambda: ask("/metrics"), lambda: ask("/readyz")):
                marks.append(looks())
            scraped = [sum(both) for both in zip(scraped, late(*marks[-2:]), strict=True)]
        # The first may wait until there is a page in its format.
        answers, probes = (sorted(times[path][3:]) for path in ("/metrics", "/readyz"))
        assert len(answers) > 20
        print(f"/metrics: median {statistics.median(answers):.4f}, 90 % {answers[len(answers) * 9 // 10]:.4f}")
        print(f"/readyz: median {statistics.median(probes):.4f}, 90 % {probes[len(probes) * 9 // 10]:.4f}")
        print(f"looks at loops, late by 25 ms, by 100 ms: {idle} idle, {scraped} scraped")
        assert statistics.median(answers) < 0.1
        assert answers[len(answers) * 9 // 10] < 0.25
        assert probes[len(probes) * 9 // 10] < 0.25
        assert min(idle[0], scraped[0]) > 50
        assert scraped[1] / scraped[0] < idle[1] / idle[0] + 0.2
        assert scraped[2] / scraped[0] < idle[2] / idle[0] + 0.1


def test_a_loop_that_is_stuck_is_seen_while_it_is(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as server, ThreadPoolExecutor(1) as pool:
        until(lambda: both_ready(server))
        until(lambda: server.metric("gantry_event_loop_stalled_seconds") < 0.3)
        before = counters(server.metrics())
        stuck = pool.submit(server.get, "/stuck/4")
        until(lambda: server.metric("gantry_event_loop_stalled_seconds") > 0.5)
        assert not stuck.done()
        during = counters(server.metrics())
        assert not stuck.done()
        late = [page[f"{LAG}_count"] - page[f'{LAG}_bucket{{le="0.1"}}'] for page in (before, during)]
        assert late[1] >= late[0] + 3
        assert stuck.result(PATIENCE).status == 200
        until(lambda: server.metric("gantry_event_loop_stalled_seconds") < 0.3)


def test_cpu_time_does_not_go_back_when_processes_die(tmp_path: Path) -> None:
    def used(server: Server) -> dict[str, float]:
        page = server.metrics()
        return {
            role: value_of(page, f'gantry_process_cpu_seconds_total{{process="{role}"}}')
            for role in ("arbiter", "worker", "admin")
        }

    with serving(tmp_path, workers=2) as server:
        until(lambda: both_ready(server))
        until(lambda: used(server)["worker"] > 0)
        time.sleep(1.2)
        first = used(server)
        assert min(first.values()) > 0
        os.kill(max(server.workers()), signal.SIGKILL)
        until(lambda: server.metric("gantry_worker_restarts_total") == 1)
        second = used(server)
        admin = server.admin_pid()
        os.kill(admin, signal.SIGKILL)
        os.kill(min(server.workers()), signal.SIGKILL)  # nobody looks meanwhile
        until(lambda: server.admin_pid() != admin and server.ready())
        until(lambda: both_ready(server))
        third = used(server)
        for role in ("arbiter", "worker", "admin"):
            assert first[role] <= second[role] <= third[role]
        page = server.metrics()
        started = value_of(page, "gantry_process_start_time_seconds")
        assert abs(started - Path(f"/proc/{server.process.pid}").stat().st_ctime) < 10
        for name in ("resident_memory_bytes", "open_fds", "threads"):
            for role in ("arbiter", "worker", "admin"):
                assert value_of(page, f'gantry_process_{name}{{process="{role}"}}') > 0


def test_exemplars(tmp_path: Path) -> None:
    def exemplars() -> dict[str, str]:
        page = server.admin("/metrics", Accept=OPENMETRICS)
        assert page.headers["content-type"].startswith("application/openmetrics-text")
        assert page.body.endswith("# EOF\n")
        families = {family.name: family for family in text_string_to_metric_families(page.body)}  # type: ignore[no-untyped-call]
        found = [sample for sample in families["test_seconds"].samples if sample.exemplar]
        assert all(abs(float(sample.exemplar.timestamp) - time.time()) < 60 for sample in found)
        return {sample.labels["le"]: sample.exemplar.labels["trace_id"] for sample in found}

    with serving(tmp_path, workers=2) as server:
        until(lambda: both_ready(server))
        traces = [os.urandom(16).hex() for _ in range(12)]
        for trace in traces[:10]:
            server.get(f"/took/0.3/{trace}")
        server.get(f"/took/0.5/{traces[10]}")
        server.get(f"/took/30/{traces[11]}")
        server.get("/took/0.001/not-a-trace")
        until(lambda: exemplars() == {"0.5": traces[10], "+Inf": traces[11]})
        assert "trace_id" not in server.metrics()
        for worker in server.workers():
            os.kill(worker, signal.SIGKILL)
        until(lambda: server.metric("gantry_worker_restarts_total") == 2)
        assert exemplars() == {"0.5": traces[10], "+Inf": traces[11]}


def test_a_snapshot_ages_until_the_next(tmp_path: Path) -> None:
    with serving(tmp_path, http={"public_url": "https://slow-snapshots"}) as server:
        ages = []
        end = time.monotonic() + 4
        while time.monotonic() < end:
            ages.append(value_of(server.admin("/metrics").body, "gantry_metrics_snapshot_age_seconds"))
            time.sleep(0.1)
        resets = sum(later < earlier for earlier, later in pairwise(ages))
        assert 1 <= resets <= 4, "about one snapshot a second, however often it is scraped"
        assert max(ages) > 0.5


@pytest.mark.parametrize("size", [0, 3])
def test_a_client_that_leaves_in_the_middle_of_a_scrape(tmp_path: Path, size: int) -> None:
    with serving(tmp_path) as server:
        for _ in range(20):
            connection = http.client.HTTPConnection("127.0.0.1", server.admin_port)
            with suppress(OSError):
                connection.request("GET", "/metrics")
                if size:
                    connection.getresponse().read(size)
            connection.close()
        assert value_of(server.metrics(), "gantry_worker_metrics_complete") == 1
        assert "Traceback" not in server.log
